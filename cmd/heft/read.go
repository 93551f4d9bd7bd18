package main

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"os"
	"runtime"
	"slices"
	"sync/atomic"

	"heft/loader"
	"heft/tensor"
)

// groupSize is how many bytes of a model are brought into memory at once, while
// as many before them are worked on.
const groupSize = 256 << 20

// each calls work for every tensor in rows, from several goroutines and in no
// order, with its index. The tensor is in memory, and a part of it that cannot
// be read is an error. It shows what it is doing, stops at an interrupt, and
// leaves the page cache as it was found. The results of work count if each
// returns nil: then nobody has changed a file meanwhile.
func (l *listing) each(c *cli, doing string, rows []row, work func(i int, t tensor.Tensor) error) error {
	ctx, stop := c.interruptible()
	defer stop()
	var size int64
	for i := range rows {
		size += rows[i].Size()
	}
	l.lookUpCached(rows)
	var done atomic.Int64
	end := c.progress(doing, size, done.Load)
	defer end()
	one := func(i int) error {
		return l.model.Guard(func() error {
			t, err := l.model.Tensor(rows[i].Name)
			if err == nil {
				err = work(i, t)
			}
			done.Add(rows[i].Size())
			return err
		})
	}
	var next <-chan error
	for lo := 0; lo < len(rows); {
		hi := group(rows, lo)
		if next == nil {
			next = l.fetch(ctx, rows[lo:hi])
		}
		err := <-next
		if hi < len(rows) {
			next = l.fetch(ctx, rows[hi:group(rows, hi)])
		}
		if err == nil {
			err = inParallel(ctx, runtime.GOMAXPROCS(0), hi-lo, func(i int) error { return one(lo + i) })
		}
		begun := hi
		if err != nil && hi < len(rows) {
			<-next // those are on their way: what a cancelled Prefetch has asked for would still come, behind restore's back
			begun = group(rows, hi)
		}
		if err := cmp.Or(err, l.restore(rows[lo:begun])); err != nil {
			return err
		}
		lo = hi
	}
	return l.model.Changed()
}

// group returns where the group of rows ends that begins at lo.
func group(rows []row, lo int) (hi int) {
	var size int64
	for hi = lo; hi < len(rows) && (hi == lo || size+rows[hi].Size() <= groupSize); hi++ {
		size += rows[hi].Size()
	}
	return hi
}

// fetch brings tensors into memory and then sends the error of that.
func (l *listing) fetch(ctx context.Context, rows []row) <-chan error {
	done := make(chan error, 1)
	go func() {
		r, err := l.region(rows)
		if err == nil {
			err = r.Prefetch(ctx)
		}
		done <- err
	}()
	return done
}

// gatherSize is how many bytes of a slice are worked on at a time. It is a
// multiple of what whole elements of any type take.
const gatherSize = 192 << 10

// gather calls work with the first n bytes of what was taken of a tensor, block
// after block, each of whole elements, and leaves the page cache as it was found.
// What work has done counts if gather returns nil: then nobody has changed a
// file meanwhile. An interrupt ends the program, as work may be waiting for
// somebody who reads no more.
func (l *listing) gather(c *cli, s *sliced, n int64, work func(block []byte) error) error {
	rows := []row{*s.row}
	l.lookUpCached(rows)
	ctx, stop := c.interruptible()
	defer stop()
	defer context.AfterFunc(ctx, func() {
		l.restore(rows)
		os.Exit(statusInterrupted)
	})()
	l.prepare(ctx, s, n)
	err := l.model.Guard(func() error {
		t, err := l.model.Tensor(s.Name)
		if err != nil {
			return err
		}
		return blocks(t.Bytes(), s.spans, n, work)
	})
	if err := cmp.Or(err, l.restore(rows)); err != nil {
		return err
	}
	return l.model.Changed()
}

// prepare has the kernel bring no more of the file into memory than the first n
// bytes of what was taken: touched as it is, each page would come with 2 MiB
// around it, and neighbours that lie in these stay when the tensor is dropped.
// What goes wrong, touching the tensor tells.
func (l *listing) prepare(ctx context.Context, s *sliced, n int64) {
	r, err := l.region([]row{*s.row})
	switch {
	case err != nil:
	case n > s.Size()/2 && n <= groupSize:
		r.Prefetch(ctx)
	case fewPages(s.spans, n):
		r.Advise(loader.NoHugePage)
		r.Advise(loader.Random)
	}
}

// fewPages reports whether the first n bytes of the spans lie in so few pages
// that these may be read one by one.
func fewPages(spans iter.Seq2[int64, int64], n int64) bool {
	const page, most = 4 << 10, 64
	pages := int64(0)
	for lo, hi := range spans {
		part := min(hi-lo, n)
		pages += part/page + 2
		n -= part
		if n == 0 || pages > most {
			break
		}
	}
	return pages <= most
}

// blocks copies the first n bytes of the spans together and calls work with them,
// block by block. They are copied because touching a page that cannot be read is
// an error inside a Guard, and something else inside a system call.
func blocks(data []byte, spans iter.Seq2[int64, int64], n int64, work func(block []byte) error) error {
	buf := make([]byte, 0, min(n, gatherSize))
	for lo, hi := range spans {
		for lo < hi && n > 0 {
			part := min(hi-lo, n, int64(cap(buf)-len(buf)))
			buf = append(buf, data[lo:lo+part]...)
			lo, n = lo+part, n-part
			if len(buf) < cap(buf) && n > 0 {
				continue
			}
			if err := work(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		if n == 0 {
			break
		}
	}
	return nil
}

// restore drops the tensors from the page cache of which more has come in than
// was there when they were last looked up. Where the kernel does not tell, or
// does not drop, it does nothing.
func (l *listing) restore(rows []row) error {
	now := slices.Clone(rows)
	l.lookUpCached(now)
	var out []row
	for i, r := range rows {
		if came := now[i].cached - r.cached; r.cached >= 0 && came > r.cached {
			out = append(out, r)
		}
	}
	region, err := l.region(out)
	if err == nil {
		_, err = region.Evict()
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
