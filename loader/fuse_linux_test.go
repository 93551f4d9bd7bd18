// The module go-fuse does not build where an int has 32 bits.

//go:build !386 && !arm && !mips && !mipsle

package loader

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// fuseFile is a file of a file system made for a test.
type fuseFile struct {
	fs.MemRegularFile
	flags uint32 // how it opens
	bad   int64  // reads that reach this offset fail; 0 for none
}

func (f *fuseFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, f.flags, 0
}

func (f *fuseFile) Read(ctx context.Context, h fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if f.bad != 0 && off+int64(len(dest)) > f.bad {
		return nil, syscall.EIO
	}
	return f.MemRegularFile.Read(ctx, h, dest, off)
}

// mount mounts a file system with one file, m.safetensors, and returns its path.
func mount(t *testing.T, file *fuseFile) string {
	t.Helper()
	skipEmulated(t)
	dir := t.TempDir()
	root := &fs.Inode{}
	file.Attr.Mode = 0o444
	server, err := fs.Mount(dir, root, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "heft-test"},
		OnAdd: func(ctx context.Context) {
			root.AddChild("m.safetensors", root.NewPersistentInode(ctx, file, fs.StableAttr{}), false)
		},
	})
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	leaveToServer()
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "m.safetensors")
}

// A file that the kernel does not cache cannot be mapped shared.
func TestAutoOnFileSystemThatCannotMap(t *testing.T) {
	ts := []tens{{"a", 1000}, {"b", 300_000}}
	file := &fuseFile{flags: fuse.FOPEN_DIRECT_IO}
	file.Data = encode(nil, ts...)
	path := mount(t, file)
	_, err := Open(path, WithBackend(BackendMmap))
	if !errors.Is(err, unix.ENODEV) {
		t.Fatalf("BackendMmap: %v, want ENODEV", err)
	}
	checkPathError(t, err, "open", path, "cannot be mapped on this file system")
	m := mustOpen(t, path)
	for _, want := range ts {
		checkTensor(t, m, want)
	}
	r := mustRegion(t, m, "a", "b")
	checkResident(t, r, r.Size())
}

func init() {
	children["read bad page"] = func(path string) {
		for _, backend := range []Backend{BackendMmap, BackendRead} {
			m, err := Open(path, WithBackend(backend))
			if err != nil {
				panic(err)
			}
			err = m.Guard(func() error {
				b, err := m.Tensor("b")
				if err == nil {
					sink = b.Bytes()[b.Len()-1]
				}
				return err
			})
			var fault *FaultError
			fmt.Println(errors.As(err, &fault), errors.Is(err, unix.EIO), err)
			r, err := m.Region("b")
			if err != nil {
				panic(err)
			}
			err = r.Prefetch(context.Background())
			fmt.Println(errors.As(err, &fault), errors.Is(err, unix.EIO), err)
		}
	}
}

// A disk that fails is an error, of the Guard as of Prefetch. The reader is a
// process of its own: a fault stops the one it happens in, file system and all.
func TestGuardBadDisk(t *testing.T) {
	file := &fuseFile{bad: 1 << 20}
	file.Data = encode(nil, tens{"a", 1000}, tens{"b", 2 << 20})
	path := mount(t, file)
	out, err := runChild(t, "read bad page", path)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || len(lines) != 4 {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "true true read "+path+`: tensor "b": offset `) || !strings.HasSuffix(line, "input/output error") {
			t.Errorf("got %q", line)
		}
	}
}
