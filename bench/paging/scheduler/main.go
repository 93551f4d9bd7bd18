//go:build linux

// Command scheduler measures what loading does to the rest of a program, with
// GOMAXPROCS=2: how late a ticker of 1 ms is, and how long the world stops for
// reading the memory statistics, while a file that is not in memory is
// prefetched, and while the same file is touched instead.
//
//	go run ./paging/scheduler
package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"heft/bench/paging/internal/lab"
	"heft/loader"
)

func main() {
	runtime.GOMAXPROCS(2)
	lab.Main(func(path string) {
		var idle, prefetch, touch watch
		done := func() {} // with what the run before has left
		cold := func() {
			done()
			done = func() {}
			lab.Cold(path)
		}
		nothing := &lab.Variant{Prepare: cold, Run: func() { idle.during(func() { time.Sleep(time.Second) }) }}
		heft := &lab.Variant{Prepare: cold, Run: func() {
			m, err := loader.Open(path)
			lab.Check(err)
			r, err := m.Module("")
			lab.Check(err)
			prefetch.during(func() { lab.Check(r.Prefetch(context.Background())) })
			done = func() { lab.Check(m.Close()) }
		}}
		raw := &lab.Variant{Prepare: cold, Run: func() {
			b := lab.Map(path)
			touch.during(func() { lab.Touch(b, []lab.Extent{{Hi: int64(len(b))}}) })
			done = func() { lab.Unmap(b) }
		}}
		lab.Compare(nothing, heft, raw)
		done()
		fmt.Println("                 late ticks: 50 %, 99 %, most   stops: 50 %, 99 %, most (ms)")
		for _, w := range []struct {
			name string
			*watch
		}{{"nothing", &idle}, {"Prefetch", &prefetch}, {"touching", &touch}} {
			fmt.Printf("  %-20s %s   %s\n", w.name, percentiles(w.late), percentiles(w.stops))
		}
	})
}

// watch is what other goroutines see.
type watch struct{ late, stops []float64 } // milliseconds

// during watches while f runs.
func (w *watch) during(f func()) {
	stop := make(chan struct{})
	var g sync.WaitGroup
	g.Go(func() {
		const tick = time.Millisecond
		for {
			began := time.Now()
			time.Sleep(tick)
			w.late = append(w.late, float64(time.Since(began)-tick)/1e6)
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	g.Go(func() {
		var s runtime.MemStats
		for {
			began := time.Now()
			runtime.ReadMemStats(&s)
			w.stops = append(w.stops, float64(time.Since(began))/1e6)
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	f()
	close(stop)
	g.Wait()
}

func percentiles(ms []float64) string {
	slices.Sort(ms)
	at := func(p int) float64 { return ms[(len(ms)-1)*p/100] }
	return fmt.Sprintf("%8.2f %8.2f %8.2f", at(50), at(99), at(100))
}
