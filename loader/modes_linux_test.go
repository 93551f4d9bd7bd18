package loader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"heft/tensor"
)

// column is a way to open a model: a column of the table of modes and backends.
type column struct {
	name string
	opts []Option
	mode Mode
	read bool // the Read backend
}

var columns = []column{
	{"ReadOnly", nil, ReadOnly, false},
	{"CopyOnWrite", []Option{WithMode(CopyOnWrite)}, CopyOnWrite, false},
	{"ReadWrite", []Option{WithMode(ReadWrite)}, ReadWrite, false},
	{"Read", []Option{WithBackend(BackendRead)}, ReadOnly, true},
}

// square is what a test of one row starts with in each column: a model of the
// tensors modeTensors, little of it in memory.
type square struct {
	column
	m    *Model
	path string
	all  *Region
}

var modeTensors = []tens{{"a", 5000}, {"b", 12 << 20}, {"c", 5000}}

// The table of modes and backends, row by row, in every column.
func TestModes(t *testing.T) {
	for _, row := range []struct {
		name  string
		check func(t *testing.T, c square)
	}{
		{"Tensor", modeTensor},
		{"Prefetch", modePrefetch},
		{"Evict", modeEvict},
		{"Stream drops", modeStream},
		{"Advise", modeAdvise},
		{"Pin", modePin},
		{"Resident", modeResident},
		{"Sync", modeSync},
		{"Changed", modeChanged},
		{"after Close", modeClosed},
	} {
		for _, col := range columns {
			t.Run(row.name+"/"+col.name, func(t *testing.T) {
				other, path := cold(t, modeTensors)
				other.Close()
				m := mustOpen(t, path, col.opts...)
				row.check(t, square{col, m, path, module(t, m)})
			})
		}
	}
}

