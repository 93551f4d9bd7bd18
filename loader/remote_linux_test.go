// The module go-fuse does not build where an int has 32 bits.

//go:build !386 && !arm && !mips && !mipsle

package loader

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// slowFile is a file whose server decides when to answer.
type slowFile struct {
	fs.MemRegularFile
	read func(ctx context.Context, off int64) // returns when the bytes at off may go out
}

func (f *slowFile) Read(ctx context.Context, h fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.read(ctx, off)
	return f.MemRegularFile.Read(ctx, h, dest, off)
}

// mountSlow mounts a file system with one file and returns its path.
func mountSlow(t *testing.T, content []byte, read func(ctx context.Context, off int64)) string {
	t.Helper()
	skipEmulated(t)
	dir := t.TempDir()
	root := &fs.Inode{}
	server, err := fs.Mount(dir, root, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "heft-test"},
		OnAdd: func(ctx context.Context) {
			file := &slowFile{fs.MemRegularFile{Data: content, Attr: fuse.Attr{Mode: 0o444}}, read}
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

// A remote file system is asked for many parts at once: this one answers nobody
// until eight different steps have been asked for.
func TestPrefetchRemote(t *testing.T) {
	const together = 8
	ts := []tens{{"a", together * stepBytes}, {"b", 2 * stepBytes}}
	var mu sync.Mutex
	asked := make(map[int64]bool)
	enough := make(chan struct{})
	path := mountSlow(t, encode(nil, ts...), func(ctx context.Context, off int64) {
		mu.Lock()
		if off >= 1<<20 { // the header is read before
			if asked[off/stepBytes] = true; len(asked) == together {
				select {
				case <-enough:
				default:
					close(enough)
				}
			}
		}
		mu.Unlock()
		if off >= 1<<20 {
			<-enough
		}
	})
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Stats()
	if err != nil || s.FileSystem != "fuse" || !strings.Contains(s.Strategy, "16 goroutines read it and then populate, because fuse is remote") {
		t.Errorf("%q, %q, %v", s.FileSystem, s.Strategy, err)
	}
	r := module(t, m)
	if err := r.Prefetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	checkResident(t, r, r.Size())
	for _, want := range ts {
		checkTensor(t, m, want)
	}
}

// A file system that hangs does not hang Prefetch: it returns with its context,
// and what it started ends when the file system answers.
func TestPrefetchHung(t *testing.T) {
	reading := make(chan struct{}, 1000)
	answer := make(chan struct{})
	path := mountSlow(t, encode(nil, tens{"a", 40 << 20}), func(ctx context.Context, off int64) {
		if off >= 1<<20 {
			reading <- struct{}{}
			<-answer
		}
	})
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- module(t, m).Prefetch(ctx) }()
	<-reading
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) { // though nobody has answered
		t.Errorf("got %v", err)
	}
	m.Close()
	if n := m.lifetime.state.Load(); n < oneUser {
		t.Error("nobody holds the model while the file system is reading")
	}
	close(answer)
	idle(m)
	// What follows ends at the test's time limit if it does not come about. The
	// server of the file system has goroutines of its own.
	for _, err := m.files[0].f.Stat(); err == nil; _, err = m.files[0].f.Stat() {
		time.Sleep(time.Millisecond) // remote files are closed in the background
	}
	for stacks := make([]byte, 1<<20); strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "(*Model).work"); {
		time.Sleep(time.Millisecond)
	}
}
