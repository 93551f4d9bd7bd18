//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package loader

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"heft/format"
)

func TestWriteFileMode(t *testing.T) {
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "m.safetensors")
	x := tens{"a", 10}
	for _, c := range []struct{ before, after os.FileMode }{
		{0, 0o640}, // there is none: as the umask leaves it
		{0o600, 0o600},
		{0o666, 0o666},
		{0o444, 0o444},
		{0o755 | os.ModeSetuid, 0o755},
	} {
		if c.before != 0 {
			if err := os.Chmod(path, c.before); err != nil {
				t.Fatal(err)
			}
		}
		if err := WriteFile(path, header(t, x), opener(x)); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(path)
		if err != nil || fi.Mode() != c.after {
			t.Errorf("%v becomes %v, want %v; %v", c.before, fi.Mode(), c.after, err)
		}
	}
}

// While it is written, nobody may read the new file who may not read the old one.
func TestWriteFilePrivate(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	x := tens{"a", 10}
	if err := WriteFile(path, header(t, x), opener(x)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	err := WriteFile(path, header(t, x), func(name string) (io.Reader, error) {
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			if fi, err := e.Info(); err != nil || fi.Mode()&0o177 != 0 {
				t.Errorf("%s: %v, %v", e.Name(), fi.Mode(), err)
			}
		}
		if len(entries) != 2 {
			t.Errorf("%v, %v", entries, err)
		}
		return opener(x)(name)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWriteFileOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	x := tens{"a", 10}
	if err := WriteFile(path, header(t, x), opener(x)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 1234, 2345); err != nil {
		t.Skipf("only root may give files away: %v", err)
	}
	if err := WriteFile(path, header(t, x), opener(x)); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Uid != 1234 || st.Gid != 2345 {
		t.Errorf("owner %d, group %d, %v", st.Uid, st.Gid, err)
	}
}

// child returns the command that runs one of children in a process of its own.
func child(t *testing.T, name, arg string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "HEFT_TEST_CHILD="+name, "HEFT_TEST_ARG="+arg)
	return cmd
}

// version returns what the i-th version of a file that is written over and over holds.
func version(i int) []tens {
	return []tens{{fmt.Sprintf("v%d", i), 100_000 + i}, {"w", 1 << 20}, {"x", i % 10}}
}

// slowly returns a reader of the tensors that takes its time, so that there is
// time to be killed in.
func slowly(ts []tens) func(name string) (io.Reader, error) {
	open := opener(ts...)
	return func(name string) (io.Reader, error) {
		r, err := open(name)
		return readerFunc(func(b []byte) (int, error) {
			time.Sleep(200 * time.Microsecond)
			return r.Read(b)
		}), err
	}
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func init() {
	// write replaces a file until it is killed or cannot, and prints a line for each time.
	children["write"] = func(path string) {
		for i := 1; ; i++ {
			ts := version(i)
			h, err := format.NewHeader(nil, entriesOf(ts))
			if err == nil {
				err = WriteFile(path, h, slowly(ts))
			}
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Println(i)
		}
	}
}

// A writer killed at any moment leaves a whole file, the one that it had
// written last or the next, and what it leaves beside it goes with the next write.
func TestWriteFileKilled(t *testing.T) {
	trials := 200
	if testing.Short() || emulated() {
		trials = 20
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	left := 0
	for range trials {
		last := killWriter(t, path)
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		left += len(entries) - 1
		if len(entries) > 2 { // each writer sweeps before it writes
			t.Fatalf("%v", entries)
		}
		checkVersion(t, path, last)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d killed writers left a file behind", left, trials)
	if left == 0 {
		t.Error("no writer was killed at work")
	}
	x := tens{"a", 10}
	if err := WriteFile(path, header(t, x), opener(x)); err != nil {
		t.Fatal(err)
	}
	checkFiles(t, dir, "m.safetensors")
}

// killWriter kills a writer some time after it has written a version, and
// returns the last that it is known to have written.
func killWriter(t *testing.T, path string) (last int) {
	t.Helper()
	cmd := child(t, "write", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the writer writes nothing")
	}
	text := lines.Text()
	time.Sleep(rand.N(15 * time.Millisecond))
	cmd.Process.Kill()
	for lines.Scan() {
		text = lines.Text()
	}
	cmd.Wait()
	if _, err := fmt.Sscan(text, &last); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return last
}

// checkVersion holds a file against the last version that was written for sure, and the next.
func checkVersion(t *testing.T, path string, last int) {
	t.Helper()
	m, err := Open(path, WithBackend(BackendRead))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, i := range []int{last, last + 1} {
		if _, err := m.Tensor(version(i)[0].name); err == nil {
			for _, x := range version(i) {
				checkTensor(t, m, x)
			}
			return
		}
	}
	t.Errorf("%v, want version %d or %d", namesOf(m), last, last+1)
}
