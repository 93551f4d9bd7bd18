//go:build linux

// Command warm measures how soon a file that is in memory is ready to use:
// Open and Prefetch of all, beside a plain program that reserves, maps, advises
// and populates in one call. It does so with the page cache in huge pages and
// in small ones.
//
//	go run ./paging/warm
package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"heft/bench/paging/internal/lab"
	"heft/loader"
)

func main() {
	lab.Main(func(path string) {
		lab.Cold(path)
		load(path)()
		compare(path, "huge pages")
		lab.Cold(path)
		small(path)
		compare(path, "small pages")
	})
}

// small fills the page cache with small pages, by asking for it in pieces.
func small(path string) {
	f, err := os.Open(path)
	lab.Check(err)
	defer f.Close()
	fi, err := f.Stat()
	lab.Check(err)
	const piece = 128 << 10
	for lo := int64(0); lo < fi.Size(); lo += piece {
		lab.Check(unix.Fadvise(int(f.Fd()), lo, piece, unix.FADV_WILLNEED))
	}
	b := lab.Map(path)
	defer lab.Unmap(b)
	lab.Touch(b, []lab.Extent{{Hi: fi.Size()}})
}

func compare(path, pages string) {
	size := lab.Cached(path)
	done := func() {} // with what the run before has left
	resident := func() {
		done()
		done = func() {}
		if n := lab.Cached(path); n != size {
			lab.Check(fmt.Errorf("%s: %d bytes are in the page cache, %d were", path, n, size))
		}
	}
	plain := &lab.Variant{Name: "one populate", Prepare: resident, Run: func() {
		b := lab.Map(path)
		unix.Madvise(b, unix.MADV_HUGEPAGE)
		lab.Check(unix.Madvise(b, unix.MADV_POPULATE_READ))
		done = func() { lab.Unmap(b) }
	}}
	heft := &lab.Variant{Name: "Open, Prefetch", Prepare: resident, Run: func() { done = load(path) }}
	lab.Compare(plain, heft)
	done()
	fmt.Printf("warm, %d MiB in %s:   ms   speed beside one populate\n", size>>20, pages)
	for _, v := range []*lab.Variant{plain, heft} {
		fmt.Printf("  %-20s %14.2f  %s\n", v.Name, v.Median(lab.Wall)*1e3, v.Speed(plain))
	}
}

func load(path string) (done func()) {
	m, err := loader.Open(path)
	lab.Check(err)
	r, err := m.Module("")
	lab.Check(err)
	lab.Check(r.Prefetch(context.Background()))
	return func() { lab.Check(m.Close()) }
}
