package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"heft/format"
)

// This file is how the command finds and opens files by itself, for what the
// loader refuses or has no need to look at. The rules are the loader's.

// openRegular opens a regular file for reading, and returns its size. It asks
// before it opens: opening a pipe waits for a writer, and opening a device does
// what the device likes.
func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%s, not a regular file", kindOf(info.Mode()))}
	}
	f, err := os.Open(path)
	return f, info.Size(), err
}

// kindOf says what a file that is not regular is.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "something special"
}

const indexSuffix = ".safetensors.index.json"

// listDir returns the paths of the .safetensors files and of the indexes in a
// directory. What is hidden, or a directory itself, is none.
func listDir(dir string) (files, indexes []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		switch name := e.Name(); {
		case e.IsDir() || strings.HasPrefix(name, "."):
		case strings.HasSuffix(name, ".safetensors"):
			files = append(files, filepath.Join(dir, name))
		case strings.HasSuffix(name, indexSuffix):
			indexes = append(indexes, filepath.Join(dir, name))
		}
	}
	return files, indexes, err
}

// shardPaths returns the paths of the shards of an index, in its order.
func shardPaths(path string, x *format.Index) []string {
	shards := make([]string, len(x.Shards))
	for i, s := range x.Shards {
		shards[i] = filepath.Join(filepath.Dir(path), s)
	}
	return shards
}

// isModelFile reports whether a path is that of the file that, in a directory,
// is the model: others beside it are no part of it.
func isModelFile(path string) bool { return filepath.Base(path) == "model.safetensors" }
