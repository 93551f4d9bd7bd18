//go:build darwin || windows

package loader

import (
	"errors"
	"syscall"
)

const errFault = syscall.EFAULT

func adviseHuge([]byte) {}

func populate([]byte) error { return errors.ErrUnsupported }

func (x extent) request() {}

func hugeReads() bool { return true }

func canPopulate() bool { return false }

func mapLimit() string { return "too little memory" }

func (x extent) resident() (int64, error) {
	return 0, pathError("resident", x.file.path, errors.ErrUnsupported)
}

func (x extent) drop() error { return errors.ErrUnsupported }

func (x extent) advise(Advice) error { return errors.ErrUnsupported }
