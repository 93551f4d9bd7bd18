package loader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// locked returns the bytes that the model has locked.
func locked(t testing.TB, m *Model) int64 {
	t.Helper()
	s, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s.Locked
}

// A file truncated while Pin is at work: it says so, and leaves nothing locked.
func TestPinTruncated(t *testing.T) {
	m, path := cold(t, []tens{{"a", 3 << 20}, {"none", 0}, {"b", 3 << 20}})
	r := mustRegion(t, m, "b")
	end := r.extents[0].lo + 1<<20
	old := madvise
	defer func() { madvise = old }()
	madvise = func(b []byte, advice int) error {
		if advice != unix.MADV_POPULATE_READ || len(b) >= 3<<20 {
			return old(b, advice)
		}
		return os.Truncate(path, end) // a part of b was there, and is cut off before it is locked
	}
	var fault *FaultError
	if err := r.Pin(); !errors.As(err, &fault) || fault.Tensor != "b" || fault.Offset != end {
		t.Errorf("Pin: %v, want a fault at %d", err, end)
	}
	if n := locked(t, m); n != 0 {
		t.Errorf("%d bytes are locked", n)
	}
}

func TestPin(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to lock more than a limit allows")
	}
	page := int64(pageSize)
	// a ends in the page in which b begins.
	m, _ := cold(t, []tens{{"a", 3<<20 + 100}, {"b", 2 << 20}, {"c", 1 << 20}})
	a, b, ab := mustRegion(t, m, "a"), mustRegion(t, m, "b"), mustRegion(t, m, "a", "b")
	if err := a.Unpin(); !errors.Is(err, errNotPinned) {
		t.Errorf("Unpin before Pin: %v", err)
	}
	sizeA, sizeB, both := wholePages(a.extents), wholePages(b.extents), wholePages(ab.extents)
	if both != sizeA+sizeB-page {
		t.Fatal("a and b share no page")
	}
	for i, step := range []struct {
		do   func() error
		want int64
	}{
		{a.Pin, sizeA},
		{a.Pin, sizeA},
		{b.Pin, both},
		{a.Unpin, both},
		{a.Unpin, sizeB}, // the shared page is b's still
		{ab.Pin, both},
		{b.Unpin, both},
		{ab.Unpin, 0},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if n := locked(t, m); n != step.want {
			t.Errorf("step %d: %d bytes locked, want %d", i, n, step.want)
		}
	}
	if err := b.Unpin(); !errors.Is(err, errNotPinned) {
		t.Errorf("Unpin too often: %v", err)
	}
	checkResident(t, ab, ab.Size()) // Pin has read it
	if err := b.Pin(); err != nil {
		t.Fatal(err)
	}
	if n, err := ab.Evict(); err != nil || n > ab.Size()-b.Size() {
		t.Errorf("Evict takes %d bytes, %v", n, err)
	}
	checkResident(t, b, b.Size())
	m.Close()
	if err := b.Unpin(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func init() {
	children["pin"] = func(path string) {
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			panic(errno)
		}
		l := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &l); err != nil {
			panic(err)
		}
		m, err := Open(path)
		if err != nil {
			panic(err)
		}
		small, _ := m.Region("small")
		all, _ := m.Module("")
		for _, r := range []*Region{small, all, small} {
			err := r.Pin()
			s, _ := m.Stats()
			fmt.Println(s.Locked, errors.Is(err, unix.ENOMEM), err)
		}
	}
}

func TestPinLimit(t *testing.T) {
	skipEmulated(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody without the right to lock")
	}
	dir, err := os.MkdirTemp("/var/tmp", "heft-pin-") // where others may look
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	path := write(t, dir, "m.safetensors", encode(nil, tens{"small", 100}, tens{"large", 3 << 20}))
	out, err := runChild(t, "pin", path)
	lines := strings.Split(out, "\n")
	want := []string{
		fmt.Sprintf("%d false <nil>", pageSize),
		fmt.Sprintf("%d true pin %s: cannot allocate memory: %d bytes wanted, and the limit of all that the process locks (RLIMIT_MEMLOCK, ulimit -l) is 1048576", pageSize, path, 3<<20+100),
		fmt.Sprintf("%d false <nil>", pageSize),
		"",
	}
	if err != nil || fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("%v: got\n%q, want\n%q", err, lines, want)
	}
}

