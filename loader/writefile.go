package loader

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"heft/format"
)

// WriteFile writes a safetensors file: whole or not at all, and durable when it
// returns nil. Header and open are as [format.Encode] takes them.
//
// It writes a new file beside path, called .NAME.heft- and 16 digits, syncs it
// and renames it over path. Who has the old file open or mapped keeps the old
// file. The new one takes over its permissions and, where the process may give
// files away, its owner and group, but neither ACLs nor extended attributes. A
// symbolic link is replaced, not written through. Anything else at path that is
// not a regular file is an error.
//
// A process that is killed leaves its new file behind. The next WriteFile to
// path removes it; new files that somebody is still writing are locked, and stay.
//
// The tensors that open returns as a *[Section] are moved by the kernel where
// it can do that.
//
// The error is a *fs.PathError; inside, a [*format.Error] names the tensor at
// which writing or reading failed. The old file is then what it was, but for
// an error of syncing the directory, when the new file is in its place and not
// known to be durable. A file system that cannot rename gives an error.
//
// Platforms:
//   - Windows: a file that is mapped or open cannot be replaced, owners are not
//     kept, and the directory is not synced.
//   - Elsewhere than on Linux, macOS, the BSDs and Windows: what killed
//     processes leave behind stays.
func WriteFile(path string, h *format.Header, open func(name string) (io.Reader, error)) error {
	if err := writeFile(path, h, open); err != nil {
		return pathError("write", path, err)
	}
	return nil
}

func writeFile(path string, h *format.Header, open func(name string) (io.Reader, error)) error {
	old, err := replaced(path)
	if err != nil {
		return err
	}
	sweep(path)
	t, err := newTarget(path, old)
	if err != nil {
		return err
	}
	defer t.discard()
	if err := format.Encode(t, h, t.kernelCopies(open)); err != nil {
		return err
	}
	return t.publish(path, old)
}

// replaced returns what is known of the regular file that will be replaced, or
// nil if there is none.
func replaced(path string) (fs.FileInfo, error) {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && fi.Mode()&fs.ModeSymlink != 0:
		return nil, nil
	case err != nil:
		return nil, err
	case !fi.Mode().IsRegular():
		return nil, fmt.Errorf("%s, not a regular file", kindOf(fi.Mode()))
	}
	return fi, nil
}

// target is the new file while it is written. It is locked, so that nobody
// takes it for a leftover.
type target struct {
	f      *os.File
	pos    int64 // where the next byte goes
	synced int64 // the kernel was told to write what is before it to disk

	cannotClone, cannotCopy bool   // what the file system has refused to do
	buf                     []byte // for copies that the kernel does not make; nil until they are needed
}

const (
	syncStep  = 16 << 20 // how much is written before the disk is told to begin with it
	tempInfix = ".heft-" // stands before the digits of a temporary name
)

// newTarget creates a locked file beside path.
func newTarget(path string, old fs.FileInfo) (*target, error) {
	perm := fs.FileMode(0o666) // what the process wants of it goes away by its umask
	if old != nil {
		perm = old.Mode().Perm()
	}
	for {
		name := tempPrefix(path) + fmt.Sprintf("%016x", rand.Uint64())
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm|0o200) // sweep opens for writing, as NFS wants for a lock
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		t := &target{f: f}
		if err := lockFile(f); err != nil {
			t.discard()
			return nil, fmt.Errorf("lock: %w", err)
		}
		if there(f) {
			return t, nil
		}
		t.discard() // between its creation and the lock it looked like a leftover
	}
}

// tempPrefix returns how the names of new files for path begin.
func tempPrefix(path string) string {
	dir, name := filepath.Split(path)
	return filepath.Join(dir, "."+name+tempInfix)
}

// there reports whether f is still what its name names.
func there(f *os.File) bool {
	now, err1 := os.Lstat(f.Name())
	fi, err2 := f.Stat()
	return err1 == nil && err2 == nil && os.SameFile(now, fi)
}

// sweep removes the new files for path that nobody writes any more. Those that
// it cannot lock or remove it leaves to the next.
func sweep(path string) {
	prefix := tempPrefix(path)
	entries, err := os.ReadDir(filepath.Dir(prefix))
	if err != nil {
		return // creating a file there will tell why
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), filepath.Base(prefix))
		if ok && len(digits) == 16 && strings.Trim(digits, "0123456789abcdef") == "" && e.Type().IsRegular() {
			removeLeftover(filepath.Join(filepath.Dir(prefix), e.Name()))
		}
	}
}

// Write writes b behind what is written.
func (t *target) Write(b []byte) (int, error) {
	n, err := t.f.WriteAt(b, t.pos)
	t.wrote(int64(n))
	if err != nil {
		err = cmp.Or(causeOf(err), err)
	}
	return n, err
}

// wrote moves on by n bytes. Now and then it has the kernel begin to write to
// disk, so that the disk does not wait until the end.
func (t *target) wrote(n int64) {
	t.pos += n
	if t.pos-t.synced >= syncStep {
		startSync(t.f, t.synced, t.pos-t.synced)
		t.synced = t.pos
	}
}

// causeOf returns the error inside a PathError, which names the new file that
// nobody knows of, or nil.
func causeOf(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return nil
}

// publish makes the new file durable and renames it over path.
func (t *target) publish(path string, old fs.FileInfo) error {
	if old != nil {
		t.own(old)
		t.f.Chmod(old.Mode().Perm()) // what the umask took away; after own, since the new owner shall have no more than the old one
	}
	if err := t.f.Sync(); err != nil {
		return err
	}
	if err := rename(t.f, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// discard removes the new file, if it still has its temporary name.
func (t *target) discard() {
	t.f.Close()
	os.Remove(t.f.Name())
}
