package main

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"sync/atomic"

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

// restore drops the tensors from the page cache of which less than a half was
// there when it was last looked up. Where the kernel does not tell, or does not
// drop, it does nothing.
func (l *listing) restore(rows []row) error {
	var out []row
	for _, r := range rows {
		if r.cached >= 0 && r.cached < r.Size()-r.cached {
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
