package loader

import (
	"context"
	"sync/atomic"
)

// job is work in n steps. Those of several numbers may be done at once.
type job struct {
	n       int
	workers int
	step    func(ctx context.Context, i int) error
}

// work does steps 0 to n-1 in about that order, until one fails, and returns
// its error; or until ctx is done, and returns ctx's error at once: steps under
// way then end in the background, as users of the model. The caller is a user.
func (m *Model) work(ctx context.Context, j job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var cursor atomic.Int64
	worker := func() error {
		for {
			if err := ctx.Err(); err != nil {
				return err
			}
			i := int(cursor.Add(1)) - 1
			if i >= j.n {
				return nil
			}
			if err := j.step(ctx, i); err != nil {
				return err
			}
		}
	}
	running := min(j.workers, j.n)
	errs := make(chan error, running)
	for range running {
		m.lifetime.share()
		go func() {
			err := worker()
			m.release()
			errs <- err
		}()
	}
	for range running {
		select {
		case err := <-errs:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
