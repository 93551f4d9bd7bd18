package loader

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"heft/format"
)

// deviceReads returns how many bytes this process has had devices read.
func deviceReads(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("no I/O accounting here: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		if s, ok := strings.CutPrefix(line, "read_bytes: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Skip("no read_bytes in /proc/self/io")
	return 0
}

// onDisk skips a test of what devices read where the file's is memory.
func onDisk(t testing.TB, m *Model) {
	t.Helper()
	s, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.FileSystem == "tmpfs" || s.FileSystem == "fuse" {
		t.Skipf("needs a disk: %s", s.FileSystem)
	}
}

// wholePages returns the bytes of the pages that extents touch.
func wholePages(extents []extent) (n int64) {
	last := extent{}
	for _, x := range extents {
		x = x.rounded()
		if x.file == last.file && x.lo < last.hi {
			x.lo = last.hi
		}
		n, last = n+x.hi-x.lo, x
	}
	return n
}

// mappingsOf returns how many mappings of the file this process has.
func mappingsOf(t testing.TB, path string) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasSuffix(strings.TrimSpace(line), path) {
			n++
		}
	}
	return n
}

func TestPlan(t *testing.T) {
	const mib = 1 << 20
	f := &file{header: &format.Header{DataOffset: 100 << 10}, id: identity{size: 300 * mib}}
	for _, test := range []struct {
		name   string
		lo, hi int64
		want   string
	}{
		{"inside a huge page", 3 * mib, 3*mib + 10, "edge 3145728-3145738"},
		{"over a boundary", 3 * mib, 5 * mib, "edge 3145728-5242880"},
		{"one huge page", 4 * mib, 6 * mib, "4194304-6291456"},
		{"with edges", 3 * mib, 9 * mib, "edge 3145728-4194304, 4194304-8388608, edge 8388608-9437184"},
		{"after the header", 100 << 10, 4 * mib, "102400-4194304"},
		{"to the end", 298*mib + 5, 300 * mib, "edge 312475653-314572800"},
		{"the whole", 100 << 10, 300 * mib, "102400-314572800"},
		{"long", 8 * mib, 100 * mib, "8388608-104857600"},
	} {
		x := extent{f, test.lo, test.hi}
		var got []string
		at := x.lo
		for _, p := range x.parts() {
			got = append(got, fmt.Sprintf("%s%d-%d", map[bool]string{true: "edge "}[p.edge], p.lo, p.hi))
			if p.lo != at {
				t.Errorf("%s: a hole at %d", test.name, at)
			}
			at = p.hi
		}
		if s := strings.Join(got, ", "); s != test.want {
			t.Errorf("%s: %s, want %s", test.name, s, test.want)
		}
	}
	many := []extent{{f, 102400, 102500}, {f, 200_000, 200_010}, {f, 5 * mib, 40*mib + 3}, {f, 299 * mib, 300 * mib}}
	total := int64(0)
	for _, step := range plan(many) {
		size := int64(0)
		for _, p := range step {
			size += p.hi - p.lo
		}
		if size > stepBytes || size == 0 {
			t.Errorf("a step of %d bytes", size)
		}
		total += size
	}
	if want := int64(100 + 10 + 35*mib + 3 + mib); total != want {
		t.Errorf("the steps have %d bytes, want %d", total, want)
	}
}