// onDisk returns byte i of tensor b as others see it in the file.
func (c square) onDisk(t testing.TB, i int) byte {
	t.Helper()
	f, err := os.Open(c.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, _ := c.m.files[0].header.Lookup("b")
	var b [1]byte
	if _, err := f.ReadAt(b[:], e.Begin+int64(i)); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

// crashes reports whether f faults.
func crashes(f func()) (fault bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { fault = recover() != nil }()
	f()
	return false
}

func modeTensor(t *testing.T, c square) {
	b := bytesOf(t, c.m, "b")
	if again := bytesOf(t, c.m, "b"); &b[0] != &again[0] {
		t.Error("two views of one tensor are in two places")
	}
	const at = 70000
	old, changed := pattern("b", at), ^pattern("b", at)
	if c.read {
		b[at]++ // the copy is the process's own
	} else if fault := crashes(func() { b[at] = changed }); fault != (c.mode == ReadOnly) {
		t.Errorf("writing faults: %v", fault)
	}
	for _, want := range []struct {
		what     string
		modified bool
		got      byte
	}{
		{"the view", c.mode != ReadOnly, bytesOf(t, c.m, "b")[at]},
		{"the file", c.mode == ReadWrite, c.onDisk(t, at)},
		{"another model", c.mode == ReadWrite, bytesOf(t, mustOpen(t, c.path), "b")[at]},
	} {
		if c.read && want.what == "the view" {
			continue
		}
		if want.modified != (want.got == changed) || !want.modified && want.got != old {
			t.Errorf("%s shows %d, was %d, written was %d", want.what, want.got, old, changed)
		}
	}
}

func modePrefetch(t *testing.T, c square) {
	prefetch(t, c.all)
	s, err := c.m.Stats()
	if err != nil || s.Private != 0 {
		t.Errorf("Prefetch takes %d bytes of private memory, %v", s.Private, err)
	}
	if want := c.all.Size(); (s.MappedIn >= want) == c.read {
		t.Errorf("%d of %d bytes are mapped in", s.MappedIn, want)
	}
}

func modeEvict(t *testing.T, c square) {
	prefetch(t, c.all)
	b := bytesOf(t, c.m, "b")
	if c.mode != ReadOnly {
		b[0] ^= 0xff
	}
	n, err := c.all.Evict()
	left, rerr := c.all.Resident()
	switch {
	case rerr != nil:
		t.Error(rerr)
	case c.mode == CopyOnWrite:
		if !errors.Is(err, errors.ErrUnsupported) || left != c.all.Size() {
			t.Errorf("Evict: %d, %v; %d bytes are left", n, err, left)
		}
	case c.mode == ReadWrite:
		if err != nil || n == 0 { // what was written stays, unless the kernel has written it to the file by now
			t.Errorf("Evict: %d, %v; %d bytes are left", n, err, left)
		}
	default:
		if page := int64(pageSize); err != nil || n < c.all.Size()-page || left >= page { // which the header shares
			t.Errorf("Evict: %d of %d, %v; %d bytes are left", n, c.all.Size(), err, left)
		}
	}
	want := pattern("b", 0)
	if c.mode != ReadOnly {
		want ^= 0xff
	}
	if b[0] != want || bytesOf(t, c.m, "b")[0] != want {
		t.Errorf("the view shows %d, want %d", b[0], want)
	}
	if (c.onDisk(t, 0) == want) == (c.mode == CopyOnWrite) {
		t.Error("the file does not show what it should")
	}
}

func modeStream(t *testing.T, c square) {
	b := bytesOf(t, c.m, "b")
	if c.mode != ReadOnly {
		b[0] ^= 0xff
	}
	for _, err := range c.m.Stream(t.Context(), StreamOptions{Evict: EvictAlways}, c.all) {
		if err != nil {
			t.Fatal(err)
		}
		checkResident(t, c.all, c.all.Size())
	}
	left, err := c.all.Resident()
	// With ReadWrite the page written stays, unless the kernel has written it to the file by now.
	if err != nil || (left == c.all.Size()) != (c.mode == CopyOnWrite) || c.mode == ReadOnly && left >= int64(pageSize) {
		t.Errorf("%d of %d bytes are left, %v", left, c.all.Size(), err)
	}
	if want := c.mode != ReadOnly; (b[0] == ^pattern("b", 0)) != want {
		t.Errorf("the write is there: %v", !want)
	}
}

func modeAdvise(t *testing.T, c square) {
	for a := Normal; a <= Cold; a++ {
		if err := c.all.Advise(a); errors.Is(err, errors.ErrUnsupported) != c.read || !c.read && err != nil {
			t.Errorf("%v: %v", a, err)
		}
	}
}

func modePin(t *testing.T, c square) {
	refused := c.read || c.mode == CopyOnWrite
	err := c.all.Pin()
	if errors.Is(err, errors.ErrUnsupported) != refused || !refused && err != nil {
		t.Errorf("Pin: %v", err)
	}
	s, err := c.m.Stats()
	if err != nil || (s.Locked >= c.all.Size()) == refused || refused && s.Private != 0 {
		t.Errorf("%d bytes are locked, %d private, %v", s.Locked, s.Private, err)
	}
	if err := c.all.Unpin(); (err == nil) == refused {
		t.Errorf("Unpin: %v", err)
	}
}

func modeResident(t *testing.T, c square) {
	if n, err := c.all.Resident(); n > 1<<20 || c.read && n != 0 || err != nil { // reading the header reads ahead
		t.Errorf("%d bytes are resident before anything is read, %v", n, err)
	}
	if _, err := os.ReadFile(c.path); err != nil { // now the page cache has it
		t.Fatal(err)
	}
	want := c.all.Size()
	if c.read {
		want = 0
	}
	checkResident(t, c.all, want)
}

func modeSync(t *testing.T, c square) {
	if c.mode == ReadWrite {
		bytesOf(t, c.m, "b")[1]++
	}
	for range 2 {
		if err := errors.Join(c.m.Sync(), c.all.Sync(), mustRegion(t, c.m).Sync()); err != nil {
			t.Error(err)
		}
	}
	c.m.Close()
	for what, err := range map[string]error{"Model": c.m.Sync(), "Region": c.all.Sync()} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s.Sync after Close: %v", what, err)
		}
	}
}

