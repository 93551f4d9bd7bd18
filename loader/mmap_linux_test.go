package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	if emulated() {
		failMmap(unix.ENODEV) // so that everything else is tested with the Read backend
	}
}

// failMmap makes mapping files fail, and returns what undoes it.
func failMmap(err error) (restore func()) {
	old := mmap
	mmap = func(int, int64, unsafe.Pointer, uintptr, int, int) (unsafe.Pointer, error) { return nil, err }
	return func() { mmap = old }
}

func TestMmapFails(t *testing.T) {
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 1000}))
	for _, test := range []struct {
		errno unix.Errno
		falls bool
		words string
	}{
		{unix.ENODEV, true, "cannot be mapped on this file system"},
		{unix.EINVAL, true, "cannot be mapped on this file system"},
		{unix.ENOMEM, false, "vm.max_map_count"},
		{unix.EACCES, false, "permission denied"},
	} {
		t.Run(test.errno.Error(), func(t *testing.T) {
			defer failMmap(test.errno)()
			m, err := Open(path)
			if test.falls {
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := m.store.(*heap); !ok {
					t.Errorf("the store is a %T", m.store)
				}
				checkTensor(t, m, tens{"a", 1000})
				m.Close()
				m, err = Open(path, WithBackend(BackendMmap))
			}
			if err == nil {
				m.Close()
				t.Fatal("opens")
			}
			if !errors.Is(err, test.errno) {
				t.Errorf("%v: does not match %v", err, test.errno)
			}
			checkPathError(t, err, "open", path, test.words)
			if _, err := Open(path, WithMode(CopyOnWrite)); !errors.Is(err, test.errno) {
				t.Errorf("CopyOnWrite: %v", err)
			}
		})
	}
}

// sparse writes a file with one tensor of n zero bytes that takes no room on the disk.
func sparse(t testing.TB, n int64) string { return sparseIn(t, t.TempDir(), n) }

func sparseIn(t testing.TB, dir string, n int64) string {
	t.Helper()
	header := fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%[1]d]}}`, n)
	content := append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header...)
	path := write(t, dir, "m.safetensors", content)
	if err := os.Truncate(path, int64(len(content))+n); err != nil {
		t.Skip(err)
	}
	return path
}

func init() {
	children["limit"] = func(path string) {
		var used uint64
		statm, _ := os.ReadFile("/proc/self/statm")
		fmt.Sscan(string(statm), &used)
		limit := used*uint64(pageSize) + 128<<20
		l := unix.Rlimit{Cur: limit, Max: limit}
		if err := unix.Setrlimit(unix.RLIMIT_AS, &l); err != nil {
			panic(err)
		}
		_, err := Open(path)
		fmt.Println(l.Cur, errors.Is(err, unix.ENOMEM), err)
	}
}

func TestAddressSpaceLimit(t *testing.T) {
	skipEmulated(t)
	path := sparse(t, 1<<30)
	out, err := runChild(t, "limit", path)
	if strconv.IntSize == 32 { // there Auto reads what does not fit
		if err != nil || !strings.Contains(out, "false <nil>") {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	limit, rest, _ := strings.Cut(out, " ")
	if err != nil || !strings.HasPrefix(rest, "true open "+path) || !strings.Contains(rest, "RLIMIT_AS, ulimit -v) is "+limit) {
		t.Errorf("%v: %s", err, out)
	}
}

// Opening must neither wait for a writer nor wake a device.
func TestOpenSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo.safetensors")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(dir, "dir.safetensors")
	os.Mkdir(sub, 0o755)
	shards := filepath.Join(dir, "model")
	os.Mkdir(shards, 0o755)
	writeIndex(t, shards, "x.index.json", "a", "fifo.safetensors", "b", "dir.safetensors")
	os.Symlink(fifo, filepath.Join(shards, "fifo.safetensors"))
	os.Symlink(sub, filepath.Join(shards, "dir.safetensors"))
	fifoIndex := filepath.Join(dir, "fifo.json")
	os.Symlink(fifo, fifoIndex)
	for _, test := range []struct{ path, at, words string }{
		{fifo, fifo, "a pipe, not a regular file"},
		{fifoIndex, fifoIndex, "a pipe, not a regular file"},
		{"/dev/null", "/dev/null", "a device, not a regular file"},
		{"/proc/self/status", "/proc/self/status", "header"},
		{filepath.Join(shards, "x.index.json"), filepath.Join(shards, "dir.safetensors"), "a directory, not a regular file"},
	} {
		_, err := Open(test.path)
		checkPathError(t, err, "open", test.at, test.words)
	}
	_, err := OpenFiles([]string{sub})
	checkPathError(t, err, "open", sub, "a directory, not a regular file")
}

func init() {
	children["few descriptors"] = func(dir string) {
		count := func() int {
			fds, err := os.ReadDir("/proc/self/fd")
			must(err)
			return len(fds)
		}
		limit := unix.Rlimit{Cur: 40, Max: 40}
		must(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		r, w, err := os.Pipe() // now the runtime has the descriptors of its own that it makes when they are wanted first
		must(err)
		r.Close()
		w.Close()
		before := count()
		_, err = Open(dir)
		fmt.Println(errors.Is(err, unix.EMFILE), count()-before, err)
		m, err := Open(filepath.Join(dir, "00.safetensors"))
		must(err)
		for {
			if _, err := os.Open(dir); err != nil {
				break
			}
		}
		all, err := m.Module("")
		must(err)
		must(all.Prefetch(context.Background())) // what is open needs no more
		must(m.Guard(func() error { t, err := m.Tensor("t00"); sink = t.Bytes()[9]; return err }))
		must(m.Changed())
		_, err = m.Stats()
		fmt.Println(errors.Is(err, unix.EMFILE), err)
		must(m.Close())
	}
}

// Where descriptors are short, that is an error with the file's name, and none is lost.
func TestFaultDescriptorLimit(t *testing.T) {
	skipEmulated(t)
	dir := t.TempDir()
	for i := range 60 {
		write(t, dir, fmt.Sprintf("%02d.safetensors", i), encode(nil, tens{fmt.Sprintf("t%02d", i), 10}))
	}
	out, err := runChild(t, "few descriptors", dir)
	lines := strings.Split(out, "\n")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], "true 0 open "+dir+"/") || !strings.HasSuffix(lines[0], ".safetensors: too many open files") ||
		!strings.HasPrefix(lines[1], "true stats "+dir+"/00.safetensors: ") {
		t.Errorf("%v: %s", err, out)
	}
}
