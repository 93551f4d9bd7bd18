//go:build linux

// Command cold measures how fast a file that is not in memory is made ready to
// use: Open and Prefetch of all, beside O_DIRECT, which is as fast as the disk
// is, and beside touching a plain mapping.
//
//	go run ./paging/cold
//
// As root it measures under a read_ahead_kb of 128 too, and restores the machine's own.
package main

import (
	"context"
	"fmt"

	"heft/bench/paging/internal/lab"
	"heft/loader"
)

func main() {
	lab.Main(func(path string) {
		lab.WithReadAhead(path, func(kb string) { compare(path, kb) })
	})
}

func compare(path, kb string) {
	floor := lab.NewFloor(path)
	done := func() {} // with what the run before has left
	cold := func() {
		done()
		done = func() {}
		lab.Cold(path)
	}
	direct := &lab.Variant{Name: "O_DIRECT, 4 threads", Prepare: cold, Run: func() { floor.Read(floor.Whole()) }}
	heft := &lab.Variant{Name: "Open, Prefetch", Prepare: cold, Run: func() { done = load(path) }}
	plain := &lab.Variant{Name: "touching a mapping", Prepare: cold, Run: func() {
		b := lab.Map(path)
		lab.Touch(b, floor.Whole())
		done = func() { lab.Unmap(b) }
	}}
	lab.Compare(direct, heft, plain)
	done()
	size := float64(floor.Whole()[0].Hi)
	fmt.Printf("read_ahead_kb %s, %.0f MiB:          GB/s  CPU ms/GB  of O_DIRECT's speed\n", kb, size/(1<<20))
	for _, v := range []*lab.Variant{direct, heft, plain} {
		fmt.Printf("  %-20s %10.2f %10.1f  %s\n", v.Name, size/1e9/v.Median(lab.Wall), v.Median(lab.CPU)*1e3/(size/1e9), v.Speed(direct))
	}
	fmt.Printf("  Open, Prefetch beside touching: %s times as fast\n", heft.Speed(plain))
}

// load opens and prefetches the model and returns what closes it.
func load(path string) (done func()) {
	m, err := loader.Open(path)
	lab.Check(err)
	r, err := m.Module("")
	lab.Check(err)
	lab.Check(r.Prefetch(context.Background()))
	return func() {
		n, err := r.Resident()
		lab.Check(err)
		if n != r.Size() {
			lab.Check(fmt.Errorf("%d of %d bytes resident", n, r.Size()))
		}
		lab.Check(m.Close())
	}
}
