// The module go-fuse does not build where an int has 32 bits.

//go:build !386 && !arm && !mips && !mipsle

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// slowFile is a model whose data is not to be had before gate is closed, and
// then with an error if bad is set.
type slowFile struct {
	fs.MemRegularFile
	begin int64 // of what is slow
	gate  chan struct{}
	bad   bool
}

func (f *slowFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

func (f *slowFile) Read(ctx context.Context, h fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off+int64(len(dest)) > f.begin {
		<-f.gate
		if f.bad {
			return nil, syscall.EIO
		}
	}
	return f.MemRegularFile.Read(ctx, h, dest, off)
}

// mountSlow returns the path of a model whose second tensor, "slow", is slow but
// for the page in which it begins.
func mountSlow(t *testing.T, file *slowFile) string {
	t.Helper()
	if emulated() {
		t.Skip("qemu-user does not tell the truth about the page cache")
	}
	m := &spec{}
	for _, line := range []string{"fast U8 1048576", "slow U8 8388608"} {
		if err := m.line(line); err != nil {
			t.Fatal(err)
		}
	}
	plain := filepath.Join(t.TempDir(), "m.safetensors")
	if err := m.write(plain, map[string]string{}); err != nil {
		t.Fatal(err)
	}
	var err error
	if file.Data, err = os.ReadFile(plain); err != nil {
		t.Fatal(err)
	}
	file.begin, file.gate = int64(len(file.Data))-8<<20+4096, make(chan struct{})
	file.Attr.Mode = 0o444
	dir, root := t.TempDir(), &fs.Inode{}
	server, err := fs.Mount(dir, root, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "heft-test"},
		OnAdd: func(ctx context.Context) {
			root.AddChild("m.safetensors", root.NewPersistentInode(ctx, file, fs.StableAttr{}), false)
		},
	})
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "m.safetensors")
}

// heft returns the command line for a process of its own that is this program.
func heft(args ...string) *exec.Cmd {
	path, err := exec.LookPath("heft") // testscript has put it there
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "TERM=xterm", "LANG=C.UTF-8", "COLUMNS=100")
	return cmd
}

// terminal returns a pseudo terminal: what a program sees, and its other end.
func terminal(t *testing.T) (tty, screen *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return tty, screen
}

// readUntil reads until what was read contains want.
func readUntil(t *testing.T, f *os.File, want string) string {
	t.Helper()
	var got []byte
	buf := make([]byte, 1024)
	for !bytes.Contains(got, []byte(want)) {
		n, err := f.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got = append(got, buf[:n]...)
	}
	return string(got)
}

// What takes long shows how far it is, on a terminal, and leaves no trace of that.
func TestProgressOnTerminal(t *testing.T) {
	file := &slowFile{}
	path := mountSlow(t, file)
	tty, screen := terminal(t)
	cmd := heft("warm", path)
	cmd.Stderr = tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop()
	got := readUntil(t, screen, " of 9 MiB")
	if !strings.HasPrefix(got, "\rwarming ") {
		t.Errorf("began with %q", got)
	}
	close(file.gate)
	got = readUntil(t, screen, "/s\r\n") // of the summary
	if _, last, ok := strings.Cut(got, "\r\x1b[K"); !ok || !strings.HasPrefix(last, "heft: warmed ") {
		t.Errorf("ended with %q", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// An interrupt does not wait for a disk that does not answer.
func TestInterruptSlowDisk(t *testing.T) {
	file := &slowFile{}
	path := mountSlow(t, file)
	tty, screen := terminal(t)
	cmd := heft("warm", path)
	cmd.Stderr = tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	readUntil(t, screen, "warming ")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if got := readUntil(t, screen, "\r\x1b[K"); strings.Contains(got, "error") {
		t.Errorf("said %q", got)
	}
	close(file.gate) // or what is left of the process would wait in the kernel
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != statusInterrupted {
		t.Errorf("exit status %d, want %d", got, statusInterrupted)
	}
}

// A disk that fails is an error that says where.
func TestBadDisk(t *testing.T) {
	file := &slowFile{bad: true}
	path := mountSlow(t, file)
	close(file.gate)
	for _, args := range [][]string{{"warm", path}, {"sum", path}, {"bench", "-n", "1", path}, {"bench", "-n", "1", "--cold", path}} {
		cmd := heft(args...)
		out, _ := cmd.CombinedOutput()
		want := `heft: error: read ` + path + `: tensor "slow": offset `
		if got := string(out); cmd.ProcessState.ExitCode() != statusTrouble || !strings.HasPrefix(got, want) || !strings.HasSuffix(got, ": input/output error\n") {
			t.Errorf("%v: status %d: %s", args, cmd.ProcessState.ExitCode(), got)
		}
	}
}
