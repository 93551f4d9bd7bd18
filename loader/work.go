package loader

import (
	"context"
	"sync/atomic"
)

// workers is how many goroutines bring bytes into memory: one has the next
// request ready for the device while the other waits, and more are no faster
// on one device.
const workers = 2

// stepBytes is the size of one request: large enough to run the device at its
// speed, small enough that cancelling does not wait.
const stepBytes = 8 << 20

// stepFunc does step i of some work. It may be called for several i at once.
type stepFunc func(ctx context.Context, i int) error

// work does steps 0 to n-1 in about that order, until one fails, and returns
// its error; or until ctx is done, and returns ctx's error at once: steps under
// way then end in the background, as users of the model. The caller is a user.
func (m *Model) work(ctx context.Context, n int, step stepFunc) error {
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
			if i >= n {
				return nil
			}
			if err := step(ctx, i); err != nil {
				return err
			}
		}
	}
	running := min(workers, n)
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
