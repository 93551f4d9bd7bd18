//go:build linux

// Command cold measures how fast a file that is not in memory is made ready to
// use: Open and Prefetch of all, beside O_DIRECT, which is as fast as the disk
// is, and beside touching a plain mapping.
//
//	go run ./paging/cold
//
// It does so for the whole file, and piece by piece, Prefetch and O_DIRECT in
// turn. A whole file takes memory that a virtual machine may have given back to
// its host, and then the speed is that of getting it again: 0.5 of the disk's or
// all of it, by chance. A piece takes the memory that the one before has left.
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
		lab.WithReadAhead(path, func(kb string) {
			pieces(path, kb)
			compare(path, kb)
		})
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

// pieces prefetches the file a piece at a time, and drops each before the next.
func pieces(path, kb string) {
	const tensors, passes = 25, 12
	floor := lab.NewFloor(path)
	m, err := loader.Open(path)
	lab.Check(err)
	defer m.Close()
	whole, err := m.Module("")
	lab.Check(err)
	lab.Cold(path)
	var names []string
	var extent lab.Extent
	var direct, heft lab.Variant
	direct.Name, heft.Name = "O_DIRECT, 4 threads", "Prefetch"
	for range passes {
		names = names[:0]
		for _, e := range m.Entries() {
			if e.Begin < 2<<20 {
				continue // it shares a huge page with the header, which stays mapped
			}
			if len(names) == 0 {
				extent.Lo = e.Begin
			}
			names, extent.Hi = append(names, e.Name), e.End
			if len(names) < tensors {
				continue
			}
			piece, err := m.Region(names...)
			lab.Check(err)
			names = names[:0]
			mustHave(piece, 0)
			direct.Run = func() { floor.Read([]lab.Extent{extent}) }
			heft.Run = func() { lab.Check(piece.Prefetch(context.Background())) }
			direct.Sample()
			heft.Sample()
			mustHave(piece, piece.Size())
			_, err = whole.Evict() // and the huge pages that it shares with neighbours
			lab.Check(err)
		}
	}
	const size = tensors * lab.TensorBytes
	fmt.Printf("read_ahead_kb %s, %d pieces of %d MiB:     GB/s  CPU ms/GB  of O_DIRECT's speed\n", kb, len(heft.Samples), size>>20)
	for _, v := range []*lab.Variant{&direct, &heft} {
		fmt.Printf("  %-20s %10.2f %10.1f  %s\n", v.Name, size/1e9/v.Median(lab.Wall), v.Median(lab.CPU)*1e3/(size/1e9), v.Speed(&direct))
	}
}

func mustHave(r *loader.Region, want int64) {
	n, err := r.Resident()
	lab.Check(err)
	if n != want {
		lab.Check(fmt.Errorf("%d of %d bytes resident, want %d", n, r.Size(), want))
	}
}

// load opens and prefetches the model and returns what closes it.
func load(path string) (done func()) {
	m, err := loader.Open(path)
	lab.Check(err)
	r, err := m.Module("")
	lab.Check(err)
	lab.Check(r.Prefetch(context.Background()))
	return func() {
		mustHave(r, r.Size())
		lab.Check(m.Close())
	}
}