func TestPinUnsupported(t *testing.T) {
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 1000}))
	for _, o := range []Option{WithBackend(BackendRead), WithMode(CopyOnWrite)} {
		m, err := Open(path, o)
		if err != nil && emulated() {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		r := module(t, m)
		checkPathError(t, r.Pin(), "pin", path, "unsupported")
		if err := r.Pin(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Pin: %v", err)
		}
		if err := r.Unpin(); err == nil {
			t.Error("Unpin: no error")
		}
		m.Close()
	}
}

func TestStats(t *testing.T) {
	m, path := cold(t, []tens{{"a", 20 << 20}, {"b", 100}, {"c", 5 << 20}})
	a := mustRegion(t, m, "a")
	before, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	size := (m.files[0].id.size + int64(pageSize) - 1) / int64(pageSize) * int64(pageSize)
	if before.Mapped != size || before.MappedIn != 0 || before.PrefetchBytes != 0 || before.FileSystem == "" {
		t.Errorf("before: %+v, want %d mapped and nothing in", before, size)
	}
	if err := a.Prefetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	s, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.MappedIn < a.Size() || s.MappedIn > size || s.Shared+s.Private != s.MappedIn || s.Huge > s.MappedIn {
		t.Errorf("%+v: does not fit %d bytes prefetched", s, a.Size())
	}
	if s.Resident < a.Size() || s.Resident > module(t, m).Size() {
		t.Errorf("%d bytes resident", s.Resident)
	}
	if s.PrefetchBytes != a.Size() || s.PrefetchTime <= 0 {
		t.Errorf("last prefetch: %d bytes in %v", s.PrefetchBytes, s.PrefetchTime)
	}
	if s.MinorFaults <= 0 || s.MinorFaults < before.MinorFaults {
		t.Errorf("%d minor faults", s.MinorFaults)
	}
	for _, test := range []struct {
		open  func() (*Model, error)
		words string
	}{
		{func() (*Model, error) { return Open(path) }, "mapped; 16 goroutines populate"},
		{func() (*Model, error) { defer failPopulate()(); return Open(path) }, "mapped; 16 goroutines populate"},
		{func() (*Model, error) { return Open(path, WithBackend(BackendRead)) }, "read into memory of the process"},
		{func() (*Model, error) { defer failMmap(unix.ENODEV)(); return Open(path) }, "because mapping is not possible: open " + path},
	} {
		m, err := test.open()
		if err != nil {
			t.Fatal(err)
		}
		s, err := m.Stats()
		if err != nil || !strings.Contains(s.Strategy, test.words) {
			t.Errorf("%q, %v; want %q", s.Strategy, err, test.words)
		}
		m.Close()
		if s, err := m.Stats(); !errors.Is(err, fs.ErrClosed) || s != (Stats{}) {
			t.Errorf("after Close: %+v, %v", s, err)
		}
	}
	restore := failPopulate()
	defer restore()
	if s, _ := m.Stats(); !strings.Contains(s.Strategy, "the kernel cannot populate") {
		t.Errorf("%q", s.Strategy)
	}
}

// What is written with CopyOnWrite shows as private, and no Prefetch copies.
func TestStatsCopyOnWrite(t *testing.T) {
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 4 << 20}))
	m := mustOpen(t, path, WithMode(CopyOnWrite))
	if err := module(t, m).Prefetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := anonymous(t, m)
	if before != 0 {
		t.Errorf("Prefetch has copied %d bytes", before)
	}
	b := bytesOf(t, m, "a")
	b[0], b[1<<20] = 1, 2
	if n := anonymous(t, m); n != 2*int64(pageSize) {
		t.Errorf("%d private bytes after two writes", n)
	}
}

// anonymous returns the bytes of the mapping that are no longer the file's.
func anonymous(t testing.TB, m *Model) (n int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	mine := false
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if !strings.HasSuffix(fields[0], ":") {
			mine = m.owns([]byte(fields[0]))
		} else if mine && fields[0] == "Anonymous:" {
			var kb int64
			fmt.Sscan(fields[1], &kb)
			n += kb << 10
		}
	}
	return n
}
