package loader

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"heft/format"
	"heft/tensor"
)

// header returns the header of a file with the tensors.
func header(t testing.TB, ts ...tens) *format.Header {
	t.Helper()
	h, err := format.NewHeader(nil, entriesOf(ts))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func entriesOf(ts []tens) (entries []format.Entry) {
	for _, x := range ts {
		entries = append(entries, format.Entry{Name: x.name, DType: tensor.U8, Shape: []int{x.n}})
	}
	return entries
}

// opener returns what reads the tensors: from memory, as one that writes itself.
func opener(ts ...tens) func(name string) (io.Reader, error) {
	return func(name string) (io.Reader, error) {
		for _, x := range ts {
			if x.name == name {
				return bytes.NewReader(x.bytes()), nil
			}
		}
		return nil, ErrNotFound
	}
}

// checkFile holds a file against the tensors that were written.
func checkFile(t testing.TB, path string, ts ...tens) {
	t.Helper()
	m, err := Open(path, WithBackend(BackendRead))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if n := len(namesOf(m)); n != len(ts) {
		t.Errorf("%d tensors, want %d", n, len(ts))
	}
	for _, x := range ts {
		checkTensor(t, m, x)
	}
}

// checkFiles holds the names of all files in a directory against those wanted.
func checkFiles(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the directory has %q, want %q", got, want)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	for _, ts := range [][]tens{
		{},
		{{"a", 0}},
		{{"a", 1}, {"b", 1 << 18}, {"c", 1<<18 + 1}},
		{{"a", 100}, {"b", syncStep + 3<<18}, {"c", 7}},
	} {
		if err := WriteFile(path, header(t, ts...), opener(ts...)); err != nil {
			t.Fatal(err)
		}
		checkFile(t, path, ts...)
		slow := func(name string) (io.Reader, error) {
			r, err := opener(ts...)(name)
			return iotest.HalfReader(r), err // neither Len nor WriteTo
		}
		if err := WriteFile(path, header(t, ts...), slow); err != nil {
			t.Fatal(err)
		}
		checkFile(t, path, ts...)
		checkFiles(t, dir, "m.safetensors")
	}
}

// A path without a directory is one in the working directory.
func TestWriteFileHere(t *testing.T) {
	t.Chdir(t.TempDir())
	ts := []tens{{"a", 10}}
	if err := WriteFile("m.safetensors", header(t, ts...), opener(ts...)); err != nil {
		t.Fatal(err)
	}
	checkFile(t, "m.safetensors", ts...)
	checkFiles(t, ".", "m.safetensors")
}

func TestWriteFileErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	ts := []tens{{"a", 1000}, {"b", 300_000}}
	if err := WriteFile(path, header(t, ts...), opener(ts...)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		open func(name string) (io.Reader, error)
		kind error
		want string
	}{
		{"open", func(string) (io.Reader, error) { return nil, broken }, broken, `tensor "a": broken`},
		{"read", func(string) (io.Reader, error) { return iotest.ErrReader(broken), nil }, broken, `tensor "a": broken`},
		{"short", func(string) (io.Reader, error) { return strings.NewReader("x"), nil }, format.ErrSize, `tensor "a": 1 bytes of data, but U8 [1000] needs 1000`},
	} {
		err := WriteFile(path, header(t, ts...), c.open)
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
		checkPathError(t, err, "write", path, c.want)
		checkFile(t, path, ts...)
		checkFiles(t, dir, "m.safetensors")
	}
	func() {
		defer func() {
			if recover() != broken {
				t.Error("the panic of open got lost")
			}
		}()
		WriteFile(path, header(t, ts...), func(string) (io.Reader, error) { panic(broken) })
	}()
	checkFiles(t, dir, "m.safetensors")

	sub := filepath.Join(dir, "sub")
	err := WriteFile(filepath.Join(sub, "m.safetensors"), header(t), opener())
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	checkPathError(t, err, "write", filepath.Join(sub, "m.safetensors"), "")
	if err := os.Mkdir(sub, 0o777); err != nil {
		t.Fatal(err)
	}
	checkPathError(t, WriteFile(sub, header(t), opener()), "write", sub, "a directory, not a regular file")
	checkFiles(t, dir, "m.safetensors", "sub")
}

