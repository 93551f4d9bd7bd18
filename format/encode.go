package format

import (
	"cmp"
	"io"
	"slices"
)

const (
	// copyBuffer is how many bytes Encode copies at a time: more leave the processor's cache.
	copyBuffer = 256 << 10
	// writeStep is how many bytes it writes at a time of what need not be copied. The
	// page cache takes up to a seventh less time for that than for 256 KiB, and hardly
	// less for more; some kernels take several times as long for some megabytes at once.
	writeStep = 1 << 20
	// small is up to how many bytes it is better to copy than to write by themselves.
	small = 64 << 10
)

// Encode writes a file: the header, then the data of each tensor in h's order.
// open is called for one tensor at a time and yields exactly its bytes; it is
// closed after use if it is an [io.Closer]. Encode takes one buffer of memory.
//
// A reader that knows how many bytes it has left and can write them itself, as
// [bytes.Reader] and [strings.Reader] do (Len and WriteTo), is asked to: then
// only what is small is copied on the way to w, so that it is written together.
// The writer that it is given has a method Flush() error, for readers that have
// a way of their own to w.
//
// Data of another length than h says is [ErrSize], as an [*Error] that names the
// tensor; by then part of the file has been written. Errors of open, of its
// readers and of w come as they are, with the name of the tensor before them at
// which they came up.
func Encode(w io.Writer, h *Header, open func(name string) (io.Reader, error)) error {
	head, err := h.MarshalBinary()
	if err != nil {
		return err
	}
	g := &gatherer{w: w}
	if _, err := g.Write(head); err != nil {
		return err
	}
	for i := range h.Tensors {
		e := &h.Tensors[i]
		if err := e.encode(g, open); err != nil {
			return &Error{Offset: e.Begin, Tensor: e.Name, Err: err}
		}
	}
	return g.Flush()
}

func (e *Entry) encode(g *gatherer, open func(name string) (io.Reader, error)) (err error) {
	r, err := open(e.Name)
	if err != nil {
		return err
	}
	if c, ok := r.(io.Closer); ok {
		defer func() { err = cmp.Or(err, c.Close()) }()
	}
	if r, ok := r.(lengthWriter); ok {
		return e.writeItself(g, r)
	}
	return e.copy(g, r)
}

// A lengthWriter has a known number of bytes left, and writes them itself.
type lengthWriter interface {
	io.WriterTo
	Len() int
}

// writeItself lets the data write itself, if it has the right length.
func (e *Entry) writeItself(g *gatherer, r lengthWriter) error {
	n := int64(r.Len())
	if n == e.Size() {
		var err error
		if n, err = r.WriteTo(g); err != nil {
			return err
		}
	}
	switch {
	case n < e.Size():
		return e.tooShort(n)
	case n > e.Size():
		return e.tooLong()
	}
	return nil
}

// copy reads the data, and holds its length against the entry's.
func (e *Entry) copy(g *gatherer, r io.Reader) error {
	for left := e.Size(); left > 0; {
		b, err := g.room(left)
		if err != nil {
			return err
		}
		n, err := io.ReadFull(r, b)
		g.buf = g.buf[:len(g.buf)+n]
		left -= int64(n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF: // ReadFull's own; what wraps them says more
			return e.tooShort(e.Size() - left)
		case err != nil:
			return err
		}
	}
	switch n, err := io.ReadFull(r, g.more[:]); {
	case n > 0:
		return e.tooLong()
	case err != io.EOF:
		return err
	}
	return nil
}

func (e *Entry) tooShort(n int64) error {
	return faultf(ErrSize, "%d bytes of data, but %v %v needs %d", n, e.DType, dims(e.Shape), e.Size())
}

func (e *Entry) tooLong() error {
	return faultf(ErrSize, "more data than the %d bytes that %v %v needs", e.Size(), e.DType, dims(e.Shape))
}

// A gatherer writes what is small together, and what is large in steps.
type gatherer struct {
	w    io.Writer
	buf  []byte  // to be written, at most copyBuffer bytes
	more [1]byte // where it is read what should not be there
}

func (g *gatherer) Write(b []byte) (n int, err error) {
	if len(b) > small || len(g.buf)+len(b) > copyBuffer {
		err = g.Flush()
	}
	if len(b) <= small && err == nil {
		g.buf = append(g.buf, b...)
		return len(b), nil
	}
	for n < len(b) && err == nil {
		var k int
		k, err = g.w.Write(b[n:min(n+writeStep, len(b))])
		n += k
	}
	return n, err
}

// Flush writes what has been gathered.
func (g *gatherer) Flush() error {
	b := g.buf
	if g.buf = b[:0]; len(b) == 0 {
		return nil
	}
	_, err := g.w.Write(b)
	return err
}

// room returns where up to n bytes may be put behind those gathered, at least one.
func (g *gatherer) room(n int64) ([]byte, error) {
	if len(g.buf) == copyBuffer {
		if err := g.Flush(); err != nil {
			return nil, err
		}
	}
	n = min(n, int64(copyBuffer-len(g.buf)))
	if more := len(g.buf) + int(n); more > cap(g.buf) {
		g.buf = slices.Grow(g.buf, copyBuffer-len(g.buf))
	}
	return g.buf[len(g.buf):][:n], nil
}
