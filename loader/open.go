package loader

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"heft/format"
)

// Open opens a model and reads its headers, no data. The path names
//
//   - a safetensors file;
//   - the index of a sharded model, a .json file: it decides which shards,
//     beside it, are opened and which of their tensors belong to the model;
//   - a directory: model.safetensors, or else the one index there
//     (*.safetensors.index.json; model.safetensors.index.json if there are
//     several), or else all *.safetensors files together, as [OpenFiles] opens them.
//
// Shards and files may be symbolic links. Only regular files are opened.
//
// The files stay open until [Model.Close], which the caller must call when done.
//
// Errors are *fs.PathError that name the file and match what went wrong: those
// of package format, fs.ErrNotExist also for a shard that is missing, and
// [ErrNotFound] for a tensor that its shard lacks, among others. Where mapping
// fails for lack of memory, the error names the limit. [ErrChanged] is the answer
// where an index is replaced while its shards are opened: opening it again helps.
func Open(path string, opts ...Option) (*Model, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	switch {
	case fi.IsDir():
		return openDir(path, opts)
	case strings.HasSuffix(path, ".json"):
		return openIndex(path, opts)
	}
	return open(path, []string{path}, nil, opts)
}

// OpenFiles opens several safetensors files as one model, in the order given: a
// choice of shards, or files that no index and no directory of their own holds
// together. A tensor name in two of them is an error that names both. Else it
// does what [Open] does.
func OpenFiles(paths []string, opts ...Option) (*Model, error) {
	if len(paths) == 0 {
		return nil, pathError("open", "", errors.New("no files"))
	}
	return open(paths[0], paths, nil, opts)
}

// openDir opens the model that a directory holds.
func openDir(dir string, opts []Option) (*Model, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	var indexes, files []string
	for _, d := range list { // in order of their names
		name := d.Name()
		switch {
		case d.IsDir() || strings.HasPrefix(name, "."):
		case name == "model.safetensors":
			path := filepath.Join(dir, name)
			return open(path, []string{path}, nil, opts)
		case strings.HasSuffix(name, ".safetensors.index.json"):
			indexes = append(indexes, name)
		case strings.HasSuffix(name, ".safetensors"):
			files = append(files, filepath.Join(dir, name))
		}
	}
	if i := slices.Index(indexes, "model.safetensors.index.json"); i >= 0 {
		indexes = indexes[i : i+1]
	}
	switch {
	case len(indexes) == 1:
		return openIndex(filepath.Join(dir, indexes[0]), opts)
	case len(indexes) > 1:
		return nil, pathError("open", dir, fmt.Errorf("several models: open one of %s", strings.Join(indexes, ", ")))
	case len(files) == 0:
		return nil, pathError("open", dir, fmt.Errorf("no .safetensors files: %w", fs.ErrNotExist))
	}
	return open(dir, files, nil, opts)
}

