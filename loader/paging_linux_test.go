package loader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// manyPages is a model of tensors that begin and end inside pages, or share one.
func manyPages() (ts []tens) {
	for i := range 40 {
		ts = append(ts, tens{fmt.Sprintf("t%02d", i), []int{10_000, 70_001, 0, 37, 900_000, 4096}[i%6]})
	}
	return ts
}

// cold opens a model whose file is on the disk and not in the page cache.
func cold(t testing.TB, ts []tens) (*Model, string) {
	t.Helper()
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, ts...))
	m := mustOpen(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		t.Fatal(err)
	}
	return m, path
}

func module(t testing.TB, m *Model) *Region {
	t.Helper()
	r, err := m.Module("")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// prefetch prefetches a region and checks that it is resident. Some machines
// take pages back at any time: a few times is enough to see it resident once.
func prefetch(t testing.TB, r *Region) {
	t.Helper()
	for try := 0; ; try++ {
		if err := r.Prefetch(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n, err := r.Resident(); err != nil || try == 10 {
			t.Fatalf("%d of %d bytes are resident, %v", n, r.Size(), err)
		} else if n == r.Size() {
			return
		}
	}
}

// touch brings in the page at off alone.
func touch(t testing.TB, f *file, off int64) {
	t.Helper()
	fd := int(f.f.Fd())
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Pread(fd, make([]byte, 1), off); err != nil {
		t.Fatal(err)
	}
}

func TestPrefetch(t *testing.T) {
	for _, way := range []string{"populate", "read and touch"} {
		t.Run(way, func(t *testing.T) {
			if way != "populate" {
				defer failPopulate()()
			}
			m, _ := cold(t, append(manyPages(), tens{"long", 20 << 20}))
			r := mustRegion(t, m, "t04", "t10", "long")
			if n, err := r.Resident(); err != nil || n == r.Size() {
				t.Fatalf("before: %d of %d resident, %v", n, r.Size(), err)
			}
			prefetch(t, r)
			if n := mapped4K(t, m.files[0], r); n != r.Size() {
				t.Errorf("%d of %d bytes are mapped", n, r.Size())
			}
			for _, want := range append(manyPages(), tens{"long", 20 << 20}) {
				checkTensor(t, m, want)
			}
		})
	}
}

// failPopulate makes the kernel one without MADV_POPULATE_READ.
func failPopulate() (restore func()) {
	old := madvise
	madvise = func(b []byte, advice int) error {
		if advice == unix.MADV_POPULATE_READ {
			return unix.EINVAL
		}
		return old(b, advice)
	}
	return func() { madvise = old }
}

// mapped4K returns how many bytes of a region have an entry in the page table.
func mapped4K(t testing.TB, f *file, r *Region) (n int64) {
	t.Helper()
	p, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	page := int64(pageSize)
	for _, x := range r.extents {
		for lo := x.lo; lo < x.hi; {
			hi := min((lo/page+1)*page, x.hi)
			var entry [8]byte
			if _, err := p.ReadAt(entry[:], (int64(f.addr)+lo)/page*8); err != nil {
				t.Fatal(err)
			}
			if entry[7]&0x80 != 0 {
				n += hi - lo
			}
			lo = hi
		}
	}
	return n
}

func TestPrefetchTruncated(t *testing.T) {
	for _, way := range []string{"populate", "read and touch"} {
		t.Run(way, func(t *testing.T) {
			if way != "populate" {
				defer failPopulate()()
			}
			m, path := cold(t, []tens{{"a", 5 << 20}, {"b", 20 << 20}})
			e, _ := m.files[0].header.Lookup("b")
			end := (e.Begin + 10<<20) / 4096 * 4096
			if err := os.Truncate(path, end); err != nil {
				t.Fatal(err)
			}
			if err := mustRegion(t, m, "a").Prefetch(context.Background()); err != nil {
				t.Errorf("a: %v", err)
			}
			fault, ok := mustRegion(t, m, "b").Prefetch(context.Background()).(*FaultError)
			if !ok || fault.Tensor != "b" || fault.Offset < end || !errors.Is(fault, io.ErrUnexpectedEOF) {
				t.Errorf("b: %v; want a FaultError at %d or after", fault, end)
			}
			idle(m)
		})
	}
}

func TestPrefetchCancelled(t *testing.T) {
	m, _ := cold(t, []tens{{"a", 20 << 20}})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := module(t, m)
	if err := r.Prefetch(ctx); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	checkResident(t, r, 0)
}

// Cancelling ends Prefetch at once even if the kernel does not answer; the
// worker holds the model until it does.
func TestPrefetchCancelledWhileReading(t *testing.T) {
	m, _ := cold(t, []tens{{"a", 1000}})
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan struct{})
	old := madvise
	defer func() { madvise = old }()
	madvise = func([]byte, int) error { cancel(); <-answer; return nil }
	if err := module(t, m).Prefetch(ctx); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	m.Close()
	if _, err := m.files[0].f.Stat(); err != nil {
		t.Errorf("the file is closed under the worker: %v", err)
	}
	close(answer)
	idle(m)
}

// idle waits for the workers that a Prefetch left behind when it returned early.
func idle(m *Model) {
	for m.lifetime.state.Load() >= oneUser {
		runtime.Gosched()
	}
}

func TestResident(t *testing.T) {
	m, path := cold(t, manyPages())
	whole := module(t, m)
	checkResident(t, whole, 0)
	f := m.files[0]
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		touch(t, f, r.Int64N(f.id.size))
	}
	// By each of its two ways it must agree with looking at every page.
	in := make([]bool, (f.id.size+4095)/4096)
	for i := range in {
		n, err := f.mincore(int64(i)*4096, int64(i+1)*4096)
		if err != nil {
			t.Fatal(err)
		}
		in[i] = n == 1
	}
	for _, way := range []string{"cachestat", "mincore"} {
		if way == "mincore" {
			defer failCachestat()()
		}
		for range 200 {
			var names []string
			for _, x := range manyPages() {
				if r.IntN(4) == 0 {
					names = append(names, x.name)
				}
			}
			region := mustRegion(t, m, names...)
			want := int64(0)
			for _, x := range region.extents {
				for off := x.lo; off < x.hi; off++ {
					if in[off/4096] {
						want++
					}
				}
			}
			if n, err := region.Resident(); n != want || err != nil {
				t.Fatalf("%s: %q: %d, %v; want %d", way, names, n, err, want)
			}
		}
	}
	if _, err := os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	checkResident(t, whole, whole.Size())
}

