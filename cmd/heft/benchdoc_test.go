package main

import (
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	const size = 1 << 30
	for _, test := range []struct {
		mmap, read, direct result
		pick, why          string
	}{
		{result{Seconds: 1}, result{Seconds: 3}, result{Seconds: 2},
			"mmap", "3.0 times as fast as read, and all processes share its 1.00 GiB of memory"},
		{result{Seconds: 1}, result{Seconds: 0.95}, result{Error: "not here"},
			"mmap", "as fast as read, and all processes share its 1.00 GiB of memory"},
		{result{Seconds: 3}, result{Seconds: 1}, result{Seconds: 1},
			"read", "3.0 times as fast as mmap, at the price of 1.00 GiB of memory for each process"},
		{result{Seconds: 2}, result{Seconds: 2}, result{Seconds: 1},
			"mmap", "as fast as read, and all processes share its 1.00 GiB of memory; direct I/O is 2.0 times as fast still, but every process and every start reads the disk anew"},
		{result{Seconds: 2}, result{Error: "needs 2 GiB"}, result{Seconds: 2},
			"mmap", "read needs 2 GiB"},
	} {
		d := benchDoc{Size: size, Methods: []result{test.mmap, test.read, test.direct}}
		if d.choose(); d.Pick != test.pick || d.Why != test.why {
			t.Errorf("mmap %v s, read %v s, direct %v s: %s: %s, want %s: %s",
				test.mmap.Seconds, test.read.Seconds, test.direct.Seconds, d.Pick, d.Why, test.pick, test.why)
		}
	}
}

func TestSettle(t *testing.T) {
	r := result{samples: []sample{{3 * time.Second, 4 * time.Second, 5}, {time.Second, -1, 7}, {2 * time.Second, 9 * time.Second, 6}}}
	r.settle(1000)
	if r.Seconds != 2 || r.Rate != 500 || r.CPU != 4 || r.Memory != 6 {
		t.Errorf("got %+v", r)
	}
	r = result{samples: []sample{{time.Second, 0, 1}, {3 * time.Second, 0, 2}}}
	if r.settle(1000); r.Seconds != 2 {
		t.Errorf("of two runs: %v s", r.Seconds)
	}
}
