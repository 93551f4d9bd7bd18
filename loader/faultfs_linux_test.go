// The module go-fuse does not build where an int has 32 bits.

//go:build !386 && !arm && !mips && !mipsle

package loader

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A faultFS is a file system in memory that fails on command. It lives in the
// process of the test, and what is tested in a child: a page fault stops the
// process that it happens in, and a file system in it could not answer.
//
// Commands are written to the file ctl at its top. It answers when they are done.
type faultFS struct {
	fs.Inode
	mu    sync.Mutex
	files map[string]*faultFile // by path below the top
	clock int64                 // of modifications: no two at the same time
}

// faultCommand is what can be asked for. The file is a path below the top.
type faultCommand struct {
	File string
	// Without the kernel's knowledge, "cut" cuts the file off at Lo and, if Grow is set, makes it as long as before
	// again, and "rewrite" changes the bytes [Lo, Hi).
	Do     string
	Lo, Hi int64
	Grow   bool
	Mode   *faultMode // if not nil, how the file behaves from now on
}

// faultMode is how a file behaves.
type faultMode struct {
	BadLo, BadHi int64         // reads of a part of this fail with EIO
	Delay        time.Duration // before each answer to a read
	Hang         bool          // reads, writes, statfs(2) and closing answer when this is over
	Until        time.Duration // after this the mode ends by itself; 0 for never
	BadWrites    bool          // writes fail with EIO
	Direct       bool          // opened from now on, the kernel does not cache it and cannot map it shared
}

// ctl does a command, from the child. The directory is the top.
func ctl(dir string, c faultCommand) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "ctl"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(b)
	return err
}

// mountFaults mounts a faultFS until the test ends.
func mountFaults(t *testing.T) (dir string, files *faultFS) {
	t.Helper()
	skipEmulated(t)
	dir = t.TempDir()
	top := &faultFS{files: make(map[string]*faultFile)}
	server, err := fs.Mount(dir, &faultDir{top: top}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "heft-faults", DisableXAttrs: true, Logger: log.New(io.Discard, "", 0)},
		OnAdd:        func(context.Context) {},
	})
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	leaveToServer()
	t.Cleanup(func() {
		top.release()
		err := unix.Unmount(dir, 0)
		for try := 0; err == unix.EBUSY && try < 100; try++ { // the kernel may be closing files yet
			time.Sleep(10 * time.Millisecond)
			err = unix.Unmount(dir, 0)
		}
		if err != nil && err != unix.EINVAL { // EINVAL: it has disappeared
			t.Errorf("unmount: %v", err)
			unix.Unmount(dir, unix.MNT_DETACH)
		}
		server.Wait()
	})
	return dir, top
}

// leaveToServer keeps children from inheriting the connections of file systems,
// as go-fuse lets them: one would outlive its server, and whoever uses it hang for ever.
func leaveToServer() {
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if path, _ := os.Readlink("/proc/self/fd/" + fd.Name()); path == "/dev/fuse" {
			n, _ := strconv.Atoi(fd.Name())
			syscall.CloseOnExec(n)
		}
	}
}

// release lets all reads that hang go on.
func (top *faultFS) release() {
	top.mu.Lock()
	defer top.mu.Unlock()
	for _, f := range top.files {
		f.behave(faultMode{})
	}
}

// faultDir is a directory.
type faultDir struct {
	fs.Inode
	top *faultFS
}

func (d *faultDir) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return d.NewInode(ctx, &faultDir{top: d.top}, fs.StableAttr{Mode: syscall.S_IFDIR}), 0
}

func (d *faultDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if child := d.GetChild(name); child != nil {
		if f, ok := child.Operations().(*faultFile); ok {
			f.attr(&out.Attr)
		}
		return child, 0
	}
	if name == "ctl" && d.IsRoot() {
		return d.NewInode(ctx, &ctlFile{top: d.top}, fs.StableAttr{}), 0
	}
	return nil, syscall.ENOENT
}

func (d *faultDir) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	f := &faultFile{top: d.top, changed: make(chan struct{})}
	d.top.mu.Lock()
	defer d.top.mu.Unlock()
	d.top.files[filepath.Join(d.Path(nil), name)] = f
	f.touch()
	return d.NewInode(ctx, f, fs.StableAttr{}), nil, 0, 0
}

func (d *faultDir) Unlink(context.Context, string) syscall.Errno { return 0 }
func (d *faultDir) Rmdir(context.Context, string) syscall.Errno  { return 0 }
func (d *faultDir) Rename(_ context.Context, from string, to fs.InodeEmbedder, name string, _ uint32) syscall.Errno {
	d.top.mu.Lock()
	defer d.top.mu.Unlock()
	d.top.files[filepath.Join(to.EmbeddedInode().Path(nil), name)] = d.top.files[filepath.Join(d.Path(nil), from)]
	return 0
}

