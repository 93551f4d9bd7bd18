package loader

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"

	"heft/format"
)

// heap is the Read backend: each tensor is read into memory of the process when
// it is first wanted, and kept until it is evicted.
type heap struct {
	mu    sync.Mutex
	cells map[place]*cell // of the tensors ever wanted and not evicted since
}

// place names a tensor that is not empty: no other begins there.
type place struct {
	file  *file
	begin int64
}

// cell holds the copy of one tensor.
type cell struct {
	reading chan struct{} // has room for one: who may read
	data    []byte        // nil until it is read; guarded by heap.mu
}

func newHeap() *heap { return &heap{cells: make(map[place]*cell)} }

func (h *heap) cell(f *file, e format.Entry) *cell {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.cells[place{f, e.Begin}]
	if c == nil {
		c = &cell{reading: make(chan struct{}, 1)}
		h.cells[place{f, e.Begin}] = c
	}
	return c
}

func (h *heap) loaded(c *cell) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return c.data
}

// load returns the copy of a tensor, and reads it if nobody has. Of several
// callers one reads and the others wait for it, or for ctx.
func (h *heap) load(ctx context.Context, f *file, e format.Entry) ([]byte, error) {
	c := h.cell(f, e)
	if b := h.loaded(c); b != nil {
		return b, nil
	}
	select {
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b := h.loaded(c); b != nil {
		return b, nil
	}
	b, err := f.read(ctx, e)
	if err != nil {
		return nil, err // the next caller tries again
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c.data = b
	return b, nil
}

// read returns a copy of a tensor, which is not empty.
func (f *file) read(ctx context.Context, e format.Entry) ([]byte, error) {
	if e.Size() > math.MaxInt-cacheLine {
		return nil, pathError("read", f.path, fmt.Errorf("tensor %q: %d bytes are more than the address space holds", e.Name, e.Size()))
	}
	// The file had this many bytes when it was opened, but a sparse one takes no
	// disk for them, and asking for more memory than there is ends the program.
	if e.Size() >= 1<<30 {
		if free, err := Headroom(); err == nil && e.Size() > free {
			return nil, pathError("read", f.path, fmt.Errorf("tensor %q: a copy takes %d bytes of memory, and %d are free", e.Name, e.Size(), free))
		}
	}
	b := alignedBytes(int(e.Size()))
	for lo := 0; lo < len(b); lo += readBytes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		off := e.Begin + int64(lo)
		if n, err := f.f.ReadAt(b[lo:min(lo+readBytes, len(b))], off); err != nil {
			return nil, f.faultError(off+int64(n), err)
		}
	}
	return b, nil
}

// readers is how many goroutines read tensors: each may be allocating a large
// one, so they are few.
const readers = 4

// readBytes is what one of them reads before it looks whether it still should.
const readBytes = 8 << 20

const cacheLine = 64

// alignedBytes returns n bytes that begin on a cache line, as vector
// instructions like it and every element type allows.
func alignedBytes(n int) []byte {
	b := make([]byte, n+cacheLine-1)
	skip := int(-reflect.ValueOf(b).Pointer() % cacheLine)
	return b[skip : skip+n : skip+n]
}

func (h *heap) bytes(f *file, e format.Entry) ([]byte, error) {
	return h.load(context.Background(), f, e)
}

func (h *heap) prefetch(r *Region) job {
	return job{len(r.tensors), readers, func(ctx context.Context, i int) error {
		t := r.tensors[i]
		if t.entry.Size() == 0 {
			return nil
		}
		_, err := h.load(ctx, t.file, t.entry)
		return err
	}}
}

func (h *heap) resident(r *Region) (n int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range r.tensors {
		if c := h.cells[place{t.file, t.entry.Begin}]; c != nil && c.data != nil {
			n += t.entry.Size()
		}
	}
	return n, nil
}

// evict forgets the copies. One that is being read goes to those who wait for
// it and is then forgotten too.
func (h *heap) evict(r *Region) (n int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range r.tensors {
		if t.entry.Size() == 0 {
			continue
		}
		p := place{t.file, t.entry.Begin}
		if c := h.cells[p]; c != nil {
			n += int64(len(c.data))
			delete(h.cells, p)
		}
	}
	return n, nil
}

func (h *heap) advise(*Region, Advice) error { return errors.ErrUnsupported }
func (h *heap) pin(r *Region) error          { return r.m.fail("pin", errors.ErrUnsupported) }
func (h *heap) unpin(r *Region) error        { return r.m.fail("unpin", errors.ErrUnsupported) }

func (h *heap) strategy() string {
	return fmt.Sprintf("read into memory of the process by %d goroutines", readers)
}

func (h *heap) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.cells)
}