func modeChanged(t *testing.T, c square) {
	if c.mode != ReadOnly {
		bytesOf(t, c.m, "b")[1]++
	}
	if err := errors.Join(c.m.Sync(), c.m.Changed()); err != nil {
		t.Errorf("what the process itself did: %v", err)
	}
	f, err := os.OpenFile(c.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 6000); err != nil {
		t.Fatal(err)
	}
	if err := c.m.Changed(); errors.Is(err, ErrChanged) == (c.mode == ReadWrite) {
		t.Errorf("written to by others: %v", err)
	}
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	if err := c.m.Changed(); !errors.Is(err, ErrChanged) {
		t.Errorf("truncated: %v", err)
	}
}

func modeClosed(t *testing.T, c square) {
	b := bytesOf(t, c.m, "b")
	c.m.Close()
	if fault := crashes(func() { sink = b[5] }); fault == c.read {
		t.Errorf("reading a slice after Close faults: %v", fault)
	}
}

// No call loses what was written to private pages, and they are all that it costs.
func TestCopyOnWriteKeepsWrites(t *testing.T) {
	other, path := cold(t, modeTensors)
	other.Close()
	m := mustOpen(t, path, WithMode(CopyOnWrite))
	all := module(t, m)
	want := map[string][]byte{}
	for x, err := range m.All() {
		if err != nil {
			t.Fatal(err)
		}
		want[x.Name()] = bytes.Clone(x.Bytes())
	}
	pages := map[int64]bool{}
	for _, e := range m.files[0].header.Tensors {
		b := bytesOf(t, m, e.Name)
		for i := int64(0); i < e.Size(); i += 13 * 4096 {
			b[i]++
			want[e.Name][i]++
			pages[(e.Begin+i)/int64(pageSize)] = true
		}
	}
	check := func(after string) {
		t.Helper()
		for name, w := range want {
			if !bytes.Equal(bytesOf(t, m, name), w) {
				t.Errorf("after %s: writes to %q are lost", after, name)
			}
		}
		s, err := m.Stats()
		if private := int64(len(pages) * pageSize); err != nil || s.Private != private || s.Shared != s.MappedIn-private {
			t.Errorf("after %s: %d bytes are private, %d shared, %v; %d were written", after, s.Private, s.Shared, err, private)
		}
	}
	check("writing")
	for x := range all.All() {
		sink = x.Bytes()[0]
	}
	check("All")
	all.Prefetch(context.Background())
	check("Prefetch")
	all.Evict()
	check("Evict")
	all.Pin()
	check("Pin")
	all.Unpin()
	check("Unpin")
	all.Sync()
	check("Sync")
	for a := Normal; a <= Cold; a++ {
		all.Advise(a)
		check(a.String())
	}
	for range m.Stream(t.Context(), StreamOptions{Window: 1, Evict: EvictAlways}, all, all) {
	}
	check("Stream")
	checkTensor(t, mustOpen(t, path), tens{"b", 12 << 20})
}

// Nothing that is written through a slice, or appended to it, reaches the
// header or a neighbour.
func TestReadWriteKeepsHeader(t *testing.T) {
	skipEmulated(t)
	ts := []tens{{"a", 64}, {"none", 0}, {"b", 4096}, {"c", 64}}
	before := encode(nil, ts...)
	path := write(t, t.TempDir(), "m.safetensors", before)
	m := mustOpen(t, path, WithMode(ReadWrite))
	scribble := func(b []byte) {
		clear(b)
		b = append(b, 1, 2, 3, 4)
		clear(b[:cap(b)])
	}
	for _, name := range []string{"a", "none", "c"} {
		x, err := m.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		scribble(x.Bytes())
		u, err := tensor.Of[uint8](x)
		if err != nil {
			t.Fatal(err)
		}
		scribble(u)
		for lo := range x.Len() + 1 {
			rows, err := x.Rows(lo, x.Len())
			if err != nil {
				t.Fatal(err)
			}
			scribble(rows.Bytes())
			first, _ := x.Rows(0, lo)
			scribble(first.Bytes())
		}
	}
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range m.files[0].header.Tensors {
		if e.Name != "b" {
			clear(before[e.Begin:e.End])
		}
	}
	if !bytes.Equal(after, before) {
		t.Error("the header or a neighbour has changed")
	}
}

