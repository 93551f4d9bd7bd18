package loader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// memoryGroup makes a memory control group with a limit and returns its
// directory.
func memoryGroup(t *testing.T, limit int64) string {
	t.Helper()
	skipEmulated(t)
	dir, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(dir); err != nil {
		dir, file = "/sys/fs/cgroup", "memory.max"
		os.WriteFile(dir+"/cgroup.subtree_control", []byte("+memory"), 0)
	}
	dir = fmt.Sprintf("%s/heft-test-%d", dir, os.Getpid())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no memory control groups to be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
		t.Skipf("no memory control groups to be made here: %v", err)
	}
	return dir
}

// confined is what a child is told, and tells, about its stay in a group.
type confined struct {
	Group, Path string
	Layers      int

	Window   int64
	Resident int64   // the most of the model at any step
	Read     []int64 // from the device, in each pass
}

// enter moves this process into the group.
func (c *confined) enter() {
	must(os.WriteFile(filepath.Join(c.Group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0))
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// deviceBytes returns how much this process has had a device read.
func deviceBytes() int64 {
	return table(os.DirFS("/"), "proc/self/io")["read_bytes:"]
}

func init() {
	children["stream in a group"] = func(arg string) {
		var c confined
		must(json.Unmarshal([]byte(arg), &c))
		c.enter()
		m, err := Open(c.Path)
		must(err)
		whole, err := m.Module("")
		must(err)
		var regions []*Region
		for i := range c.Layers {
			r, err := m.Module(fmt.Sprintf("%c.", 'a'+i))
			must(err)
			regions = append(regions, r)
		}
		s, err := m.newStream(StreamOptions{}, regions)
		must(err)
		c.Window = s.window
		for range 2 {
			before := deviceBytes()
			for r, err := range m.Stream(context.Background(), StreamOptions{}, regions...) {
				must(err)
				must(compare(r))
				n, err := whole.Resident()
				must(err)
				c.Resident = max(c.Resident, n)
			}
			c.Read = append(c.Read, deviceBytes()-before)
		}
		must(m.Close())
		out, err := json.Marshal(c)
		must(err)
		fmt.Println(string(out))
	}
	children["read in a group"] = func(arg string) {
		var c confined
		must(json.Unmarshal([]byte(arg), &c))
		c.enter()
		m, err := Open(c.Path, WithBackend(BackendRead))
		must(err)
		for _, err := range m.All() {
			must(err)
		}
	}
}

// A model larger than the memory of its control group passes through it, and
// only reading it all is what the group kills.
func TestStreamLargerThanMemory(t *testing.T) {
	const layer, n, limit = 16 * mib, 16, 96 * mib
	group := memoryGroup(t, limit)
	m, path := cold(t, layers(n, layer))
	size := module(t, m).Size()
	arg, _ := json.Marshal(confined{Group: group, Path: path, Layers: n})
	out, err := runChild(t, "stream in a group", string(arg))
	var c confined
	if err == nil {
		err = json.Unmarshal([]byte(out), &c)
	}
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if c.Window < 2*layer || c.Window > limit/2 {
		t.Errorf("the window is %d bytes of %d", c.Window, limit)
	}
	if c.Resident > c.Window+aheadSlack {
		t.Errorf("%d bytes were resident, with a window of %d", c.Resident, c.Window)
	}
	for pass, n := range c.Read {
		if n < size-size/100 || n > size+size/20 {
			t.Errorf("pass %d read %d bytes of %d", pass, n, size)
		}
	}
	_, err = runChild(t, "read in a group", string(arg))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("reading all of it: %v; want it killed", err)
	}
}

// aheadSlack is what the kernel may have read ahead of what it was asked for,
// which it does when others use the disk too.
const aheadSlack = 16 * mib

// Of a mapped model, the page cache holds what the window holds, and after the
// loop nothing, whatever the order of the layers.
func TestStreamResident(t *testing.T) {
	const n, layer, window = 12, 10 * mib, 32 * mib
	m, _ := cold(t, layers(n, layer))
	whole := module(t, m)
	regions := regionsOf(t, m, n)
	for _, order := range [][]int{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {5, 2, 8, 0, 10, 6, 1, 4}, {3, 3, 2, 3, 2, 0}} {
		synctest.Test(t, func(t *testing.T) {
			var given []*Region
			for _, i := range order {
				given = append(given, regions[i])
			}
			i := 0
			for r, err := range m.Stream(t.Context(), StreamOptions{window, EvictAlways}, given...) {
				if err != nil {
					t.Fatal(err)
				}
				checkRegion(t, r)
				synctest.Wait() // until all that the window has room for is there
				checkResident(t, r, r.Size())
				if i++; i < len(given) {
					checkResident(t, given[i], given[i].Size())
				}
				if n, err := whole.Resident(); n > window+aheadSlack || err != nil {
					t.Errorf("%v: step %d: %d bytes resident, %v", order, i, n, err)
				}
			}
			synctest.Wait()
			if n, err := whole.Resident(); n > aheadSlack || err != nil {
				t.Errorf("%v: %d bytes stay resident, %v", order, n, err)
			}
		})
	}
}

// Pages that are pinned stay, and do not keep their neighbours.
func TestStreamPinned(t *testing.T) {
	const n, layer = 4, 8 * mib
	m, _ := cold(t, layers(n, layer))
	regions := regionsOf(t, m, n)
	pinned := mustRegion(t, m, "b.0")
	if err := pinned.Pin(); err != nil {
		t.Skipf("cannot pin here: %v", err)
	}
	for r, err := range m.Stream(t.Context(), StreamOptions{1, EvictAlways}, regions...) {
		if err != nil {
			t.Fatal(err)
		}
		checkResident(t, r, r.Size())
	}
	checkResident(t, pinned, pinned.Size())
	for _, i := range []int{0, 2, 3} {
		if n, err := regions[i].Resident(); n > aheadSlack/2 || err != nil {
			t.Errorf("region %d: %d bytes resident, %v", i, n, err)
		}
	}
	if n, err := regions[1].Resident(); n > pinned.Size()+4*mib || err != nil {
		t.Errorf("beside what is pinned: %d bytes resident, %v", n, err)
	}
}

// No call loses what was written to a private copy.
func TestStreamCopyOnWrite(t *testing.T) {
	const n, layer = 4, 3 * mib
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, layers(n, layer)...))
	skipEmulated(t)
	m := mustOpen(t, path, WithMode(CopyOnWrite))
	regions := regionsOf(t, m, n)
	for range 2 {
		for r, err := range m.Stream(t.Context(), StreamOptions{1, EvictAlways}, regions...) {
			if err != nil {
				t.Fatal(err)
			}
			for x := range r.All() {
				for i := 0; i < x.Len(); i += 1000 {
					x.Bytes()[i]++
				}
			}
		}
	}
	for _, x := range layers(n, layer) {
		want := x.bytes()
		for i := 0; i < len(want); i += 1000 {
			want[i] += 2
		}
		if !slices.Equal(bytesOf(t, m, x.name), want) {
			t.Errorf("%q: writes are lost", x.name)
		}
	}
}

// A file system that does not answer holds neither the loop nor the goroutine
// that runs ahead of it, only those that read, and these hold the model.
func TestStreamHangs(t *testing.T) {
	m, _ := cold(t, layers(4, 3*mib))
	regions := regionsOf(t, m, 4)
	old := madvise
	defer func() { madvise = old }()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		var hangs atomic.Bool
		madvise = func(b []byte, advice int) error {
			if advice == unix.MADV_POPULATE_READ && hangs.Load() {
				<-answer
			}
			return old(b, advice)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // of a clock that runs when all wait
		defer cancel()
		var errs []error
		for _, err := range m.Stream(ctx, StreamOptions{1, EvictAlways}, regions...) {
			errs = append(errs, err)
			hangs.Store(true)
		}
		if !slices.Equal(errs, []error{nil, context.DeadlineExceeded}) {
			t.Errorf("got %v, want one region and the end of the context", errs)
		}
		m.Close()
		if _, err := m.files[0].f.Stat(); err != nil {
			t.Errorf("the file is closed under the reader: %v", err)
		}
		close(answer)
		checkUsers(t, m)
		if _, err := m.files[0].f.Stat(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("the model is not torn down: %v", err)
		}
	})
}
