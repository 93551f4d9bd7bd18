//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// lockDir locks a directory until the file that it returns is closed. The error
// is errBusy if another has it locked, and fs.ErrNotExist if it is there no more.
func lockDir(path string) (*os.File, error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		var was, is fs.FileInfo
		if was, err = d.Stat(); err == nil {
			is, err = os.Stat(path)
		}
		if err == nil && !os.SameFile(was, is) {
			err = fs.ErrNotExist
		}
	} else if err == syscall.EWOULDBLOCK {
		err = errBusy
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// chown gives a file to the owner and the group of another, or at least to the
// group, where the process may do that.
func chown(path string, old fs.FileInfo) {
	if st, ok := old.Sys().(*syscall.Stat_t); ok && os.Chown(path, int(st.Uid), int(st.Gid)) != nil {
		os.Chown(path, -1, int(st.Gid))
	}
}
