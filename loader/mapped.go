//go:build linux || darwin || windows

package loader

import (
	"errors"
	"fmt"
	"os"

	"heft/format"
)

// mapped is the backend that maps files.
type mapped struct {
	mode   Mode
	unmap  func()
	remote string // the remote file system that one of the files is on, or ""
	pins   pins
}

// newMapped maps the data of a model whose files are open.
func newMapped(m *Model, mode Mode) (store, error) {
	unmap, err := m.mapFiles(mode)
	if err != nil {
		for _, f := range m.files {
			f.data, f.addr = nil, 0
		}
		return nil, err
	}
	s := &mapped{mode: mode, unmap: unmap}
	for _, f := range m.files {
		if f.system.remote {
			s.remote = f.system.name
		}
	}
	return s, nil
}

func (*mapped) bytes(f *file, e format.Entry) ([]byte, error) {
	return f.data[e.Begin:e.End:e.End], nil // nothing can be appended into the neighbour
}

func (s *mapped) strategy() string {
	how := fmt.Sprintf("%d goroutines populate it", populators)
	switch {
	case !canPopulate():
		how = fmt.Sprintf("%d goroutines read and then touch it, because the kernel cannot populate a mapping", populators)
	case s.remote != "":
		how = fmt.Sprintf("%d goroutines read it and then populate, because %s is remote", populators, s.remote)
	}
	return "mapped; " + how
}

func (s *mapped) close() { s.unmap() }

func (*mapped) resident(r *Region) (n int64, err error) {
	for _, x := range r.extents {
		b, err := x.resident()
		if err != nil {
			return 0, err
		}
		n += b
	}
	return n, nil
}

func (s *mapped) evict(r *Region) (int64, error) {
	if s.mode == CopyOnWrite {
		return 0, r.m.fail("evict", errors.ErrUnsupported)
	}
	before, err := s.resident(r)
	if err != nil {
		return 0, err
	}
	for _, x := range s.unpinned(r) {
		if err := x.drop(); err != nil {
			return 0, pathError("evict", x.file.path, err)
		}
	}
	after, err := s.resident(r)
	return max(0, before-after), err // others may bring it back meanwhile
}

func (*mapped) advise(r *Region, a Advice) error {
	for _, x := range r.extents {
		if err := x.advise(a); err != nil {
			return err
		}
	}
	return nil
}

var pageSize = os.Getpagesize()

// pages returns the mapping of the extent, from the beginning of its first page.
func (x extent) pages() []byte { return x.file.data[x.lo/int64(pageSize)*int64(pageSize) : x.hi] }
