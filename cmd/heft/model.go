package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"heft/format"
	"heft/loader"
)

// A listing is what the headers of a model say.
type listing struct {
	name     string // the model, as the command line named it
	files    []fileRow
	metadata map[string]string
	tensors  []row // in disk order
	size     int64 // bytes of all tensors
	params   int64
	err      error                                         // why this is only what could be read
	model    *loader.Model                                 // nil then
	load     func(...loader.Option) (*loader.Model, error) // opens it anew
}

// A fileRow is one file of a model.
type fileRow struct {
	path   string
	size   int64
	header *format.Header
}

// A row is one tensor of a model.
type row struct {
	format.Entry
	file   int   // in listing.files
	params int64 // number of elements
	cached int64 // bytes in the page cache; -1: the kernel does not tell; set on demand
}

// open opens the model that args begin with, and returns the arguments behind
// it. Arguments that name .safetensors files are shards of the same model.
func open(args []string, opts ...loader.Option) (*listing, []string, error) {
	paths, rest := splitModel(args)
	l := &listing{name: filepath.Clean(paths[0])}
	path, err := snapshot(paths[0])
	if err != nil {
		return l, rest, err
	}
	l.load = func(opts ...loader.Option) (*loader.Model, error) { return loader.Open(path, opts...) }
	if len(paths) > 1 {
		l.name = fmt.Sprintf("%s and %d more", l.name, len(paths)-1)
		l.load = func(opts ...loader.Option) (*loader.Model, error) { return loader.OpenFiles(paths, opts...) }
	}
	if l.model, err = l.load(opts...); err != nil {
		l.model, l.err = nil, err
		l.salvage(path, paths)
		return l, rest, explain(err)
	}
	l.metadata = l.model.Metadata()
	for path, h := range l.model.Files() {
		l.addFile(path, h)
	}
	l.tensors = slices.Grow(l.tensors, l.listed())
	file := 0
	for path, e := range l.model.Entries() { // file by file
		for l.files[file].path != path {
			file++
		}
		l.addTensor(file, e)
	}
	return l, rest, nil
}

// openHeaders opens the model that args begin with, for a verb that reads
// headers only. The kernel tells what is cached only of what is mapped; where
// that cannot be had, the model is closed again, and what is cached not known.
func openHeaders(args []string) (*listing, []string, error) {
	l, rest, err := open(args, loader.WithBackend(loader.BackendMmap))
	if err != nil && !isBroken(err) {
		l, rest, err = open(args, loader.WithBackend(loader.BackendRead))
		l.close()
	}
	return l, rest, err
}

// isBroken reports whether an error says that a model departs from the format,
// and not only that it cannot be read here and now.
func isBroken(err error) bool {
	var e *format.Error
	return errors.As(err, &e)
}

// close ends the use of the model.
func (l *listing) close() {
	if l.model != nil {
		l.model.Close()
	}
}

func (l *listing) addFile(path string, h *format.Header) {
	size := h.DataOffset
	for i := range h.Tensors {
		size = max(size, h.Tensors[i].End)
	}
	l.files = append(l.files, fileRow{path, size, h})
}

// listed returns how many tensors the headers list.
func (l *listing) listed() (n int) {
	for _, f := range l.files {
		n += len(f.header.Tensors)
	}
	return n
}

func (l *listing) addTensor(file int, e format.Entry) {
	r := row{Entry: e, file: file}
	if e.DType.Valid() {
		hi, lo := bits.Mul64(uint64(e.Size()), 8)
		n, _ := bits.Div64(hi, lo, uint64(e.DType.Bits()))
		r.params = int64(n)
	}
	l.size += e.Size()
	l.params += r.params
	l.tensors = append(l.tensors, r)
}

// names yields the names of all tensors.
func (l *listing) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range l.tensors {
			if !yield(l.tensors[i].Name) {
				return
			}
		}
	}
}

// pick returns the tensors that are selected. It is an error, with status
// statusNo, if there is something to select from and nothing is selected.
func (l *listing) pick(s *selection, patterns []string) ([]row, error) {
	selected, err := s.compile(patterns)
	if err != nil {
		return nil, err
	}
	rows := make([]row, 0, len(l.tensors))
	for i := range l.tensors {
		if r := &l.tensors[i]; selected(r.Name, r.DType, r.Size()) {
			rows = append(rows, *r)
		}
	}
	if len(rows) == 0 && (len(l.tensors) > 0 || len(patterns) > 0) {
		return nil, s.nothing(l.name, patterns, l.names())
	}
	return rows, nil
}

// openMapped opens the model that args begin with, for a verb about the page
// cache: what cannot be mapped has no part in it. It returns the tensors that
// the patterns behind it select.
func openMapped(args []string, s *selection) (*listing, []row, error) {
	l, patterns, err := open(args, loader.WithBackend(loader.BackendMmap))
	if err != nil {
		return nil, nil, err
	}
	rows, err := l.pick(s, patterns)
	if err != nil {
		l.close()
		return nil, nil, err
	}
	return l, rows, nil
}

// region returns the region of the tensors in rows.
func (l *listing) region(rows []row) (*loader.Region, error) {
	names := make([]string, len(rows))
	for i := range rows {
		names[i] = rows[i].Name
	}
	return l.model.Region(names...)
}

// splitModel divides arguments into the files of a model and what follows.
func splitModel(args []string) (paths, rest []string) {
	paths = args[:1:1]
	for _, a := range args[1:] {
		if strings.HasSuffix(a, ".safetensors") {
			if _, err := os.Stat(a); err == nil {
				paths = append(paths, a)
				continue
			}
		}
		rest = append(rest, a)
	}
	return paths, rest
}

// snapshot returns the directory to which a directory of the hub's cache
// (models--ORG--NAME) resolves through refs/main, and any other path as it is.
func snapshot(path string) (string, error) {
	if !strings.HasPrefix(filepath.Base(filepath.Clean(path)), "models--") {
		return path, nil
	}
	ref := filepath.Join(path, "refs", "main")
	f, _, err := openRegular(ref)
	if os.IsNotExist(err) {
		return path, nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4<<10)) // a revision is a name
	if err != nil {
		return "", err
	}
	revision := strings.TrimSpace(string(b))
	if !filepath.IsLocal(revision) || filepath.Base(revision) != revision {
		return "", fmt.Errorf("%s: %q is not the name of a snapshot", ref, revision)
	}
	return filepath.Join(path, "snapshots", revision), nil
}
