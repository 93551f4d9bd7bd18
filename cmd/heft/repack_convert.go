package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"heft/loader"
	"heft/tensor"
)

const (
	chunkElements = 128 << 10 // what one goroutine converts at a time; 512 KiB of F32
	mostWorkers   = 8         // more are no faster than memory
)

// scratch is the memory for one chunk: its bytes, its values, and what becomes of them.
type scratch struct {
	raw    []byte
	values []float32
	out    []byte
}

// newScratch returns memory for as many chunks as are converted at once, and the one that is written.
func newScratch() chan *scratch {
	n := min(runtime.GOMAXPROCS(0), mostWorkers) + 1
	free := make(chan *scratch, n)
	for range n {
		free <- new(scratch)
	}
	return free
}

// A conversion reads a tensor in another element type. Goroutines convert its
// chunks, several at once; it hands them out in their order.
type conversion struct {
	m       *mover
	section *loader.Section
	source
	cancel context.CancelFunc
	queue  chan chan chunk // of the chunks in order, each ready when its channel has it

	current *scratch // what rest is of
	rest    []byte   // to be read next
	err     error    // that ended it
}

// chunk is a part of a tensor that has been converted.
type chunk struct {
	*scratch
	err error
}

// convert returns a reader of the section with its elements converted. It must be closed.
func (m *mover) convert(section *loader.Section, s source) *conversion {
	ctx, cancel := context.WithCancel(m.ctx)
	c := &conversion{m: m, section: section, source: s, cancel: cancel, queue: make(chan chan chunk, cap(m.free))}
	go c.start(ctx)
	return c
}

// start has all chunks converted, as memory for them becomes free.
func (c *conversion) start(ctx context.Context) {
	defer close(c.queue)
	for first := int64(0); first < c.params; first += chunkElements {
		select {
		case s := <-c.m.free:
			ready := make(chan chunk, 1)
			c.queue <- ready // has room: each place in it has a scratch
			go func() { ready <- chunk{s, c.chunk(s, first)} }()
		case <-ctx.Done():
			return
		}
	}
}

// chunk converts the elements from first on.
func (c *conversion) chunk(s *scratch, first int64) error {
	n := int(min(chunkElements, c.params-first))
	width := c.DType.Bits() / 8
	if cap(s.raw) < n*width {
		s.raw = make([]byte, n*width)
	}
	s.raw = s.raw[:n*width]
	if _, err := c.section.ReadAt(s.raw, first*int64(width)); err != nil {
		return err
	}
	t, err := tensor.New(c.Name, c.DType, []int{n}, s.raw)
	if err != nil {
		return err
	}
	values, err := tensor.Of[float32](t)
	if err != nil { // another type, or byte order
		if s.values, err = tensor.AppendFloat32(s.values[:0], t); err != nil {
			return err
		}
		values = s.values
	}
	s.out, err = tensor.AppendCast(s.out[:0], c.cast, values, c.m.saturate)
	if errors.Is(err, tensor.ErrOverflow) {
		return c.overflow(first, values)
	}
	c.m.done.Add(int64(len(s.raw)))
	return err
}

// overflow returns the error for values, from the first-th on, of which one is too large.
func (c *conversion) overflow(first int64, values []float32) error {
	i := slices.IndexFunc(values, func(v float32) bool {
		_, err := tensor.AppendCast(nil, c.cast, []float32{v}, false)
		return err != nil
	})
	return fmt.Errorf("%w for %v: element %d is %v", tensor.ErrOverflow, c.cast, first+int64(i), values[i])
}

// Read reads on. At the end it is an error if the model has changed meanwhile.
func (c *conversion) Read(b []byte) (int, error) {
	for len(c.rest) == 0 && c.err == nil {
		c.next()
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	if n > 0 {
		return n, nil
	}
	return 0, c.err
}

// next goes on to the next chunk.
func (c *conversion) next() {
	c.release()
	ready, ok := <-c.queue
	if !ok {
		if c.err = c.m.ctx.Err(); c.err == nil {
			c.err = c.m.model.Changed()
		}
		if c.err == nil {
			c.err = io.EOF
		}
		return
	}
	done := <-ready
	c.current, c.err = done.scratch, done.err
	if c.err == nil {
		c.rest = c.current.out
	}
}

// release gives the memory of the current chunk to others.
func (c *conversion) release() {
	if c.current != nil {
		c.m.free <- c.current
		c.current = nil
	}
}

// Close ends the conversion, and waits for its goroutines.
func (c *conversion) Close() error {
	c.cancel()
	c.release()
	for ready := range c.queue {
		c.m.free <- (<-ready).scratch
	}
	return nil
}
