package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
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
	trouble          error  // what could not be looked at
	hint             string // at what the first file that is no model is instead
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
	} else if !c.quiet && (all.trouble == nil || all.errors+all.warnings > 0) { // else nobody knows
		fmt.Fprintf(c.out, "%s, %s\n", plural(all.errors, "error"), plural(all.warnings, "warning"))
	}
	switch {
	case all.trouble != nil:
		return errors.Join(all.trouble, &failure{hint: all.hint})
	case all.errors > 0, v.strict && all.warnings > 0:
		return &failure{status: statusNo, hint: all.hint}
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
	ascii := f.c.screen.ascii
	line := append(appendText(nil, path, ascii), ": "+kind+": "...)
	line = appendEscaped(line, e.Error(), ascii, "")
	if hasPlace(e) && !strings.HasSuffix(path, ".json") {
		line = fmt.Appendf(line, " (byte %d)", e.Offset)
	}
	f.c.out.Write(append(line, '\n'))
}

// hasPlace reports whether there is a byte in the header to look at, which the
// error does not name itself.
func hasPlace(e *format.Error) bool {
	const headerStart = 8 // the length stands before it
	says := errors.Is(e, format.ErrHeaderJSON) || errors.Is(e, format.ErrHeaderUTF8)
	return e.Offset > headerStart && !says && !errors.Is(e, format.ErrCoverage)
}

// checkModel looks at a file, at an index with its shards, or at all of both in
// a directory. The error is one of reading, not of what was read.
func (f *findings) checkModel(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return f.checkDir(path)
	case strings.HasSuffix(path, ".json"):
		return f.checkFiles(nil, []string{path})
	}
	return f.checkFiles([]string{path}, nil)
}

func (f *findings) checkDir(dir string) error {
	files, indexes, err := listDir(dir)
	if err != nil {
		return err
	}
	if len(files)+len(indexes) == 0 {
		return &fs.PathError{Op: "check", Path: dir, Err: errors.New("no .safetensors files")}
	}
	return f.checkFiles(files, indexes)
}

// checkFiles looks at files and indexes, and at the shards that these name.
func (f *findings) checkFiles(files, indexes []string) error {
	var errs error
	read := make([]*format.Index, len(indexes))
	for i, path := range indexes {
		x, err := f.checkIndex(path)
		errs = errors.Join(errs, err)
		if read[i] = x; x == nil {
			continue
		}
		for _, shard := range shardPaths(path, x) {
			if _, err := os.Stat(shard); err == nil && !slices.Contains(files, shard) {
				files = append(files, shard)
			}
		}
	}
	headers := make(map[string]*format.Header, len(files))
	for _, path := range files {
		h, err := f.checkFile(path)
		headers[path] = h
		errs = errors.Join(errs, err)
	}
	for i, x := range read {
		if x == nil {
			continue
		}
		var shards []*format.Header
		for _, path := range shardPaths(indexes[i], x) {
			shards = append(shards, headers[path])
		}
		for e := range x.Check(shards) {
			f.add(indexes[i], e)
		}
	}
	if len(indexes) == 0 && !slices.ContainsFunc(files, isModelFile) {
		f.checkNames(files, headers)
	}
	return errs
}

// checkIndex looks at an index by itself, and returns it if it can be read.
func (f *findings) checkIndex(path string) (*format.Index, error) {
	r, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	x, err := format.ReadIndex(r)
	var e *format.Error
	if errors.As(err, &e) {
		f.add(path, e)
		f.recognize(path)
		return nil, nil
	}
	return x, err
}

// checkFile looks at one file, and returns its header if it can be read.
func (f *findings) checkFile(path string) (*format.Header, error) {
	r, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for e := range format.Check(r, size) {
		if pe := (*fs.PathError)(nil); errors.As(e, &pe) {
			return nil, pe
		}
		f.add(path, e)
	}
	h, err := format.Read(r, size)
	if err != nil { // what is wrong with it has been said
		f.recognize(path)
	}
	return h, nil
}

// recognize notes what a file is that is no model, if it is the first such.
func (f *findings) recognize(path string) {
	if f.hint == "" {
		if what := recognize(path); what != "" {
			f.hint = path + " is " + what
		}
	}
}

// checkNames notes names that stand in two of the files that make up a model
// without an index. Beside a model.safetensors other files are no part of it.
func (f *findings) checkNames(files []string, headers map[string]*format.Header) {
	first := map[string]string{}
	for _, path := range files {
		h := headers[path]
		if h == nil {
			continue
		}
		for _, e := range h.Tensors {
			if other, ok := first[e.Name]; ok {
				f.add(path, &format.Error{Tensor: e.Name, Err: fmt.Errorf("in %s too", other)})
			} else {
				first[e.Name] = path
			}
		}
	}
}
