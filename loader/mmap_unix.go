//go:build linux || darwin

package loader

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmap is replaced by tests, to fail as some file systems do.
var mmap = unix.MmapPtr

// mapFiles maps the data of the files and sets their data and addr. One
// reservation of address space holds them all, each file from its beginning at
// an address of its own that is a multiple of 2 MiB: the kernel maps no huge
// pages otherwise, and on some file systems does not choose such an address by
// itself. The whole reservation is retired at the end.
//
// A file without data needs no mapping. An error that matches errCannotMap says
// that this file system or address space cannot do it, now or later.
func (m *Model) mapFiles(mode Mode) (unmap func(), err error) {
	var total uint64
	for _, f := range m.files {
		if total += f.room(); f.room() > math.MaxInt || total > math.MaxInt-hugePage {
			return nil, pathError("open", f.path, fmt.Errorf("%w: %d bytes are more than the address space holds", errCannotMap, f.id.size))
		}
	}
	if total == 0 {
		return func() {}, nil
	}
	base, err := reserve(uintptr(total))
	if err != nil {
		return nil, m.fail("open", err)
	}
	unmap = func() { retire(base, uintptr(total)) }
	at := base
	for _, f := range m.files {
		if f.room() == 0 {
			continue
		}
		if err := f.mapAt(at, mode); err != nil {
			unmap()
			return nil, pathError("open", f.path, err)
		}
		at = unsafe.Add(at, f.room())
	}
	reserved := unsafe.Slice((*byte)(base), total)
	adviseHuge(reserved)
	if mode == ReadWrite && slices.ContainsFunc(m.files, func(f *file) bool { return f.system.remote }) {
		return func() { m.writeAndRetire(reserved) }, nil
	}
	return unmap, nil
}

// writeAndRetire makes the reservation unreadable and has a goroutine retire it.
// FUSE does not unmap before the other side has all that was written to the
// mapping, and all faults of the process may have to wait for that; so it is
// flushed first, which nobody waits for.
func (m *Model) writeAndRetire(reserved []byte) {
	unix.Mprotect(reserved, unix.PROT_NONE)
	go func() {
		for _, f := range m.files {
			if f.data != nil {
				extent{f, 0, f.id.size}.flush() // what was written is Sync's concern: no error is of interest
			}
		}
		retire(unsafe.Pointer(&reserved[0]), uintptr(len(reserved)))
	}()
}

// room returns the address space that a file needs.
func (f *file) room() uint64 {
	if f.id.size == f.header.DataOffset {
		return 0
	}
	return (uint64(f.id.size) + hugePage - 1) &^ (hugePage - 1)
}

// reserve returns length bytes of address space, at a multiple of 2 MiB, that
// nothing can be read from. It takes the end of what the kernel offers, so that
// reservations touch each other, and can merge when they are retired.
func reserve(length uintptr) (unsafe.Pointer, error) {
	// SAFETY: the kernel chooses the address; nothing that exists is replaced.
	p, err := unix.MmapPtr(-1, 0, nil, length+hugePage, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		if err == unix.ENOMEM && strconv.IntSize == 32 {
			return nil, fmt.Errorf("%w: no %d bytes of address space are free", errCannotMap, length)
		}
		return nil, mapError(err, length)
	}
	front := hugePage - uintptr(p)%hugePage
	base := unsafe.Add(p, front)
	// SAFETY: both parts belong to the reservation just made and hold nothing.
	// Should the kernel refuse, they stay reserved.
	unix.MunmapPtr(p, front)
	if back := hugePage - front; back > 0 {
		unix.MunmapPtr(unsafe.Add(base, length), back)
	}
	return base, nil
}

// mapAt maps the file at an address inside a reservation that has room for it.
func (f *file) mapAt(at unsafe.Pointer, mode Mode) error {
	prot, flags := unix.PROT_READ, unix.MAP_SHARED
	switch mode {
	case CopyOnWrite:
		prot, flags = unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_NORESERVE
	case ReadWrite:
		prot |= unix.PROT_WRITE
	}
	// SAFETY: at is in a reservation of our own, so that MAP_FIXED replaces nothing else.
	if _, err := mmap(int(f.f.Fd()), 0, at, uintptr(f.id.size), prot, flags|unix.MAP_FIXED); err != nil {
		return mapError(err, uintptr(f.id.size))
	}
	// SAFETY: these bytes are mapped until unmap is called, by the last user of the
	// model. The size fits an int because the sum of all does.
	f.data = unsafe.Slice((*byte)(at), int(f.id.size))
	f.addr = uintptr(at)
	return nil
}

// mapError explains why length bytes could not be mapped.
func mapError(err error, length uintptr) error {
	switch err {
	case unix.ENODEV, unix.EINVAL:
		return fmt.Errorf("%w on this file system: %w", errCannotMap, err)
	case unix.ENOMEM:
		var l unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_AS, &l) == nil && uint64(l.Cur) < math.MaxInt64 {
			return fmt.Errorf("mapping %d bytes: %w: the limit of address space (RLIMIT_AS, ulimit -v) is %d", length, err, l.Cur)
		}
		return fmt.Errorf("mapping %d bytes: %w: %s", length, err, mapLimit())
	}
	return fmt.Errorf("mapping %d bytes: %w", length, err)
}

// blank makes a range of address space unreadable and drops what it maps. It
// holds no memory then, and merges with its neighbours.
func blank(base unsafe.Pointer, length uintptr) error {
	// SAFETY: the range is a reservation of our own that no user of the model needs any more.
	_, err := unix.MmapPtr(-1, 0, base, length, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE|unix.MAP_FIXED)
	return err
}

// unreserve gives address space back to the kernel.
func unreserve(base unsafe.Pointer, length uintptr) {
	// SAFETY: the range was retired, and the documented cap is the promise that ends here.
	unix.MunmapPtr(base, length)
}

// flush writes the extent out to its file.
func (x extent) flush() error {
	for {
		if err := unix.Msync(x.pages(), unix.MS_SYNC); err != unix.EINTR {
			return err
		}
	}
}

// identity is what tells whether a file is still the one that was opened.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
	regular      bool
}

func identify(f *os.File) (identity, error) {
	var s unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &s)
	if errors.Is(err, unix.EBADF) {
		err = os.ErrClosed
	}
	return identity{
		dev: uint64(s.Dev), ino: s.Ino, size: s.Size, mtime: s.Mtim, ctime: s.Ctim,
		regular: s.Mode&unix.S_IFMT == unix.S_IFREG,
	}, err
}

// diff says in words in what now differs from id, or returns "". Times are
// nothing to go by where the process itself may write.
func (id identity) diff(now identity, mode Mode) string {
	switch {
	case now.size != id.size:
		return fmt.Sprintf("its size was %d and is %d", id.size, now.size)
	case now.dev != id.dev || now.ino != id.ino:
		return fmt.Sprintf("its inode was %d:%d and is %d:%d", id.dev, id.ino, now.dev, now.ino)
	case mode == ReadWrite:
		return ""
	case now.mtime != id.mtime:
		return "it was modified"
	case now.ctime != id.ctime:
		return "its status changed (contents, links, owner or mode)"
	}
	return ""
}

func openFile(path string, mode Mode) (*os.File, error) {
	if mode == ReadWrite {
		return os.OpenFile(path, os.O_RDWR, 0)
	}
	return os.Open(path)
}
