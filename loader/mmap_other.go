//go:build !(linux || darwin || windows)

package loader

import (
	"errors"
	"fmt"
	"os"
	"time"
)

func newMapped(m *Model, mode Mode) (store, error) {
	return nil, m.fail("open", fmt.Errorf("%w on this platform", errCannotMap))
}

// flush has nothing to do, since nothing is mapped.
func (extent) flush() error { return errors.ErrUnsupported }

// identity is what tells whether a file is still the one that was opened.
type identity struct {
	size    int64
	mtime   time.Time
	regular bool
}

func identify(f *os.File) (identity, error) {
	fi, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	return identity{fi.Size(), fi.ModTime(), fi.Mode().IsRegular()}, nil
}

// diff says in words in what now differs from id, or returns "". Times are
// nothing to go by where the process itself may write.
func (id identity) diff(now identity, mode Mode) string {
	switch {
	case now.size != id.size:
		return fmt.Sprintf("its size was %d and is %d", id.size, now.size)
	case mode == ReadWrite:
		return ""
	case !now.mtime.Equal(id.mtime):
		return "it was modified"
	}
	return ""
}

func openFile(path string, mode Mode) (*os.File, error) {
	if mode == ReadWrite {
		return os.OpenFile(path, os.O_RDWR, 0)
	}
	return os.Open(path)
}
