//go:build linux || darwin || windows

package loader

import (
	"context"
	"errors"
	"os"
	"sync/atomic"

	"heft/format"
)

// mapped is the backend that maps files.
type mapped struct {
	mode  Mode
	unmap func()
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
	return &mapped{mode, unmap}, nil
}

func (*mapped) bytes(f *file, e format.Entry) ([]byte, error) {
	return f.data[e.Begin:e.End:e.End], nil // nothing can be appended into the neighbour
}

func (s *mapped) close() { s.unmap() }

// prefetch cuts the region into steps that end at multiples of their size in
// the file, so that no huge page is asked for twice.
func (s *mapped) prefetch(r *Region) (int, stepFunc) {
	var steps []extent
	for _, x := range r.extents {
		for lo := x.lo; lo < x.hi; {
			hi := min((lo/stepBytes+1)*stepBytes, x.hi)
			steps = append(steps, extent{x.file, lo, hi})
			lo = hi
		}
	}
	return len(steps), func(ctx context.Context, i int) error { return steps[i].populate(ctx, r.m) }
}

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
	if s.mode != ReadOnly {
		return 0, r.m.fail("evict", errors.ErrUnsupported)
	}
	before, err := s.resident(r)
	if err != nil {
		return 0, err
	}
	for _, x := range r.extents {
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

// populate returns once the extent is in memory and mapped.
func (x extent) populate(ctx context.Context, m *Model) error {
	err := populate(x.pages())
	if errors.Is(err, errFault) {
		return x.file.diagnose(x.lo, x.hi-x.lo)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return x.readAndTouch(ctx, m)
	}
	if err != nil {
		return x.file.faultError(x.lo, err)
	}
	return nil
}

// readAndTouch does what populate does where the kernel cannot: reading brings
// the extent into the page cache, so that touching it does not wait.
func (x extent) readAndTouch(ctx context.Context, m *Model) error {
	buf := make([]byte, min(1<<20, x.hi-x.lo))
	for lo := x.lo; lo < x.hi; lo += int64(len(buf)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n, err := x.file.f.ReadAt(buf[:min(int64(len(buf)), x.hi-lo)], lo); err != nil {
			return x.file.faultError(lo+int64(n), err)
		}
	}
	return m.guard(func() error {
		b := x.pages()
		for i := 0; i < len(b); i += pageSize {
			touched.Store(uint32(b[i]))
		}
		return nil
	})
}

var (
	pageSize = os.Getpagesize()
	touched  atomic.Uint32 // so that the compiler keeps the touches
)

// pages returns the mapping of the extent, from the beginning of its first page.
func (x extent) pages() []byte { return x.file.data[x.lo/int64(pageSize)*int64(pageSize) : x.hi] }
