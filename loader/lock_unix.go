//go:build linux || darwin

package loader

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// lock keeps b, which begins a page, in memory, and unlock no longer. Locks do
// not nest: one unlock undoes any number of locks.
func lock(b []byte) error   { return unix.Mlock(b) }
func unlock(b []byte) error { return unix.Munlock(b) }

// lockError explains why a region of size bytes could not be locked. Over the
// limit, or without the privilege to go there, Linux answers ENOMEM, EPERM or EAGAIN.
func lockError(err error, size int64) error {
	var l unix.Rlimit
	if err != unix.ENOMEM && err != unix.EPERM && err != unix.EAGAIN || unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l) != nil {
		return err
	}
	return fmt.Errorf("%w: %d bytes wanted, and the limit of all that the process locks (RLIMIT_MEMLOCK, ulimit -l) is %d", err, size, l.Cur)
}
