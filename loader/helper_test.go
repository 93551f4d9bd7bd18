package loader

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// children are what a test runs in a process of its own, because it crashes or
// limits it: the test names it and passes it an argument.
var children = map[string]func(arg string){}

func TestMain(m *testing.M) {
	if f := children[os.Getenv("HEFT_TEST_CHILD")]; f != nil {
		f(os.Getenv("HEFT_TEST_ARG"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childPatience is how long a child may take, so that one that hangs leaves the
// test time to say so, and to unmount.
const childPatience = 5 * time.Minute

// runChild runs one of children and returns what it prints.
func runChild(t *testing.T, name, arg string) (string, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "HEFT_TEST_CHILD="+name, "HEFT_TEST_ARG="+arg, "GOTRACEBACK=single")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(childPatience, func() { cmd.Process.Signal(os.Kill) }).Stop()
	err = cmd.Wait()
	return out.String(), err
}

// emulated reports whether qemu-user runs this program. It rewrites
// /proc/self/exe, and not the same link by way of thread-self.
func emulated() bool {
	if runtime.GOOS != "linux" {
		return false
	}
	told, err1 := os.Readlink("/proc/self/exe")
	real, err2 := os.Readlink("/proc/thread-self/exe")
	return err1 == nil && err2 == nil && told != real
}

// skipEmulated skips a test of what qemu-user lies about: mappings, madvise,
// cachestat and the addresses of faults.
func skipEmulated(t testing.TB) {
	t.Helper()
	if emulated() {
		t.Skip("qemu-user does not tell the truth about mappings, madvise, cachestat and faults")
	}
}

// tens is a tensor to be written.
type tens struct {
	name string
	n    int // bytes, of type U8: byte i is pattern(name, i)
}

func pattern(name string, i int) byte { return byte(len(name)*31 + int(name[0])*7 + i + i&0xffff>>8) }

// bytes returns the bytes of the tensor. They repeat after 64 KiB.
func (t tens) bytes() []byte {
	b := make([]byte, t.n)
	for i := range min(t.n, 1<<16) {
		b[i] = pattern(t.name, i)
	}
	for n := 1 << 16; n < t.n; n *= 2 {
		copy(b[n:], b[:n])
	}
	return b
}

// encode returns a safetensors file.
func encode(metadata map[string]string, ts ...tens) []byte {
	var header, data bytes.Buffer
	header.WriteByte('{')
	if metadata != nil {
		b, _ := json.Marshal(metadata)
		fmt.Fprintf(&header, `"__metadata__":%s`, b)
	}
	for _, t := range ts {
		if header.Len() > 1 {
			header.WriteByte(',')
		}
		name, _ := json.Marshal(t.name)
		fmt.Fprintf(&header, `%s:{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]}`, name, t.n, data.Len(), data.Len()+t.n)
		data.Write(t.bytes())
	}
	header.WriteByte('}')
	for header.Len()%8 != 0 {
		header.WriteByte(' ')
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(header.Len()))
	return append(append(b, header.Bytes()...), data.Bytes()...)
}

// write puts a file into dir and returns its path.
func write(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeIndex puts an index into dir. The pairs are tensor and shard.
func writeIndex(t testing.TB, dir, name string, pairs ...string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, "%q: %q", pairs[i], pairs[i+1])
	}
	return write(t, dir, name, []byte(`{"metadata": {"total_size": 1}, "weight_map": {`+b.String()+`}}`))
}

// mustOpen opens a model that is closed when the test ends.
func mustOpen(t testing.TB, path string, opts ...Option) *Model {
	t.Helper()
	m, err := Open(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// bytesOf returns the bytes of a tensor.
func bytesOf(t testing.TB, m *Model, name string) []byte {
	t.Helper()
	x, err := m.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	return x.Bytes()
}

// checkTensor holds a tensor against what encode writes.
func checkTensor(t testing.TB, m *Model, want tens) {
	t.Helper()
	b := bytesOf(t, m, want.name)
	if len(b) != want.n || cap(b) != len(b) {
		t.Fatalf("%q: len %d, cap %d; want %d of each", want.name, len(b), cap(b), want.n)
	}
	if !bytes.Equal(b, want.bytes()) {
		t.Fatalf("%q: other bytes than were written", want.name)
	}
}

// checkPathError holds an error against the form that all errors about a file
// have: outermost a PathError with the path, which is told once.
func checkPathError(t testing.TB, err error, op, path, words string) {
	t.Helper()
	pe, ok := err.(*fs.PathError)
	if !ok {
		t.Fatalf("%v (%T), want a *fs.PathError", err, err)
	}
	if pe.Op != op || pe.Path != path {
		t.Errorf("%v: op %q, path %q; want %q, %q", err, pe.Op, pe.Path, op, path)
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("%v: does not say %q", err, words)
	}
	var inner *fs.PathError
	if errors.As(pe.Err, &inner) || strings.Count(err.Error(), path) != 1 {
		t.Errorf("%v: says the path twice", err)
	}
}

// names returns the names of the tensors of a model, in its order.
func namesOf(m *Model) (names []string) {
	for _, e := range m.Entries() {
		names = append(names, e.Name)
	}
	return names
}

// bothBackends runs a test with the model mapped and read.
func bothBackends(t *testing.T, f func(t *testing.T, backend Option)) {
	t.Run("mmap", func(t *testing.T) {
		skipEmulated(t)
		f(t, WithBackend(BackendAuto))
	})
	t.Run("read", func(t *testing.T) { f(t, WithBackend(BackendRead)) })
}
