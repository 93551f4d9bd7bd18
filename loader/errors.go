package loader

import (
	"errors"
	"fmt"
	"io/fs"
)

var (
	// ErrNotFound is returned for a name that no tensor of the model has.
	ErrNotFound = errors.New("no such tensor")
	// ErrChanged is returned where a file is no longer what was opened.
	ErrChanged = errors.New("file changed since it was opened")
)

// errCannotMap matches the errors for which [BackendAuto] reads instead of mapping.
var errCannotMap = errors.New("cannot be mapped")

// errReadable is the cause given for a fault on a page that is there when asked for again.
var errReadable = errors.New("the page can be read: it was written to through a read-only view or where the disk is full, or a read error has passed")

// FaultError says that the kernel could not supply a part of a file. The bytes
// of the tensor must not be relied on.
type FaultError struct {
	Path   string
	Tensor string // the tensor that holds Offset, or "" where none does
	Offset int64  // of the fault, in the file
	Err    error  // io.ErrUnexpectedEOF beyond the end of the file, else what reading the page answers, such as EIO
}

// Error returns one line: path, tensor, offset and cause.
func (e *FaultError) Error() string {
	if e.Tensor == "" {
		return fmt.Sprintf("read %s: offset %d: %v", e.Path, e.Offset, e.Err)
	}
	return fmt.Sprintf("read %s: tensor %q: offset %d: %v", e.Path, e.Tensor, e.Offset, e.Err)
}

// Unwrap returns e.Err.
func (e *FaultError) Unwrap() error { return e.Err }

// pathError says that op could not be done to path because of err. Where err
// is itself a PathError about a path, that one goes: each fact is told once.
func pathError(op, path string, err error) error {
	if pe, ok := err.(*fs.PathError); ok {
		err = pe.Err
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
