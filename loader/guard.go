package loader

import (
	"errors"
	"io"
	"io/fs"
	"runtime"
	"runtime/debug"
	"sort"
)

// Guard calls fn and returns its error. While fn runs the model stays mapped,
// even if it is closed meanwhile. Where fn touches a page that the kernel
// cannot supply, fn ends there, by a panic that runs its deferred calls, and
// Guard returns a *[FaultError]. This holds for the goroutine that calls Guard:
// others that touch the model call Guard themselves.
//
// Guards may be nested, of one model or several, and fn may call
// [Model.Close]. All other panics pass through, and so does a fault whose
// address is not in this model: it becomes one of the enclosing Guard whose
// model it concerns, or crashes the program.
//
// A file that was truncated inside a page shows zeros without a fault:
// [Model.Changed] tells.
func (m *Model) Guard(fn func() error) error {
	if err := m.acquire("guard"); err != nil {
		return err
	}
	defer m.release()
	return m.guard(fn)
}

// guard is Guard for those who are users of the model already.
func (m *Model) guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		// All panics are recovered, since only the value tells whether this is one of ours.
		v := recover()
		if v == nil {
			return
		}
		fault := m.fault(v)
		if fault == nil {
			panic(v)
		}
		err = fault
	}()
	return fn()
}

// fault turns the value of a panic into an error, or nil if the panic is not a
// fault at an address of the model.
func (m *Model) fault(v any) *FaultError {
	re, ok := v.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		return nil
	}
	for _, f := range m.files {
		if off := re.Addr() - f.addr; f.data != nil && off < uintptr(len(f.data)) {
			return f.diagnose(int64(off), 1)
		}
	}
	return nil
}

// diagnose reads n bytes at off, in which the kernel could not supply a page,
// to find out where and why.
func (f *file) diagnose(off, n int64) *FaultError {
	const most = 1 << 20
	buf := make([]byte, min(n, most))
	for end := off + n; off < end; {
		got, err := f.f.ReadAt(buf[:min(end-off, most)], off)
		off += int64(got)
		if err != nil {
			return f.faultError(off, err)
		}
	}
	return f.faultError(off-n, errReadable)
}

// faultError returns the error for a failed read at off.
func (f *file) faultError(off int64, err error) *FaultError {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err // the path is told once
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &FaultError{Path: f.path, Tensor: f.tensorAt(off), Offset: off, Err: err}
}

// tensorAt returns the name of the tensor that holds the byte at off, or "".
func (f *file) tensorAt(off int64) string {
	ts := f.header.Tensors // without overlaps, and in order of Begin as well as of End
	if i := sort.Search(len(ts), func(i int) bool { return ts[i].End > off }); i < len(ts) && ts[i].Begin <= off {
		return ts[i].Name
	}
	return ""
}
