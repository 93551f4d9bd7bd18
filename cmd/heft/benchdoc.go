package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A result is what was measured of one method.
type result struct {
	Name    string  `json:"name"`
	Cached  int64   `json:"cached"`          // bytes in the page cache before a run: the least, or with cold the most
	Seconds float64 `json:"seconds"`         // from opening until every byte has gone through the processor
	Rate    float64 `json:"rate"`            // bytes a second
	CPU     float64 `json:"cpu"`             // seconds of processor time, of all threads; -1: not known
	Memory  int64   `json:"memory"`          // bytes of memory of its own while it holds the tensors; -1: not known
	Error   string  `json:"error,omitempty"` // why there is nothing of the above

	samples []sample
}

// settle sets the medians.
func (r *result) settle(size int64) {
	if len(r.samples) == 0 {
		return
	}
	r.Seconds = median(r.samples, func(s sample) float64 { return s.took.Seconds() })
	r.Rate = float64(size) / r.Seconds
	r.CPU = median(r.samples, func(s sample) float64 { return s.cpu.Seconds() })
	r.Memory = int64(median(r.samples, func(s sample) float64 { return float64(s.memory) }))
}

func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// benchDoc is what bench says.
type benchDoc struct {
	Schema  int      `json:"schema"`
	Path    string   `json:"path"`
	Size    int64    `json:"size"`
	Cold    bool     `json:"cold"` // runs began with the tensors out of the page cache, else with all of them in it
	Runs    int      `json:"runs"`
	Methods []result `json:"methods"`
	Pick    string   `json:"pick"` // the backend to pick: mmap or read
	Why     string   `json:"why"`
}

// choose says which backend to pick. Mapping has so much for it besides speed
// that a tenth is not worth giving it up for.
func (d *benchDoc) choose() {
	const worth = 1.1
	mmap, read, direct := d.Methods[0], d.Methods[1], d.Methods[2]
	memory := appendSize(nil, d.Size)
	switch {
	case read.Error != "":
		d.Pick, d.Why = "mmap", "read "+read.Error
	case read.Seconds*worth < mmap.Seconds:
		d.Pick, d.Why = "read", fmt.Sprintf("%.1f times as fast as mmap, at the price of %s of memory for each process", mmap.Seconds/read.Seconds, memory)
	case mmap.Seconds*worth < read.Seconds:
		d.Pick, d.Why = "mmap", fmt.Sprintf("%.1f times as fast as read, and all processes share its %s of memory", read.Seconds/mmap.Seconds, memory)
	default:
		d.Pick, d.Why = "mmap", fmt.Sprintf("as fast as read, and all processes share its %s of memory", memory)
	}
	best := min(mmap.Seconds, cmp.Or(read.Seconds, mmap.Seconds))
	if direct.Error == "" && direct.Seconds*worth < best {
		d.Why += fmt.Sprintf("; direct I/O is %.1f times as fast still, but every process and every start reads the disk anew", best/direct.Seconds)
	}
}

func (d *benchDoc) print(c *cli) {
	t := newTable(c.screen, head{})
	t.bare = true
	state := "out of the page cache"
	if !d.Cold {
		state = "in the page cache"
	}
	t.plain(fmt.Sprintf("%s: %s, %s before each run; %s", appendText(nil, d.Path, t.ascii), appendSize(nil, d.Size), state, plural(d.Runs, "run")))
	t.write(c.out)
	c.out.WriteByte('\n')
	t = newTable(c.screen, head{title: "METHOD"}, head{title: "CACHED", right: true}, head{title: "TIME", right: true},
		head{title: "GB/s", right: true}, head{title: "CPU", right: true}, head{title: "MEMORY", right: true}, head{})
	for _, r := range d.Methods {
		t.plain(r.Name)
		if r.Error != "" {
			for range 5 {
				t.plain("?")
			}
			t.plain(r.Error)
			continue
		}
		t.percent(r.Cached, d.Size, 1)
		t.duration(r.Seconds)
		t.plain(fmt.Sprintf("%.2f", r.Rate/1e9))
		t.duration(r.CPU)
		if r.Memory < 0 {
			t.plain("?")
		} else {
			t.size(r.Memory)
		}
		t.plain("")
	}
	t.write(c.out)
	fmt.Fprintf(c.out, "\npick %s: %s\n", d.Pick, d.Why)
}

// duration adds a cell with a time, or ? for one that is not known.
func (t *table) duration(seconds float64) {
	if seconds < 0 {
		t.plain("?")
		return
	}
	t.text = appendDuration(t.text, time.Duration(seconds*float64(time.Second)))
	t.end()
}
