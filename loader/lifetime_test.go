//go:build linux

package loader

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// mappings returns the lines of /proc/self/maps that overlap [addr, addr+length), with how many there are of all.
func mappings(t testing.TB, addr, length uintptr) (overlapping []string, all int) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); all++ {
		var lo, hi uintptr
		if _, err := fmt.Sscanf(s.Text(), "%x-%x", &lo, &hi); err != nil {
			t.Fatal(err)
		}
		if lo < addr+length && addr < hi {
			overlapping = append(overlapping, s.Text())
		}
	}
	return overlapping, all
}

func TestMappingIsAligned(t *testing.T) {
	skipEmulated(t)
	dir := t.TempDir()
	for i := range 3 {
		name := fmt.Sprint(i)
		write(t, dir, name+".safetensors", encode(nil, tens{name, 1000 + i*hugePage}))
	}
	m := mustOpen(t, dir)
	for _, f := range m.files {
		lines, _ := mappings(t, f.addr, uintptr(len(f.data)))
		if f.addr%hugePage != 0 || len(lines) != 1 || !strings.Contains(lines[0], " r--s 00000000 ") {
			t.Errorf("%s is mapped by %q", f.path, lines)
		}
	}
}

func TestRetired(t *testing.T) {
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 3 << 20}))
	room := uintptr(4 << 20)
	use := func() uintptr {
		m := mustOpen(t, path)
		defer m.Close()
		return m.files[0].addr
	}
	first := use()
	lines, _ := mappings(t, first, room)
	if len(lines) != 1 || !strings.Contains(lines[0], " ---p ") {
		t.Fatalf("after Close the range is %q", lines)
	}
	for range min(50, int(retired.limit/uint64(room))-1) {
		if addr := use(); addr < first+room && first < addr+room {
			t.Fatalf("%#x was used again: %#x", first, addr)
		}
	}
}

func TestRetiredLimit(t *testing.T) {
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 3 << 20}))
	const room = 4 << 20
	ranges, bytes, limit := retired.ranges, retired.bytes, retired.limit
	retired.ranges, retired.bytes, retired.limit = nil, 0, 2*room
	defer func() {
		retired.ranges, retired.bytes, retired.limit = append(ranges, retired.ranges...), bytes+retired.bytes, limit
	}()
	var addrs []uintptr
	for range 3 {
		m := mustOpen(t, path)
		addrs = append(addrs, m.files[0].addr)
		m.Close()
	}
	for i, addr := range addrs {
		lines, _ := mappings(t, addr, room)
		if held := len(lines) > 0; held != (i > 0) {
			t.Errorf("of 3 ranges where 2 are the limit, is number %d reserved: %v", i, held)
		}
	}
	if len(retired.ranges) != 2 || retired.bytes != 2*room {
		t.Errorf("%d ranges, %d bytes are retired", len(retired.ranges), retired.bytes)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	skipEmulated(t)
	dir := t.TempDir()
	for i := range 3 {
		write(t, dir, fmt.Sprint(i, ".safetensors"), encode(nil, tens{fmt.Sprint(i), 5000}))
	}
	broken := t.TempDir()
	write(t, broken, "1.safetensors", encode(nil, tens{"a", 1}))
	write(t, broken, "2.safetensors", encode(nil, tens{"a", 1}))
	count := func() [3]int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		_, maps := mappings(t, 0, 0)
		return [...]int{len(fds), maps, runtime.NumGoroutine()}
	}
	cycle := func() {
		m, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Module("")
		if err == nil {
			err = r.Prefetch(context.Background())
		}
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		if _, err := Open(broken); err == nil {
			t.Fatal("a tensor in two files opens")
		}
	}
	cycle()
	before := count()
	for range 1000 {
		cycle()
	}
	after := count()
	for i, what := range []string{"descriptors", "mappings", "goroutines"} {
		if after[i] > before[i]+20 { // the runtime maps and starts a few of its own
			t.Errorf("%d %s before 1000 cycles, %d after", before[i], what, after[i])
		}
	}
}

func TestCloseAgainstGuards(t *testing.T) {
	want := tens{"a", 100_000}
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, want))
	bothBackends(t, func(t *testing.T, backend Option) {
		for range 100 {
			m := mustOpen(t, path, backend)
			r := mustRegion(t, m, "a")
			var worked atomic.Int64
			var wg sync.WaitGroup
			work := func() error {
				x, err := m.Tensor("a")
				if err != nil {
					return err
				}
				b := x.Bytes()
				for i := 0; i < len(b); i += 1000 {
					if b[i] != pattern("a", i) {
						t.Errorf("byte %d is %d", i, b[i])
					}
				}
				worked.Add(1)
				return r.Prefetch(context.Background())
			}
			for i := range 8 {
				wg.Go(func() {
					for {
						err := m.Guard(func() error { return m.Guard(work) })
						if errors.Is(err, fs.ErrClosed) {
							return
						}
						if err != nil {
							t.Error(err)
							return
						}
						if i == 0 && worked.Load() > 20 {
							m.Guard(m.Close)
						}
					}
				})
			}
			wg.Wait()
			if s := m.lifetime.state.Load(); s != closedBit {
				t.Fatalf("state %d after all are done", s)
			}
			if _, err := m.files[0].f.Stat(); !errors.Is(err, fs.ErrClosed) {
				t.Fatal("the model is not torn down")
			}
		}
	})
}

// stale reads through a slice after Close, having opened other models since.
func stale(path string, read func(b []byte, others []*Model)) {
	must := func(m *Model, err error) *Model {
		if err != nil {
			panic(err)
		}
		return m
	}
	m := must(Open(path))
	x, err := m.Tensor("b")
	if err != nil {
		panic(err)
	}
	b := x.Bytes()
	fmt.Printf("addr=%#x\n", m.files[0].addr+uintptr(m.files[0].header.Tensors[1].Begin))
	m.Close()
	var others []*Model
	for range 50 {
		others = append(others, must(Open(path)))
	}
	read(b, others)
}

func init() {
	children["stale"] = func(path string) {
		stale(path, func(b []byte, _ []*Model) { fmt.Println("read", b[0]) })
	}
	children["stale in Guard"] = func(path string) {
		stale(path, func(b []byte, others []*Model) {
			fmt.Println("returned", others[0].Guard(func() error { fmt.Println("read", b[0]); return nil }))
		})
	}
}

// A slice kept past Close faults at its own address, whatever is opened since.
func TestStaleSlice(t *testing.T) {
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, twoPages...))
	for _, child := range []string{"stale", "stale in Guard"} {
		out, err := runChild(t, child, path)
		addr, rest, _ := strings.Cut(strings.TrimPrefix(out, "addr="), "\n")
		if err == nil || strings.Contains(rest, "read ") || strings.Contains(rest, "returned") || !strings.Contains(rest, "addr="+addr) {
			t.Errorf("%s: %v; want a crash at %s:\n%s", child, err, addr, out)
		}
		if child == "stale in Guard" && !strings.Contains(rest, "panic: ") {
			t.Errorf("%s: want a panic that passes through:\n%s", child, out)
		}
	}
}
