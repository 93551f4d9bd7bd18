//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package loader

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockFile locks f for as long as it is open: no other open file can be locked
// by that name. On file systems without locks it does nothing, and a leftover
// cannot be told from a file that is being written.
func lockFile(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		switch {
		case err == unix.EINTR:
		case errors.Is(err, errors.ErrUnsupported):
			return nil
		default:
			return err
		}
	}
}

// removeLeftover removes a new file if nobody has it locked.
func removeLeftover(name string) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	// With the lock at hand, its writer has ended, or has renamed the file, whose
	// name is then free, or has not locked it yet and will see that it is gone.
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		os.Remove(name)
	}
}

// own gives the new file to the owner and the group of the old one, or at least
// to the group, where the process may do that.
func (t *target) own(old fs.FileInfo) {
	if st, ok := old.Sys().(*syscall.Stat_t); ok {
		if t.f.Chown(int(st.Uid), int(st.Gid)) != nil {
			t.f.Chown(-1, int(st.Gid))
		}
	}
}

// rename renames a new file, which stays locked meanwhile.
func rename(f *os.File, path string) error {
	err := os.Rename(f.Name(), path)
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err // it names the temporary name, too
	}
	return err
}

// syncDir makes a rename in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); !errors.Is(err, unix.EINVAL) { // the answer of file systems where there is nothing to sync
		return err
	}
	return nil
}