// openIndex opens the shards that an index names.
func openIndex(path string, opts []Option) (*Model, error) {
	f, _, err := openRegular(path, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	index, err := format.ReadIndex(f)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	paths := make([]string, len(index.Shards))
	for i, name := range index.Shards {
		paths[i] = filepath.Join(filepath.Dir(path), name)
	}
	m, err := open(path, paths, index, opts)
	if err != nil {
		return nil, err
	}
	if err := unreplaced(path, f); err != nil {
		m.Close()
		return nil, pathError("open", path, err)
	}
	return m, nil
}

// unreplaced returns an error if the index at path is no longer the one that was
// read: then the shards may be of another model, in part or all of them.
func unreplaced(path string, index *os.File) error {
	was, err := index.Stat()
	if err != nil {
		return err
	}
	if is, err := os.Stat(path); err != nil || !os.SameFile(was, is) {
		return fmt.Errorf("%w: another index took its place while its shards were opened", ErrChanged)
	}
	return nil
}

// open opens the files that make up a model. With an index they are its shards, in its order.
func open(path string, paths []string, index *format.Index, opts []Option) (_ *Model, err error) {
	c, err := configure(opts)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	m := &Model{path: path, mode: c.mode, record: record{faults: countFaults()}}
	defer func() {
		if err != nil {
			for _, f := range m.files {
				f.f.Close()
			}
		}
	}()
	errs := m.openFiles(paths, index)
	if index != nil {
		m.index = index
		err = m.checkShards(paths, errs)
	} else {
		err = m.merge(errs)
	}
	if err != nil {
		return nil, err
	}
	if m.store, err = newStore(m, c); err != nil {
		return nil, err
	}
	return m, nil
}

// openFiles opens files, several at a time, and reads their headers. It adds
// those that it could open to the model and returns an error, or nil, for each
// path. With an index, which may be nil, each must hold what the index places in it.
func (m *Model) openFiles(paths []string, index *format.Index) []error {
	const atOnce = 16
	files, errs := make([]*file, len(paths)), make([]error, len(paths))
	one := func(i int) {
		f, err := openHeader(paths[i], m.mode)
		if err == nil && index != nil {
			err = m.choose(f, index, i) // while the header is in the processor's cache
		}
		files[i], errs[i] = f, err
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := 1; i < len(paths); i++ {
		g.Go(func() error {
			one(i)
			return nil // all are opened, so that the error does not depend on timing
		})
	}
	if len(paths) > 0 {
		one(0) // here: a single file needs no other goroutine
	}
	g.Wait()
	for i, f := range files {
		if f != nil {
			f.place = i
			m.files = append(m.files, f)
		}
	}
	return errs
}

// openHeader opens a safetensors file and reads its header.
func openHeader(path string, mode Mode) (*file, error) {
	f, id, err := openRegular(path, mode)
	if err != nil {
		return nil, err
	}
	h, err := format.Read(f, id.size)
	if err != nil {
		f.Close()
		return nil, pathError("open", path, err)
	}
	file := &file{path: path, f: f, id: id, header: h, members: len(h.Tensors)}
	file.system = file.findSystem()
	return file, nil
}

// openRegular opens a regular file. It asks before it opens: opening a pipe
// waits for a writer, and opening a device does what the device likes.
func openRegular(path string, mode Mode) (*os.File, identity, error) {
	fi, err := os.Stat(path)
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s, not a regular file", kindOf(fi.Mode()))
	}
	if err != nil {
		return nil, identity{}, pathError("open", path, err)
	}
	f, err := openFile(path, mode)
	if err != nil {
		if mode == ReadWrite {
			err = fmt.Errorf("%w: with ReadWrite, files must be such as may be written", errors.Unwrap(err))
		}
		return nil, identity{}, pathError("open", path, err)
	}
	id, err := identify(f)
	if err == nil && !id.regular {
		err = errors.New("replaced by something that is not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, identity{}, pathError("open", path, err)
	}
	return f, id, nil
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

// merge makes one model of files without an index.
func (m *Model) merge(errs []error) error {
	if err := cmp.Or(errs...); err != nil || len(m.files) == 1 {
		return err
	}
	names := make(nameMap)
	for _, f := range m.files {
		for _, e := range f.header.Tensors {
			if other, ok := names[e.Name]; ok {
				return pathError("open", f.path, fmt.Errorf("tensor %q is also in %s", e.Name, m.files[other].path))
			}
			names[e.Name] = f.place
		}
	}
	m.index = names
	return nil
}

// nameMap is the placer of files without an index.
type nameMap map[string]int

// Lookup returns the place of the file that holds the named tensor.
func (n nameMap) Lookup(name string) (file int, ok bool) {
	file, ok = n[name]
	return file, ok
}

// checkShards returns why a shard cannot be used: the first, in their order, of which that is so.
func (m *Model) checkShards(paths []string, errs []error) error {
	missing := 0
	for _, err := range errs {
		if errors.Is(err, fs.ErrNotExist) {
			missing++
		}
	}
	for i, err := range errs {
		if errors.Is(err, fs.ErrNotExist) {
			return pathError("open", paths[i], fmt.Errorf("%w: %d of the %d shards that %s names are missing",
				errors.Unwrap(err), missing, len(errs), filepath.Base(m.path)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// choose counts the tensors that the index places in a shard, and refuses a shard that lacks one.
func (m *Model) choose(f *file, index *format.Index, shard int) error {
	f.members = 0
	for name := range index.Names(shard) {
		if _, ok := f.header.Lookup(name); !ok {
			return pathError("open", f.path, fmt.Errorf("tensor %q: %w, though %s places it here", name, ErrNotFound, filepath.Base(m.path)))
		}
		f.members++
	}
	return nil
}

// newStore chooses the backend of a model whose files are open.
func newStore(m *Model, c config) (store, error) {
	if c.backend == BackendRead {
		return newHeap(), nil
	}
	s, err := newMapped(m, c.mode)
	if c.backend == BackendAuto && c.mode == ReadOnly && errors.Is(err, errCannotMap) {
		m.record.fallback = err
		return newHeap(), nil
	}
	return s, err
}