// Exactly the wanted bytes are read, by whatever way they come, and only once.
func TestPrefetchReadsExactly(t *testing.T) {
	var ts []tens
	for i := range 12 {
		ts = append(ts, tens{fmt.Sprintf("t%02d", i), 9<<20 + 12345*i})
	}
	ts = append(ts, tens{"long", 60 << 20}, tens{"end", 9 << 20})
	for _, hint := range []struct {
		name  string
		hints []Advice
	}{{"as opened", nil}, {"Normal", []Advice{Normal}}, {"NoHugePage", []Advice{NoHugePage}}} {
		t.Run(hint.name, func(t *testing.T) {
			m, path := cold(t, ts)
			onDisk(t, m)
			for _, a := range hint.hints {
				if err := module(t, m).Advise(a); err != nil {
					t.Fatal(err)
				}
			}
			r := mustRegion(t, m, "t01", "t02", "t05", "t09", "long")
			maps := mappingsOf(t, path)
			before := deviceReads(t)
			var g sync.WaitGroup
			for range 3 { // together they read what one would
				g.Go(func() {
					if err := r.Prefetch(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			g.Wait()
			read, want := deviceReads(t)-before, wholePages(r.extents)
			const slack = 256 << 10 // the file system's own blocks, and what the kernel reads for the test
			if hint.name == "as opened" && (read < want-slack || read > want+slack) {
				t.Errorf("read %d bytes, want %d", read, want)
			}
			checkResident(t, r, r.Size())
			if n := mapped4K(t, m.files[0], r); n != r.Size() {
				t.Errorf("%d of %d bytes are mapped", n, r.Size())
			}
			if n := mappingsOf(t, path); n != maps {
				t.Errorf("%d mappings, %d before", n, maps)
			}
			before = deviceReads(t)
			if err := r.Prefetch(context.Background()); err != nil {
				t.Error(err)
			}
			if read := deviceReads(t) - before; read > slack {
				t.Errorf("what was there is read again: %d bytes", read)
			}
		})
	}
}

// What is there already is not read again.
func TestPrefetchReadsTheRest(t *testing.T) {
	m, _ := cold(t, []tens{{"a", 20 << 20}, {"b", 20 << 20}, {"c", 20 << 20}})
	onDisk(t, m)
	b, all := mustRegion(t, m, "b"), module(t, m)
	if err := b.Prefetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	have, err := all.Resident()
	if err != nil {
		t.Fatal(err)
	}
	before := deviceReads(t)
	if err := all.Prefetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	const slack = 256 << 10
	if read := deviceReads(t) - before; read > all.Size()-have+slack {
		t.Errorf("read %d bytes, and %d were missing", read, all.Size()-have)
	}
	checkResident(t, all, all.Size())
}

// Kernels that read no huge pages are asked for the same bytes in small ones.
func TestPrefetchWithoutHugeReads(t *testing.T) {
	old := hugeReads
	defer func() { hugeReads = old }()
	hugeReads = func() bool { return false }
	m, _ := cold(t, []tens{{"a", 5 << 20}, {"b", 11 << 20}, {"c", 40 << 20}})
	for _, name := range []string{"b", "c"} {
		r := mustRegion(t, m, name)
		if err := r.Prefetch(context.Background()); err != nil {
			t.Fatal(err)
		}
		checkResident(t, r, r.Size())
	}
}

func TestPace(t *testing.T) {
	var p pace
	for _, test := range []struct {
		n    int64
		took time.Duration
		want int64
	}{
		{0, 0, stepBytes},
		{8 << 20, 2 * time.Millisecond, stepBytes},
		{8 << 20, 200 * time.Millisecond, 4 << 20},
		{4 << 20, 100 * time.Millisecond, 4 << 20},
		{4 << 20, time.Hour, hugePage},
		{2 << 20, 0, stepBytes},
	} {
		if test.n > 0 {
			p.took(test.n, test.took)
		}
		if got := p.next(); got != test.want {
			t.Errorf("%d bytes took %v: then %d, want %d", test.n, test.took, got, test.want)
		}
	}
}

// Huge pages serve after Prefetch wherever the file system has them.
func TestPrefetchMapsHugePages(t *testing.T) {
	ts := []tens{{"a", 30 << 20}, {"b", 34 << 20}}
	for _, test := range []struct {
		system string
		share  float64 // of the bytes, at least
		mount  func(t *testing.T) (dir string)
	}{
		{"ext4", 0.98, func(t *testing.T) string { return loopMount(t, "ext4", "-q") }},
		{"overlayfs", 0.98, func(t *testing.T) string { return overlayMount(t, loopMount(t, "ext4", "-q")) }},
		{"xfs", 0, func(t *testing.T) string { return loopMount(t, "xfs", "-q") }},
		{"btrfs", 0, func(t *testing.T) string { return loopMount(t, "btrfs", "-q") }},
		{"tmpfs", 0, func(t *testing.T) string { return mounted(t, "tmpfs", "tmpfs", "") }},
	} {
		t.Run(test.system, func(t *testing.T) {
			skipEmulated(t)
			path := write(t, test.mount(t), "m.safetensors", encode(nil, ts...))
			unix.Sync()
			m, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			r := module(t, m)
			share := func() float64 {
				if err := r.Prefetch(context.Background()); err != nil {
					t.Fatal(err)
				}
				checkResident(t, r, r.Size())
				s, err := m.Stats()
				if err != nil || s.FileSystem != test.system {
					t.Fatalf("%+v, %v", s, err)
				}
				return float64(s.Huge) / float64(r.Size())
			}
			fresh := share()
			if _, err := r.Evict(); err != nil {
				t.Fatal(err)
			}
			read := share()
			t.Logf("mapped huge: %.1f %% as written, %.1f %% as read", 100*fresh, 100*read)
			if read < test.share {
				t.Errorf("%.3f of the bytes are mapped by huge pages, want %.3f", read, test.share)
			}
			for _, want := range ts {
				checkTensor(t, m, want)
			}
		})
	}
}

func init() {
	children["prefetch together"] = func(path string) {
		m, err := Open(path)
		must(err)
		all, err := m.Module("")
		must(err)
		private := func() int64 { return table(os.DirFS("/"), "proc/self/smaps_rollup")["Private_Dirty:"] << 10 }
		before := private()
		fmt.Println("ready")
		io.ReadAll(os.Stdin) // until all are
		must(all.Prefetch(context.Background()))
		s, err := m.Stats()
		must(err)
		fmt.Println(deviceBytes(), private()-before, s.Private, s.Shared)
	}
}

// Processes that start at once on a cold file have it read once, and share one copy.
func TestPrefetchTogether(t *testing.T) {
	const processes = 4
	m, path := cold(t, []tens{{"a", 100 << 20}, {"b", 60<<20 + 12345}})
	onDisk(t, m)
	deviceReads(t) // skips where nobody counts
	all := module(t, m)
	if n, err := all.Resident(); errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		t.Skipf("no statistics of the page cache here: %v", err)
	} else if err != nil || n != 0 {
		t.Fatalf("%d bytes are resident before, %v", n, err)
	}
	var starts []io.Closer
	var outs []*bufio.Reader
	for range processes {
		cmd := child(t, "prefetch together", path)
		cmd.Stderr = os.Stderr
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err := errors.Join(err1, err2, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		starts, outs = append(starts, in), append(outs, bufio.NewReader(out))
	}
	for _, out := range outs {
		if line, err := out.ReadString('\n'); line != "ready\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	for _, start := range starts {
		start.Close()
	}
	var total, costs int64
	for _, out := range outs {
		var read, more, private, shared int64
		if _, err := fmt.Fscan(out, &read, &more, &private, &shared); err != nil {
			t.Fatal(err)
		}
		total, costs = total+read, costs+more+private
		if shared < all.Size() {
			t.Errorf("%d of %d bytes are shared", shared, all.Size())
		}
	}
	if total < all.Size()/2 || total > all.Size()/100*105 {
		t.Errorf("all read %d bytes, the file has %d", total, all.Size())
	}
	if costs > all.Size()/10 {
		t.Errorf("%d bytes are private", costs)
	}
	t.Logf("%d bytes of %d read, %d private", total, all.Size(), costs)
}

// loopMount mounts a new file system in a file.
func loopMount(t *testing.T, system string, args ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 400<<20); err != nil {
		t.Skip(err)
	}
	if out, err := exec.Command("mkfs."+system, append(args, image)...).CombinedOutput(); err != nil {
		t.Skipf("mkfs.%s: %v %s", system, err, out)
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func overlayMount(t *testing.T, under string) string {
	t.Helper()
	for _, sub := range []string{"/lower", "/upper", "/work"} {
		os.Mkdir(under+sub, 0o755)
	}
	return mounted(t, "overlay", "overlay", "lowerdir="+under+"/lower,upperdir="+under+"/upper,workdir="+under+"/work")
}

func mounted(t *testing.T, source, system, data string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(source, dir, system, 0, data); err != nil {
		t.Skipf("mounting %s: %v", system, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A read error is told with its place, and a later try may do.
func TestPrefetchFails(t *testing.T) {
	m, _ := cold(t, []tens{{"a", 20 << 20}})
	old := madvise
	madvise = func(b []byte, advice int) error {
		if advice == unix.MADV_POPULATE_READ {
			return unix.EIO
		}
		return old(b, advice)
	}
	var fault *FaultError
	err := module(t, m).Prefetch(context.Background())
	idle(m)
	madvise = old
	if !errors.As(err, &fault) || fault.Tensor != "a" || !errors.Is(err, unix.EIO) {
		t.Errorf("got %v", err)
	}
	if err := module(t, m).Prefetch(context.Background()); err != nil {
		t.Error(err)
	}
}
