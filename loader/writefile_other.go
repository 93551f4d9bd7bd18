//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly && !windows

package loader

import (
	"io/fs"
	"os"
)

// Without locks a leftover cannot be told from a file that is being written.
func lockFile(*os.File) error { return nil }
func removeLeftover(string)   {}

func (t *target) own(fs.FileInfo) {}

func rename(f *os.File, path string) error { return os.Rename(f.Name(), path) }

func syncDir(string) error { return nil }