func init() {
	children["write in place"] = func(path string) {
		m, err := Open(path, WithMode(ReadWrite))
		if err != nil {
			fmt.Println(err)
			return
		}
		b, err := m.Tensor("a")
		must(err)
		b.Bytes()[0] = 'x'
		fmt.Println("written")
		syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	}
}

// What a process wrote outlives it, and others see it at once.
func TestReadWriteShared(t *testing.T) {
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 1000}))
	m := mustOpen(t, path)
	a := bytesOf(t, m, "a")
	if out, err := runChild(t, "write in place", path); err == nil || out != "written\n" {
		t.Fatalf("%v: %s", err, out)
	}
	if a[0] != 'x' {
		t.Errorf("the view shows %q", a[0])
	}
}

// Files that may not be written: of others, on a file system that is read-only.
func TestReadWriteRefused(t *testing.T) {
	skipEmulated(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount and to be somebody else")
	}
	dir, err := os.MkdirTemp("/var/tmp", "heft-write-") // where others may look
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	path := write(t, dir, "m.safetensors", encode(nil, tens{"a", 1000}))
	const words = "with ReadWrite, files must be such as may be written"
	exe := filepath.Join(dir, "exe")
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(exe, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "HEFT_TEST_CHILD=write in place", "HEFT_TEST_ARG="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if want := "open " + path + ": permission denied: " + words + "\n"; err != nil || string(out) != want {
		t.Errorf("%v: got %swant %s", err, out, want)
	}
	mounted := t.TempDir()
	if err := unix.Mount("tmpfs", mounted, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(mounted, 0)
	path = write(t, mounted, "m.safetensors", encode(nil, tens{"a", 1000}))
	if err := unix.Mount("", mounted, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, WithMode(ReadWrite))
	checkPathError(t, err, "open", path, words)
	if !errors.Is(err, unix.EROFS) {
		t.Errorf("%v: want EROFS", err)
	}
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	checkTensor(t, m, tens{"a", 1000})
}

func init() {
	children["write to a read-only view"] = func(path string) {
		m, err := Open(path)
		must(err)
		a, err := m.Tensor("a")
		must(err)
		fmt.Println(m.Guard(func() error { a.Bytes()[7] = 1; return nil }))
		a.Bytes()[7] = 1
		fmt.Println("written")
	}
}

// Writing through a read-only view faults by design.
func TestReadOnlyViewFaults(t *testing.T) {
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 1000}))
	off := mustOpen(t, path).files[0].header.Tensors[0].Begin + 7
	out, err := runChild(t, "write to a read-only view", path)
	guarded, crash, _ := strings.Cut(out, "\n")
	if want := fmt.Sprintf("read %s: tensor %q: offset %d: the page can be read: it was written to through a read-only view or where the disk is full, or a read error has passed", path, "a", off); guarded != want {
		t.Errorf("inside a Guard: %s\nwant %s", guarded, want)
	}
	if err == nil || strings.Contains(crash, "written") || !strings.HasPrefix(crash, "unexpected fault address 0x") || !strings.Contains(crash, "fatal error: fault") {
		t.Errorf("outside: %v; %s", err, crash)
	}
}

// A private view of a file that is larger than all memory costs nothing until it is written to.
func TestCopyOnWriteLargerThanMemory(t *testing.T) {
	if strconv.IntSize == 32 {
		return // nor is it smaller than the address space
	}
	skipEmulated(t)
	m := mustOpen(t, sparse(t, 200<<30), WithMode(CopyOnWrite))
	a := bytesOf(t, m, "a")
	a[len(a)/2] = 1
	s, err := m.Stats()
	if err != nil || s.Private == 0 || s.Private > 2*mib {
		t.Errorf("%d bytes are private, %v", s.Private, err)
	}
}
