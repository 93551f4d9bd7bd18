package main

import (
	"context"
	"encoding/binary"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"heft/loader"
)

// blockSize is how much of a tensor a goroutine looks at, or reads, at a time.
const blockSize = 8 << 20

// inParallel calls work for 0 to n-1 from several goroutines, until one call
// fails or ctx ends, and returns the error.
func inParallel(ctx context.Context, goroutines, n int, work func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var cursor atomic.Int64
	for range min(goroutines, n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(cursor.Add(1)) - 1
				if i >= n {
					return
				}
				if err := work(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// scan looks at every byte of a region, on all processors.
func scan(ctx context.Context, m *loader.Model, r *loader.Region) error {
	var blocks [][]byte
	for t, err := range r.All() {
		if err != nil {
			return err
		}
		b := t.Bytes()
		for len(b) > 0 {
			n := min(len(b), blockSize)
			blocks = append(blocks, b[:n])
			b = b[n:]
		}
	}
	return inParallel(ctx, runtime.GOMAXPROCS(0), len(blocks), func(i int) error {
		return m.Guard(func() error {
			pass(blocks[i])
			return nil
		})
	})
}

var looked atomic.Uint64 // so that the compiler keeps the loop of pass

// pass has every byte of b go through the processor.
func pass(b []byte) {
	var sum uint64
	for ; len(b) >= 8; b = b[8:] {
		sum += binary.LittleEndian.Uint64(b)
	}
	for _, c := range b {
		sum += uint64(c)
	}
	looked.Add(sum)
}

// A sample is what one run took.
type sample struct {
	took, cpu time.Duration // cpu: of all threads; -1: not known
	memory    int64         // of the process's own; -1: not known
}

// A meter measures one run.
type meter struct {
	sample
	began time.Time
	cpu0  time.Duration
	mem0  int64
}

// startMeter starts a measurement, in a process that holds no garbage.
func startMeter() *meter {
	m := &meter{}
	debug.FreeOSMemory()
	m.mem0, _ = ownMemory()
	m.cpu0, _ = cpuTime()
	m.began = time.Now()
	return m
}

// stop ends the measurement, while what was read is still held.
func (m *meter) stop() {
	m.took = time.Since(m.began)
	cpu, err1 := cpuTime()
	memory, err2 := ownMemory()
	m.cpu, m.memory = cpu-m.cpu0, max(0, memory-m.mem0)
	if err1 != nil {
		m.cpu = -1
	}
	if err2 != nil {
		m.memory = -1
	}
}
