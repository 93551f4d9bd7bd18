//go:build linux || darwin || windows

package loader

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// hugePage is what the kernel can map with one entry of a page table, if
// address and file offset are both multiples of it.
const hugePage = 2 << 20

// part is an extent that comes in one way. A huge page of the page cache is one
// request to the device and one entry in a page table, so whole huge pages are
// populated, which reads exactly them. An edge, less than a huge page, is asked
// for in small pages first: populating would read what is beside it too.
type part struct {
	extent
	edge bool
}

// plan cuts extents into steps of at most stepBytes, which end at multiples of
// that in the file wherever an extent is longer. Small extents share a step:
// they are all asked for before the first is waited for.
func plan(extents []extent) (steps [][]part) {
	var step []part
	size := int64(0)
	for _, x := range extents {
		for _, p := range x.parts() {
			for lo := p.lo; lo < p.hi; {
				hi := min((lo/stepBytes+1)*stepBytes, p.hi)
				if size += hi - lo; size > stepBytes && step != nil {
					steps, step, size = append(steps, step), nil, hi-lo
				}
				step = append(step, part{extent{x.file, lo, hi}, p.edge})
				lo = hi
			}
		}
	}
	if step != nil {
		steps = append(steps, step)
	}
	return steps
}

// parts cuts an extent into whole huge pages and the edges around them.
func (x extent) parts() []part {
	lo, hi := (x.lo+hugePage-1)&^(hugePage-1), x.hi&^(hugePage-1)
	if x.lo == x.file.header.DataOffset && x.lo < hugePage {
		lo = x.lo // before it is the header alone
	}
	if x.hi == x.file.id.size {
		hi = x.hi
	}
	if lo >= hi {
		return []part{{x, true}}
	}
	var parts []part
	if x.lo < lo {
		parts = append(parts, part{extent{x.file, x.lo, lo}, true})
	}
	parts = append(parts, part{extent{x.file, lo, hi}, false})
	if hi < x.hi {
		parts = append(parts, part{extent{x.file, hi, x.hi}, true})
	}
	return parts
}

// populators is how many goroutines bring bytes in. Each waits for one request at
// a time: for a huge page from a disk, for what it has asked from a remote file
// system. So they together are what has been asked for: on a virtual disk 4 reach
// 0.94 of its speed, 8 0.96 and 16 0.98. They wait inside the kernel, and cost less
// processor time the larger their steps are.
const populators = 16

// stepBytes is what one of them is given at a time.
const stepBytes = 8 << 20

func (s *mapped) prefetch(r *Region) job {
	steps := plan(r.extents)
	p := new(pace)
	return job{len(steps), populators, func(ctx context.Context, i int) error {
		if s.remote != "" {
			for _, part := range steps[i] {
				if err := part.read(ctx); err != nil {
					return err
				}
			}
		}
		return bring(ctx, r.m, steps[i], p)
	}}
}

// bring returns once all parts of a step are in memory and mapped.
func bring(ctx context.Context, m *Model, step []part, p *pace) error {
	for _, part := range step {
		if part.edge || !hugeReads() {
			part.request()
		}
	}
	for _, part := range step {
		err := part.populate(ctx, p)
		if errors.Is(err, errors.ErrUnsupported) {
			err = part.readAndTouch(ctx, m)
		}
		if err != nil {
			return part.explain(err)
		}
	}
	return nil
}

// populate returns once the extent is in memory and mapped.
func (x extent) populate(ctx context.Context, p *pace) error {
	for b := x.pages(); len(b) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(b), int(p.next()))
		began := time.Now()
		if err := populate(b[:n]); err != nil {
			return err
		}
		p.took(int64(n), time.Since(began))
		b = b[n:]
	}
	return nil
}

// explain says about an extent what it knows of an error of the kernel's.
func (x extent) explain(err error) error {
	var fault *FaultError
	switch {
	case errors.Is(err, errFault):
		return x.file.diagnose(x.lo, x.hi-x.lo)
	case errors.As(err, &fault), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return x.file.faultError(x.lo, err)
}

// pace finds how much to ask for at once: where storage is slow, what takes
// about target while the others ask too, so that a worker hears of the end of its
// context.
type pace struct{ bytes atomic.Int64 }

func (p *pace) next() int64 {
	if n := p.bytes.Load(); n != 0 {
		return n
	}
	return stepBytes
}

// took says that n bytes took d.
func (p *pace) took(n int64, d time.Duration) {
	const target = 100 * time.Millisecond
	fit := int64(float64(n)*float64(target)/float64(max(d, 1))) &^ (hugePage - 1)
	p.bytes.Store(min(max(fit, hugePage), stepBytes))
}

// scratch are buffers for bytes that are read only so that the page cache has them.
var scratch = sync.Pool{New: func() any { return new([1 << 20]byte) }}

// read brings the extent into the page cache by reading it.
func (x extent) read(ctx context.Context) error {
	buf := scratch.Get().(*[1 << 20]byte)
	defer scratch.Put(buf)
	for lo := x.lo; lo < x.hi; lo += int64(len(buf)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n, err := x.file.f.ReadAt(buf[:min(int64(len(buf)), x.hi-lo)], lo); err != nil {
			return x.file.faultError(lo+int64(n), err)
		}
	}
	return nil
}

// readAndTouch does what populate does where the kernel cannot: reading brings
// the extent into the page cache, so that touching it does not wait.
func (x extent) readAndTouch(ctx context.Context, m *Model) error {
	if err := x.read(ctx); err != nil {
		return err
	}
	return m.guard(func() error {
		b := x.pages()
		for i := 0; i < len(b); i += pageSize {
			touched.Store(uint32(b[i]))
		}
		return nil
	})
}

var touched atomic.Uint32 // so that the compiler keeps the touches