// ctlFile takes commands.
type ctlFile struct {
	fs.Inode
	top *faultFS
}

func (c *ctlFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (c *ctlFile) Write(_ context.Context, _ fs.FileHandle, b []byte, _ int64) (uint32, syscall.Errno) {
	var command faultCommand
	if err := json.Unmarshal(b, &command); err != nil {
		return 0, syscall.EINVAL
	}
	c.top.mu.Lock()
	defer c.top.mu.Unlock()
	f := c.top.files[command.File]
	if f == nil {
		return 0, syscall.ENOENT
	}
	f.obey(command)
	return uint32(len(b)), 0
}

// faultFile is a file. Its fields belong to top.mu.
type faultFile struct {
	fs.Inode
	top     *faultFS
	data    []byte
	synced  []byte // what a power cut leaves
	mtime   int64
	mode    faultMode
	changed chan struct{} // closed when the mode changes
}

func (f *faultFile) touch() {
	f.top.clock++
	f.mtime = f.top.clock
}

func (f *faultFile) behave(m faultMode) {
	f.mode = m
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *faultFile) obey(c faultCommand) {
	switch c.Do {
	case "cut":
		n := len(f.data)
		f.data = f.data[:c.Lo:c.Lo]
		if c.Grow {
			f.data = append(f.data, make([]byte, n-len(f.data))...)
		}
		f.touch()
	case "rewrite":
		for i := c.Lo; i < c.Hi; i++ {
			f.data[i] ^= 0xff
		}
		f.touch()
	}
	if c.Mode != nil {
		f.behave(*c.Mode)
		if changed := f.changed; c.Mode.Until > 0 {
			time.AfterFunc(c.Mode.Until, func() {
				f.top.mu.Lock()
				defer f.top.mu.Unlock()
				if f.changed == changed { // it is still that mode
					f.behave(faultMode{})
				}
			})
		}
	}
}

func (f *faultFile) attr(a *fuse.Attr) {
	f.top.mu.Lock()
	defer f.top.mu.Unlock()
	a.Mode = syscall.S_IFREG | 0o644
	a.Size = uint64(len(f.data))
	a.Mtime, a.Ctime = uint64(f.mtime), uint64(f.mtime)
}

func (f *faultFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.attr(&out.Attr)
	return 0
}

func (f *faultFile) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	f.top.mu.Lock()
	if n, ok := in.GetSize(); ok {
		data := make([]byte, n)
		copy(data, f.data)
		f.data = data
		f.touch()
	}
	f.top.mu.Unlock()
	f.attr(&out.Attr)
	return 0
}

func (f *faultFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f.top.mu.Lock()
	defer f.top.mu.Unlock()
	if f.mode.Direct {
		return nil, fuse.FOPEN_DIRECT_IO, 0
	}
	return nil, 0, 0
}

func (f *faultFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.top.mu.Lock()
	defer f.top.mu.Unlock()
	if d := f.mode.Delay; d > 0 {
		f.top.mu.Unlock()
		time.Sleep(d)
		f.top.mu.Lock()
	}
	f.hang()
	if off < f.mode.BadHi && off+int64(len(dest)) > f.mode.BadLo {
		return nil, syscall.EIO
	}
	n := copy(dest, f.data[min(off, int64(len(f.data))):])
	return fuse.ReadResultData(dest[:n]), 0
}

// hang waits as long as the mode says, without the lock that the caller holds.
func (f *faultFile) hang() {
	for f.mode.Hang {
		changed := f.changed
		f.top.mu.Unlock()
		<-changed
		f.top.mu.Lock()
	}
}

// Statfs tells about the file system.
func (f *faultFile) Statfs(context.Context, *fuse.StatfsOut) syscall.Errno {
	f.top.mu.Lock()
	defer f.top.mu.Unlock()
	f.hang()
	return 0
}

// Flush is a part of close(2).
func (f *faultFile) Flush(context.Context, fs.FileHandle) syscall.Errno {
	f.top.mu.Lock()
	defer f.top.mu.Unlock()
	f.hang()
	return 0
}

func (f *faultFile) Write(_ context.Context, _ fs.FileHandle, b []byte, off int64) (uint32, syscall.Errno) {
	f.top.mu.Lock()
	defer f.top.mu.Unlock()
	f.hang()
	if f.mode.BadWrites {
		return 0, syscall.EIO
	}
	if end := off + int64(len(b)); end > int64(len(f.data)) {
		f.data = append(f.data, make([]byte, end-int64(len(f.data)))...)
	}
	copy(f.data[off:], b)
	f.touch()
	return uint32(len(b)), 0
}

func (f *faultFile) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.top.mu.Lock()
	defer f.top.mu.Unlock()
	f.synced = slices.Clone(f.data)
	return 0
}
