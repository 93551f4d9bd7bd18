package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"heft/format"
)

// check is the verb that lists every departure from the format.
type check struct {
	strict bool
}

func (v *check) flags(f *pflag.FlagSet) {
	f.BoolVar(&v.strict, "strict", false, "warnings count as errors")
}

// A finding is a departure from the format, in a file or between files.
type finding struct {
	Path    string `json:"path"`
	Tensor  string `json:"tensor,omitempty"`
	Offset  int64  `json:"offset"`  // in the file
	Warning bool   `json:"warning"` // readers accept it
	Message string `json:"message"`
}

// findings collects what is found in all models.
type findings struct {
	c                *cli
	list             []finding // for --json
	errors, warnings int
	trouble          error // what could not be looked at
}

func (v *check) run(c *cli, args []string) error {
	all := &findings{c: c, list: []finding{}}
	for _, arg := range args {
		path, err := snapshot(arg)
		if err == nil {
			err = all.checkModel(path)
		}
		all.trouble = errors.Join(all.trouble, err)
	}
	if c.json {
		err := c.document(struct {
			Schema   int       `json:"schema"`
			Errors   int       `json:"errors"`
			Warnings int       `json:"warnings"`
			Findings []finding `json:"findings"`
		}{schema, all.errors, all.warnings, all.list})
		all.trouble = errors.Join(all.trouble, err)
	} else if !c.quiet && all.trouble == nil {
		fmt.Fprintf(c.out, "%s, %s\n", plural(all.errors, "error"), plural(all.warnings, "warning"))
	}
	switch {
	case all.trouble != nil:
		return all.trouble
	case all.errors > 0, v.strict && all.warnings > 0:
		return &failure{status: statusNo}
	}
	return nil
}

// add reports a departure from the format.
func (f *findings) add(path string, e *format.Error) {
	kind := "error"
	if e.Warning {
		kind = "warning"
		f.warnings++
	} else {
		f.errors++
	}
	if f.c.json {
		f.list = append(f.list, finding{path, e.Tensor, e.Offset, e.Warning, e.Err.Error()})
		return
	}
	line := appendText(nil, path, f.c.screen.ascii)
	line = fmt.Appendf(line, ": %s: ", kind)
	line = appendEscaped(line, e.Error(), f.c.screen.ascii, "")
	f.c.out.Write(append(line, '\n'))
}

// checkModel looks at a file, or at all files and indexes of a directory. The
// error is one of reading, not of what was read.
func (f *findings) checkModel(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return f.checkFile(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	var errs error
	found := false
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, indexSuffix)) {
			found = true
			errs = errors.Join(errs, f.checkFile(filepath.Join(path, name)))
		}
	}
	if !found {
		return &fs.PathError{Op: "check", Path: path, Err: errors.New("no .safetensors file in this directory")}
	}
	return errs
}

const indexSuffix = ".safetensors.index.json"

// checkFile looks at one file.
func (f *findings) checkFile(path string) error {
	r, err := os.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	if strings.HasSuffix(path, ".json") {
		return f.checkIndex(path, r)
	}
	info, err := r.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "check", Path: path, Err: errors.New("not a regular file")}
	}
	for e := range format.Check(r, info.Size()) {
		f.add(path, e)
	}
	return nil
}

// checkIndex looks at an index and at what it says of its shards.
func (f *findings) checkIndex(path string, r *os.File) error {
	_, err := format.ReadIndex(r)
	var e *format.Error
	if errors.As(err, &e) {
		f.add(path, e)
		return nil
	}
	return err
}
