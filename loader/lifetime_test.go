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

func TestLifetimeRetired(t *testing.T) {
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

// retireAtMost makes the cap on retired address space a small one, and forgets what is retired already.
func retireAtMost(n uint64) (restore func()) {
	ranges, bytes, limit := retired.ranges, retired.bytes, retired.limit
	retired.ranges, retired.bytes, retired.limit = nil, 0, n
	return func() {
		retired.ranges, retired.bytes, retired.limit = append(ranges, retired.ranges...), bytes+retired.bytes, limit
	}
}

func TestLifetimeCap(t *testing.T) {
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 3 << 20}))
	const room = 4 << 20
	defer retireAtMost(2 * room)()
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

// Opening and closing for months costs nothing: no descriptor, mapping,
// goroutine, memory or page table, once as much is retired as the cap allows.
func TestLifetimeCycles(t *testing.T) {
	skipEmulated(t)
	defer retireAtMost(64 * mib)()
	dir := t.TempDir()
	for i := range 3 {
		write(t, dir, fmt.Sprint(i, ".safetensors"), encode(nil, tens{fmt.Sprint(i), 5000}))
	}
	broken := t.TempDir()
	write(t, broken, "1.safetensors", encode(nil, tens{"a", 1}))
	write(t, broken, "2.safetensors", encode(nil, tens{"a", 1}))
	count := func() map[string]int {
		runtime.GC()
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		_, maps := mappings(t, 0, 0)
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		status := table(os.DirFS("/"), "proc/self/status")
		return map[string]int{"descriptors": len(fds), "mappings": maps, "goroutines": runtime.NumGoroutine(),
			"KiB of heap": int(mem.HeapAlloc >> 10), "KiB of page tables": int(status["VmPTE:"])}
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
	for range 100 {
		cycle()
	}
	before := count()
	for range 10_000 {
		cycle()
	}
	for what, n := range count() {
		if n > before[what]+100 { // the runtime maps and starts a few of its own
			t.Errorf("%d %s before 10,000 cycles, %d after", before[what], what, n)
		}
	}
}

// Thousands use a model in every way while it is closed from inside and
// outside: nothing is taken away from those who are in, and then all is.
func TestLifetimeCloseAgainstAll(t *testing.T) {
	const users = 3000
	ts := []tens{{"a", 100_000}, {"b", 3 << 20}, {"c", 5000}}
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, ts...))
	bothBackends(t, func(t *testing.T, backend Option) {
		before := runtime.NumGoroutine()
		m := mustOpen(t, path, backend)
		all := module(t, m)
		var inside, finished atomic.Int64
		look := func() error {
			for _, want := range ts {
				x, err := m.Tensor(want.name)
				if err != nil {
					return err
				}
				for b, i := x.Bytes(), 0; i < len(b); i += 4000 {
					if b[i] != pattern(want.name, i&0xffff) {
						t.Errorf("%q: byte %d is %d", want.name, i, b[i])
					}
				}
			}
			inside.Add(1)
			return nil
		}
		ways := []func() error{
			func() error { return m.Guard(look) },
			func() error { return m.Guard(func() error { return m.Guard(look) }) },
			func() error { return all.Prefetch(t.Context()) },
			func() error {
				for _, err := range m.Stream(t.Context(), StreamOptions{Window: 1, Evict: EvictAlways}, all, all) {
					if err != nil {
						return err
					}
					if err := m.Guard(look); err != nil {
						return err
					}
				}
				return nil
			},
			func() error {
				return m.Guard(func() error {
					x, err := m.Tensor("b")
					if err != nil {
						return err
					}
					if inside.Load() > 2*users {
						m.Close() // and go on reading
					}
					for b, i := x.Bytes(), 0; i < len(b); i += 4000 {
						if b[i] != pattern("b", i&0xffff) {
							t.Errorf("byte %d is %d", i, b[i])
						}
					}
					return nil
				})
			},
		}
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range users {
			wg.Go(func() {
				<-start
				for {
					err := ways[i%len(ways)]()
					if errors.Is(err, fs.ErrClosed) {
						finished.Add(1)
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		close(start)
		wg.Wait()
		if finished.Load() != users {
			t.Errorf("%d of %d users were told that it is closed", finished.Load(), users)
		}
		idle(m)
		if s := m.lifetime.state.Load(); s != closedBit {
			t.Errorf("state %d after all are done", s)
		}
		if _, err := m.files[0].f.Stat(); !errors.Is(err, fs.ErrClosed) {
			t.Error("the model is not torn down")
		}
		for runtime.NumGoroutine() > before { // ends at the test's time limit if one is left
			runtime.Gosched()
		}
	})
}

func TestLifetimeCloseAgainstGuards(t *testing.T) {
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
func TestLifetimeStaleSlice(t *testing.T) {
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
