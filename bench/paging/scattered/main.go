//go:build linux

// Command scattered measures fetching 20 tensors of 10 MiB that lie far apart
// in a file that is not in memory: the time beside O_DIRECT's for the same
// bytes, and how many bytes the device has to read for it.
//
//	go run ./paging/scattered
//
// As root it measures under a read_ahead_kb of 128 too, and restores the machine's own.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"heft/bench/paging/internal/lab"
	"heft/loader"
)

const tensors = 20

func main() {
	lab.Main(func(path string) {
		lab.WithReadAhead(path, func(kb string) { compare(path, kb) })
	})
}

func compare(path, kb string) {
	m, err := loader.Open(path)
	lab.Check(err)
	defer m.Close()
	names, extents := choose(m)
	floor := lab.NewFloor(path)
	done := func() {} // with what the run before has left
	cold := func() {
		done()
		done = func() {}
		lab.Cold(path)
	}
	direct := &lab.Variant{Name: "O_DIRECT, 4 threads", Prepare: cold, Run: func() { floor.Read(extents) }}
	heft := &lab.Variant{Name: "Prefetch", Prepare: cold, Run: func() {
		m, err := loader.Open(path)
		lab.Check(err)
		r, err := m.Region(names...)
		lab.Check(err)
		lab.Check(r.Prefetch(context.Background()))
		done = func() { lab.Check(m.Close()) }
	}}
	plain := &lab.Variant{Name: "touching a mapping", Prepare: cold, Run: func() {
		b := lab.Map(path)
		lab.Touch(b, extents)
		done = func() { lab.Unmap(b) }
	}}
	raw := &lab.Variant{Name: "touching views", Prepare: cold, Run: func() {
		m, err := loader.Open(path)
		lab.Check(err)
		r, err := m.Region(names...)
		lab.Check(err)
		for t, err := range r.All() {
			lab.Check(err)
			lab.Touch(t.Bytes(), []lab.Extent{{Hi: lab.TensorBytes}})
		}
		done = func() { lab.Check(m.Close()) }
	}}
	lab.Compare(direct, heft, plain, raw)
	done()
	const wanted = tensors * lab.TensorBytes
	fmt.Printf("read_ahead_kb %s, %d tensors, %d MiB:   ms   read/wanted  of O_DIRECT's speed\n", kb, tensors, wanted>>20)
	for _, v := range []*lab.Variant{direct, heft, plain, raw} {
		fmt.Printf("  %-20s %17.1f %10.3f  %s\n", v.Name, v.Median(lab.Wall)*1e3, v.Median(lab.Read)/wanted, v.Speed(direct))
	}
}

// choose picks tensors of which no two are neighbours.
func choose(m *loader.Model) (names []string, extents []lab.Extent) {
	var all []lab.Extent
	var called []string
	for _, e := range m.Entries() {
		all, called = append(all, lab.Extent{Lo: e.Begin, Hi: e.End}), append(called, e.Name)
	}
	slot := len(all) / tensors
	r := rand.New(rand.NewPCG(20, 10))
	for i := range tensors {
		at := i*slot + r.IntN(slot-1)
		names, extents = append(names, called[at]), append(extents, all[at])
	}
	return names, extents
}
