//go:build linux

// Command scattered measures fetching 20 tensors of 10 MiB that lie far apart
// in a file that is not in memory: the time beside O_DIRECT's for the same
// bytes, and how many bytes the device has to read for it. The two parts that
// Prefetch consists of are shown by themselves too, as plain calls of madvise: the
// whole huge pages of the tensors, and their edges in small pages.
//
//	go run ./paging/scattered
//
// As root it measures under a read_ahead_kb of 128 too, and restores the machine's own.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

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
	part := func(name string, want func(lo, hi int64) []lab.Extent, bring func(b []byte)) *lab.Variant {
		var parts []lab.Extent
		for _, x := range extents {
			parts = append(parts, want(x.Lo, x.Hi)...)
		}
		return &lab.Variant{Name: name, Prepare: cold, Run: func() {
			b := lab.Map(path)
			lab.Check(unix.Madvise(b, unix.MADV_HUGEPAGE))
			lab.Check(unix.Madvise(b, unix.MADV_RANDOM))
			inParallel(parts, func(x lab.Extent) { bring(b[x.Lo/page*page : x.Hi]) })
			done = func() { lab.Unmap(b) }
		}}
	}
	whole := part("whole huge pages", func(lo, hi int64) []lab.Extent {
		return lab.Cut([]lab.Extent{{Lo: up(lo), Hi: down(hi)}}, huge)
	}, populate)
	edges := part("edges, small pages", func(lo, hi int64) []lab.Extent {
		return []lab.Extent{{Lo: lo, Hi: up(lo)}, {Lo: down(hi), Hi: hi}}
	}, func(b []byte) {
		const piece = 128 << 10
		for i := 0; i < len(b); i += piece {
			lab.Check(unix.Madvise(b[i:min(i+piece, len(b))], unix.MADV_WILLNEED))
		}
		populate(b)
	})
	variants := []*lab.Variant{direct, heft, plain, raw, whole, edges}
	lab.Compare(variants...)
	done()
	const wanted = tensors * lab.TensorBytes
	fmt.Printf("read_ahead_kb %s, %d tensors, %d MiB:   ms   read/wanted  of O_DIRECT's speed\n", kb, tensors, wanted>>20)
	for _, v := range variants {
		fmt.Printf("  %-20s %17.1f %10.3f  %s\n", v.Name, v.Median(lab.Wall)*1e3, v.Median(lab.Read)/wanted, v.Speed(direct))
	}
}

const (
	page = 4 << 10
	huge = 2 << 20
)

func up(n int64) int64   { return (n + huge - 1) / huge * huge }
func down(n int64) int64 { return n / huge * huge }

func populate(b []byte) { lab.Check(unix.Madvise(b, unix.MADV_POPULATE_READ)) }

// inParallel calls bring for each of the parts, from 16 goroutines.
func inParallel(parts []lab.Extent, bring func(lab.Extent)) {
	var g errgroup.Group
	g.SetLimit(16)
	for _, x := range parts {
		g.Go(func() error {
			bring(x)
			return nil
		})
	}
	g.Wait()
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
