package loader

import (
	"errors"
	"fmt"
)

// Option changes how [Open] opens a model. The zero choice of each is the default.
type Option func(*config)

type config struct {
	mode    Mode
	backend Backend
}

// configure returns what opts say, if that can be had.
func configure(opts []Option) (c config, err error) {
	for _, o := range opts {
		o(&c)
	}
	switch {
	case c.backend > BackendRead:
		err = fmt.Errorf("%v: %w", c.backend, errors.ErrUnsupported)
	case c.mode > ReadWrite:
		err = fmt.Errorf("%v: %w", c.mode, errors.ErrUnsupported)
	case c.backend == BackendRead && c.mode != ReadOnly:
		err = fmt.Errorf("%v with %v: %w", c.mode, c.backend, errors.ErrUnsupported)
	}
	return c, err
}

// Mode says who may write to the views of a model, and who sees it.
type Mode uint8

const (
	// ReadOnly views fault when they are written to: inside a [Model.Guard] that
	// is a [FaultError], outside it crashes the program.
	ReadOnly Mode = iota
	// CopyOnWrite views may be written. Nobody else sees it and the file never
	// changes; each page written costs its size in private memory.
	CopyOnWrite
	// ReadWrite views are the file: other processes see at once what is written,
	// and [Model.Sync] makes it durable. Open needs files that it may write.
	// Several processes may write; nothing orders what they write but they themselves.
	ReadWrite
)

// String returns the name of the constant.
func (m Mode) String() string {
	switch m {
	case ReadOnly:
		return "ReadOnly"
	case CopyOnWrite:
		return "CopyOnWrite"
	case ReadWrite:
		return "ReadWrite"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// WithMode sets who may write to the views of the model.
func WithMode(m Mode) Option { return func(c *config) { c.mode = m } }

// Backend is a way to get at the bytes of files.
type Backend uint8

const (
	// BackendAuto maps, and reads where the file system or the platform cannot
	// map, or where the files are larger than the address space. Lack of memory
	// is not such a reason: reading would need it all the more.
	BackendAuto Backend = iota
	// BackendMmap maps, or fails.
	BackendMmap
	// BackendRead reads each tensor into memory when it is first asked for, and
	// keeps it. [ReadOnly] only.
	BackendRead
)

// String returns the name of the constant.
func (b Backend) String() string {
	switch b {
	case BackendAuto:
		return "BackendAuto"
	case BackendMmap:
		return "BackendMmap"
	case BackendRead:
		return "BackendRead"
	}
	return fmt.Sprintf("Backend(%d)", uint8(b))
}

// WithBackend sets the way to get at the bytes of the files.
func WithBackend(b Backend) Option { return func(c *config) { c.backend = b } }
