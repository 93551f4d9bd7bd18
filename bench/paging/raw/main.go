//go:build linux

// Command raw measures what touching views brings in that nobody has
// prefetched, by the hint that the mapping has: of all tensors in order, and of
// 20 scattered ones. It is why mappings begin with the hints that they do.
//
//	go run ./paging/raw
//
// As root it measures under a read_ahead_kb of 128 too, and restores the machine's own.
package main

import (
	"fmt"

	"heft/bench/paging/internal/lab"
	"heft/loader"
)

func main() {
	lab.Main(func(path string) {
		lab.WithReadAhead(path, func(kb string) {
			compare(path, kb, 1)
			compare(path, kb, 10)
		})
	})
}

// compare touches each tensor whose number every divides.
func compare(path, kb string, every int) {
	done := func() {} // with what the run before has left
	cold := func() {
		done()
		done = func() {}
		lab.Cold(path)
	}
	touch := func(hints ...loader.Advice) func() {
		return func() {
			m, err := loader.Open(path)
			lab.Check(err)
			r, err := m.Module("")
			lab.Check(err)
			for _, a := range hints {
				lab.Check(r.Advise(a))
			}
			i := 0
			for t, err := range r.All() {
				lab.Check(err)
				if i%every == 0 {
					lab.Touch(t.Bytes(), []lab.Extent{{Hi: lab.TensorBytes}})
				}
				i++
			}
			done = func() { lab.Check(m.Close()) }
		}
	}
	variants := []*lab.Variant{
		{Name: "as opened", Prepare: cold, Run: touch()},
		{Name: "HugePage", Prepare: cold, Run: touch(loader.Normal, loader.HugePage)},
		{Name: "HugePage, Random", Prepare: cold, Run: touch(loader.Random, loader.HugePage)},
		{Name: "neither", Prepare: cold, Run: touch(loader.Normal, loader.NoHugePage)},
	}
	lab.Compare(variants...)
	done()
	fmt.Printf("read_ahead_kb %s, 1 tensor in %d:   ms   MiB read\n", kb, every)
	for _, v := range variants {
		fmt.Printf("  %-20s %12.1f %10.1f\n", v.Name, v.Median(lab.Wall)*1e3, v.Median(lab.Read)/(1<<20))
	}
}
