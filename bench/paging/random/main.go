//go:build linux

// Command random measures layers in random order that do not fit together into
// memory: 200 of 32 to 256 MiB of a large file, each brought in by Prefetch,
// touched, and taken out by Evict, beside O_DIRECT for the same bytes.
//
//	go run ./paging/random -mib 30720 -rounds 3
//
// The file wants as much room on the disk. Memory must be less for the classic
// case, but what is measured does not depend on it: nothing stays that was used.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"heft/bench/paging/internal/lab"
	"heft/loader"
)

// layer is some tensors that lie side by side.
type layer struct {
	region *loader.Region
	extent lab.Extent
}

func main() { lab.Main(compare) }

func compare(path string) {
	m, err := loader.Open(path)
	lab.Check(err)
	defer m.Close()
	whole, err := m.Module("")
	lab.Check(err)
	layers := choose(m)
	floor := lab.NewFloor(path)
	var total, most int64
	var extents []lab.Extent
	for _, l := range layers {
		total += l.region.Size()
		extents = append(extents, l.extent)
	}
	cold := func() {
		_, err := whole.Evict() // the pages that layers share are still mapped, and stay otherwise
		lab.Check(err)
		lab.Cold(path)
	}
	direct := &lab.Variant{Name: "O_DIRECT, 4 threads", Prepare: cold, Run: func() { floor.Read(extents) }}
	heft := &lab.Variant{Name: "Prefetch, Evict", Prepare: cold, Run: func() {
		for _, l := range layers {
			lab.Check(l.region.Prefetch(context.Background()))
			for t, err := range l.region.All() {
				lab.Check(err)
				lab.Touch(t.Bytes(), []lab.Extent{{Lo: 0, Hi: int64(len(t.Bytes()))}})
			}
			n, err := whole.Resident()
			lab.Check(err)
			most = max(most, n)
			_, err = l.region.Evict()
			lab.Check(err)
		}
	}}
	var regions []*loader.Region
	for _, l := range layers {
		regions = append(regions, l.region)
	}
	var mostStream int64
	stream := &lab.Variant{Name: "Stream", Prepare: cold, Run: func() {
		o := loader.StreamOptions{Window: 512 << 20, Evict: loader.EvictAlways}
		for r, err := range m.Stream(context.Background(), o, regions...) {
			lab.Check(err)
			for t, err := range r.All() {
				lab.Check(err)
				lab.Touch(t.Bytes(), []lab.Extent{{Lo: 0, Hi: int64(len(t.Bytes()))}})
			}
			n, err := whole.Resident()
			lab.Check(err)
			mostStream = max(mostStream, n)
		}
	}}
	lab.Compare(direct, heft, stream)
	fmt.Printf("%d layers, %.1f GiB in random order of %.1f GiB:\n", len(layers), float64(total)/(1<<30), float64(whole.Size())/(1<<30))
	fmt.Println("                       GB/s  read   CPU ms/GB  resident at most  of O_DIRECT's speed")
	for _, v := range []*lab.Variant{direct, heft, stream} {
		resident := map[*lab.Variant]int64{heft: most, stream: mostStream}[v]
		gb := float64(total) / 1e9
		fmt.Printf("  %-20s %5.2f %5.3fx %9.1f %13d MiB  %s\n", v.Name, gb/v.Median(lab.Wall),
			v.Median(lab.Read)/float64(total), v.Median(lab.CPU)*1e3/gb, resident>>20, v.Speed(direct))
	}
}

// choose returns the layers, the same in each run.
func choose(m *loader.Model) (layers []layer) {
	const n, least, most = 200, 32 << 20, 256 << 20
	var names []string
	var at []lab.Extent
	for _, e := range m.Entries() {
		names, at = append(names, e.Name), append(at, lab.Extent{Lo: e.Begin, Hi: e.End})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range n {
		count := (least+r.IntN(most-least))/lab.TensorBytes + 1
		first := r.IntN(len(names) - count)
		region, err := m.Region(names[first : first+count]...)
		lab.Check(err)
		layers = append(layers, layer{region, lab.Extent{Lo: at[first].Lo, Hi: at[first+count-1].Hi}})
	}
	return layers
}
