package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const smaps = `7f5c00000000-7f5c40000000 r--s 00000000 fe:00 131077                     /models/m 1.safetensors
Size:            1048576 kB
Rss:                 300 kB
Pss:                 100 kB
Shared_Clean:        280 kB
Private_Clean:        16 kB
Private_Dirty:         4 kB
VmFlags: rd sh mr me ms sd
7f5c40000000-7f5c40001000 rw-p 00000000 00:00 0 
Size:                  4 kB
Rss:                   4 kB
7f5c50000000-7f5c50001000 r--s 00001000 fe:00 131077                     /models/m 1.safetensors (deleted)
Size:                  4 kB
Rss:                   4 kB
7f5c60000000-7f5c60001000 r--s 00000000 fe:01 131077                     /other
Rss:                4096 kB
`

// A process pays for all mappings of the files, and for no others.
func TestProcessAdd(t *testing.T) {
	var p process
	p.add([]byte(smaps), map[string]bool{"fe:00 131077": true})
	want := process{Mapped: 1<<30 + 4<<10, RSS: 304 << 10, PSS: 100 << 10, Private: 20 << 10}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
}

func TestParseMapping(t *testing.T) {
	for _, test := range []struct {
		line string
		want mapping
		ok   bool
	}{
		{"7f5c00000000-7f5c40000000 r--s 00000000 fe:00 131077                     /models/m 1.safetensors\n", mapping{"fe:00 131077", "/models/m 1.safetensors"}, true},
		{"7f5c40000000-7f5c40001000 rw-p 00000000 00:00 0 \n", mapping{"00:00 0", ""}, true},
		{"7f5c40000000-7f5c40001000 rw-p 00000000 00:00 0", mapping{"00:00 0", ""}, true},
		{"Private_Clean:        16 kB\n", mapping{}, false},
		{"VmFlags: rd sh mr me-ms sd ac\n", mapping{}, false},
		{"", mapping{}, false},
	} {
		if got, ok := parseMapping([]byte(test.line)); got != test.want && test.ok || ok != test.ok {
			t.Errorf("parseMapping(%q) = %q, %v, want %q, %v", test.line, got, ok, test.want, test.ok)
		}
	}
}

// Blocks are read at once: they hold all bytes of the tensors, none twice, and
// what follows each other goes together.
func TestBlocks(t *testing.T) {
	tensor := func(file int, lo, hi int64) (r row) {
		r.file, r.Begin, r.End = file, lo, hi
		return r
	}
	b := &benchmark{rows: []row{
		tensor(0, 100, 200), tensor(0, 200, 200), tensor(0, 200, 300), // together
		tensor(0, 400, blockSize+50), // apart, and cut
		tensor(0, blockSize+50, blockSize+60),
		tensor(1, blockSize+60, blockSize+70), // another file
		tensor(1, 2*blockSize, 4*blockSize),
	}}
	want := []block{
		{0, 100, 300}, {0, 400, blockSize}, {0, blockSize, blockSize + 60},
		{1, blockSize + 60, blockSize + 70}, {1, 2 * blockSize, 3 * blockSize}, {1, 3 * blockSize, 4 * blockSize},
	}
	if diff := cmp.Diff(want, b.blocks(), cmp.AllowUnexported(block{})); diff != "" {
		t.Error(diff)
	}
}