// failCachestat makes the kernel one without cachestat.
func failCachestat() (restore func()) {
	old := cachestat
	cachestat = func(uint, *unix.CachestatRange, *unix.Cachestat_t, uint) error { return unix.ENOSYS }
	return func() { cachestat = old }
}

// The kernel tells residency only to those who own a file or may write it.
func TestResidentOfOthersFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	m, _ := cold(t, manyPages())
	r := module(t, m)
	for _, way := range []string{"cachestat", "mincore"} {
		if way == "mincore" {
			defer failCachestat()()
		}
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with its identity
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
				done <- errno
				return
			}
			n, err := r.Resident()
			if err == nil {
				err = fmt.Errorf("somebody else is told %d", n)
			}
			done <- err
		}()
		if err := <-done; !errors.Is(err, fs.ErrPermission) {
			if way == "cachestat" && err != nil {
				t.Logf("%s: %v (kernels before 6.18 tell)", way, err)
				continue
			}
			t.Errorf("%s: %v, want fs.ErrPermission", way, err)
		}
	}
}

// On overlayfs, in every container, cachestat sees nothing.
func TestResidentOverlay(t *testing.T) {
	skipEmulated(t)
	dir := t.TempDir()
	for _, sub := range []string{"/lower", "/upper", "/work", "/merged"} {
		os.Mkdir(dir+sub, 0o755)
	}
	write(t, dir+"/lower", "m.safetensors", encode(nil, manyPages()...))
	if err := unix.Mount("overlay", dir+"/merged", "overlay", 0, "lowerdir="+dir+"/lower,upperdir="+dir+"/upper,workdir="+dir+"/work"); err != nil {
		t.Skipf("no overlayfs here: %v", err)
	}
	defer unix.Unmount(dir+"/merged", 0)
	m, err := Open(dir + "/merged/m.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	prefetch(t, module(t, m))
}

func TestEvict(t *testing.T) {
	m, _ := cold(t, []tens{{"a", 5000}, {"b", 12 << 20}, {"c", 5000}})
	whole, b := module(t, m), mustRegion(t, m, "b")
	if err := whole.Prefetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	n, err := b.Evict()
	if err != nil || n < b.Size()-2*hugePage || n > b.Size() { // a huge page goes as a whole or stays
		t.Errorf("Evict: %d of %d, %v", n, b.Size(), err)
	}
	checkResident(t, b, b.Size()-n)
	checkResident(t, whole, whole.Size()-n)
	checkTensor(t, m, tens{"b", 12 << 20})
	if n, err := whole.Evict(); err != nil || n == 0 {
		t.Errorf("Evict: %d, %v", n, err)
	}
}

func TestAdvise(t *testing.T) {
	m, _ := cold(t, manyPages())
	r := module(t, m)
	for a := Normal; a <= Cold; a++ {
		if err := r.Advise(a); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v: %v", a, err)
		}
	}
	if err := r.Advise(Cold + 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("unknown advice: %v", err)
	}
	var got []int
	old := madvise
	defer func() { madvise = old }()
	madvise = func(b []byte, advice int) error { got = append(got, advice); return old(b, advice) }
	for _, a := range []Advice{Normal, Sequential, Random, HugePage, NoHugePage, Cold} {
		r.Advise(a)
	}
	want := []int{unix.MADV_NORMAL, unix.MADV_SEQUENTIAL, unix.MADV_RANDOM, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_NORMAL, unix.MADV_COLD}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the kernel hears %v, want %v", got, want)
	}
}