// Several writers of one file: one of them wins whole, and nothing is left over.
func TestWriteFileAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	const writers, rounds = 4, 20
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			x := tens{fmt.Sprint(i), 100_000 + i}
			for range rounds {
				// On Windows two of them may be in each other's way.
				if err := WriteFile(path, header(t, x), opener(x)); err != nil && runtime.GOOS != "windows" {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	checkFiles(t, dir, "m.safetensors")
	m := mustOpen(t, path, WithBackend(BackendRead))
	name := namesOf(m)[0]
	checkTensor(t, m, tens{name, 100_000 + int(name[0]-'0')})
}

// leftover makes a file that looks as if a killed writer had left it.
func leftover(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(tempPrefix(path) + "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestWriteFileSweeps(t *testing.T) {
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" || runtime.GOOS == "plan9" {
		t.Skip("leftovers stay where files cannot be locked")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	f := leftover(t, path)
	if err := lockFile(f); err != nil {
		t.Fatal(err)
	}
	// None of these is a leftover of a writer of path.
	others := []string{".m.safetensors.heft-0123", ".m.safetensors.heft-0123456789abcdeX", ".n.safetensors.heft-0123456789abcdef", "m.safetensors.heft-0123456789abcdef"}
	for _, name := range others {
		write(t, dir, name, nil)
	}
	link := tempPrefix(path) + "fedcba9876543210"
	if err := os.Symlink(others[0], link); err != nil {
		t.Log(err) // Windows asks for a privilege
	} else {
		others = append(others, filepath.Base(link))
	}
	ts := []tens{{"a", 10}}
	if err := WriteFile(path, header(t, ts...), opener(ts...)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.Name()); err != nil {
		t.Errorf("the file of a writer at work: %v", err)
	}
	f.Close()
	if err := WriteFile(path, header(t, ts...), opener(ts...)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the leftover: %v", err)
	}
	for _, name := range others {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestWriteFileReplacesSymlink(t *testing.T) {
	dir := t.TempDir()
	old := write(t, dir, "blob", []byte("content of another name"))
	path := filepath.Join(dir, "m.safetensors")
	if err := os.Symlink("blob", path); err != nil {
		t.Skip(err) // Windows asks for a privilege
	}
	ts := []tens{{"a", 10}}
	if err := WriteFile(path, header(t, ts...), opener(ts...)); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(path); err != nil || !fi.Mode().IsRegular() {
		t.Errorf("%v, %v", fi, err)
	}
	if b, err := os.ReadFile(old); string(b) != "content of another name" {
		t.Errorf("the target of the link has %q, %v", b, err)
	}
	checkFile(t, path, ts...)
}

// Whoever has the old file open keeps it.
func TestWriteFileKeepsOldFileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not replace a file that is mapped")
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	old, next := tens{"a", 300_000}, tens{"b", 10}
	if err := WriteFile(path, header(t, old), opener(old)); err != nil {
		t.Fatal(err)
	}
	m := mustOpen(t, path)
	if err := WriteFile(path, header(t, next), opener(next)); err != nil {
		t.Fatal(err)
	}
	checkTensor(t, m, old)
	checkFile(t, path, next)
}

// A Section that is moved by WriteFile arrives whole, wherever it lies.
func TestSection(t *testing.T) {
	dir := t.TempDir()
	ts := []tens{{"a", 10_000}, {"b", 3}, {"c", 0}, {"d", 2*copyStepOrSo + 1}, {"e", 4096 * 5}}
	src := filepath.Join(dir, "src.safetensors")
	if err := WriteFile(src, header(t, ts...), opener(ts...)); err != nil {
		t.Fatal(err)
	}
	m := mustOpen(t, src, WithBackend(BackendRead))
	for name, wanted := range map[string][]tens{
		"all": ts, "without the first": ts[1:], "one": ts[3:4], "none": nil, "last": ts[4:],
	} {
		var moved, shared int64
		var sections []*Section
		dst := filepath.Join(dir, "dst.safetensors")
		h := header(t, wanted...)
		err := WriteFile(dst, h, func(name string) (io.Reader, error) {
			s, err := m.Section(name)
			sections = append(sections, s)
			return s, err
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkFile(t, dst, wanted...)
		for _, s := range sections {
			moved, shared = moved+s.Copied, shared+s.Shared
			if s.Copied+s.Shared > s.Size() || s.Copied < 0 {
				t.Errorf("%s: %d of %d bytes copied, %d shared", name, s.Copied, s.Size(), s.Shared)
			}
		}
		t.Logf("%s: %d copied by the kernel, %d shared", name, moved, shared)
	}
}

// copyStepOrSo is more than the kernel copies at once.
const copyStepOrSo = 8 << 20

func TestSectionErrors(t *testing.T) {
	dir := t.TempDir()
	x := tens{"a", 300_000}
	src := write(t, dir, "src.safetensors", encode(nil, x))
	dst := filepath.Join(dir, "dst.safetensors")
	m, err := Open(src, WithBackend(BackendRead))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Section("b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such tensor: %v", err)
	}
	s, err := m.Section("a")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(s); err != nil || !bytes.Equal(b, x.bytes()) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	now := time.Now().Add(-time.Hour)
	if err := os.Chtimes(src, now, now); err != nil {
		t.Fatal(err)
	}
	changing := func(wrap func(io.Reader) io.Reader) func(string) (io.Reader, error) {
		return func(name string) (io.Reader, error) {
			s, err := m.Section(name)
			return wrap(s), err
		}
	}
	for _, wrap := range []func(io.Reader) io.Reader{iotest.HalfReader, func(r io.Reader) io.Reader { return r }} {
		if err := WriteFile(dst, header(t, x), changing(wrap)); !errors.Is(err, ErrChanged) {
			t.Errorf("changed: %v", err)
		}
	}
	if err := os.Truncate(src, 200_000); err != nil {
		t.Fatal(err)
	}
	var fault *FaultError
	copying := func(name string) (io.Reader, error) { return s, nil }
	_, err1 := s.ReadAt(make([]byte, 100), s.Size()-100)
	for _, err := range []error{err1, WriteFile(dst, header(t, x), copying)} {
		if !errors.As(err, &fault) || !errors.Is(err, io.ErrUnexpectedEOF) || fault.Path != src || fault.Tensor != "a" {
			t.Errorf("truncated: %v", err)
		}
	}
	m.Close()
	if err := WriteFile(dst, header(t, x), copying); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := m.Section("a"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	checkFiles(t, dir, "src.safetensors")
}
