package loader

import (
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapFiles maps the data of the files, each by itself, and sets their data and
// addr. A file without data needs no mapping.
func (m *Model) mapFiles(mode Mode) (unmap func(), err error) {
	unmap = func() {
		for _, f := range m.files {
			if f.data != nil {
				retire(unsafe.Pointer(unsafe.SliceData(f.data)), uintptr(len(f.data)))
			}
		}
	}
	for _, f := range m.files {
		if f.id.size == f.header.DataOffset {
			continue
		}
		if f.id.size > math.MaxInt {
			err = fmt.Errorf("%w: %d bytes are more than the address space holds", errCannotMap, f.id.size)
		} else {
			err = f.mapWhole(mode)
		}
		if err != nil {
			unmap()
			return nil, pathError("open", f.path, err)
		}
	}
	return unmap, nil
}

func (f *file) mapWhole(mode Mode) error {
	prot, access := uint32(windows.PAGE_READONLY), uint32(windows.FILE_MAP_READ)
	switch mode {
	case CopyOnWrite:
		prot, access = windows.PAGE_WRITECOPY, windows.FILE_MAP_COPY
	case ReadWrite:
		prot, access = windows.PAGE_READWRITE, windows.FILE_MAP_WRITE
	}
	h, err := windows.CreateFileMapping(windows.Handle(f.f.Fd()), nil, prot, 0, 0, nil)
	if err == nil {
		defer windows.CloseHandle(h) // the view keeps the mapping
		f.addr, err = windows.MapViewOfFile(h, access, 0, 0, uintptr(f.id.size))
	}
	if errors.Is(err, windows.ERROR_INVALID_FUNCTION) || errors.Is(err, windows.ERROR_NOT_SUPPORTED) {
		return fmt.Errorf("%w on this file system: %w", errCannotMap, err)
	}
	if err != nil {
		return fmt.Errorf("mapping %d bytes: %w", f.id.size, err)
	}
	// SAFETY: the view is there until unmap is called, by the last user of the
	// model. It is no memory of Go's, so that the address may be told by its number.
	f.data = unsafe.Slice(*(**byte)(unsafe.Pointer(&f.addr)), int(f.id.size))
	return nil
}

// blank unmaps a view and reserves its addresses, unless another thread takes
// them in between.
func blank(base unsafe.Pointer, length uintptr) error {
	if err := windows.UnmapViewOfFile(uintptr(base)); err != nil {
		return err
	}
	_, err := windows.VirtualAlloc(uintptr(base), length, windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	return err
}

// unreserve gives address space back.
func unreserve(base unsafe.Pointer, _ uintptr) {
	windows.VirtualFree(uintptr(base), 0, windows.MEM_RELEASE)
}

// flush writes the extent out to its file.
func (x extent) flush() error {
	return windows.FlushViewOfFile(x.file.addr+uintptr(x.lo), uintptr(x.hi-x.lo))
}

// identity is what tells whether a file is still the one that was opened.
type identity struct {
	volume  uint32
	index   uint64
	size    int64
	written windows.Filetime
	regular bool
}

func identify(f *os.File) (identity, error) {
	var i windows.ByHandleFileInformation
	err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &i)
	return identity{
		volume:  i.VolumeSerialNumber,
		index:   uint64(i.FileIndexHigh)<<32 | uint64(i.FileIndexLow),
		size:    int64(i.FileSizeHigh)<<32 | int64(i.FileSizeLow),
		written: i.LastWriteTime,
		regular: err == nil && i.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY == 0,
	}, err
}

// diff says in words in what now differs from id, or returns "". Times are
// nothing to go by where the process itself may write.
func (id identity) diff(now identity, mode Mode) string {
	switch {
	case now.size != id.size:
		return fmt.Sprintf("its size was %d and is %d", id.size, now.size)
	case now.volume != id.volume || now.index != id.index:
		return fmt.Sprintf("it was file %x:%x and is %x:%x", id.volume, id.index, now.volume, now.index)
	case mode == ReadWrite:
		return ""
	case now.written != id.written:
		return "it was modified"
	}
	return ""
}

// openFile lets others rename and delete the file while it is open, as
// elsewhere; os.Open does not.
func openFile(path string, mode Mode) (*os.File, error) {
	access := uint32(windows.GENERIC_READ)
	if mode == ReadWrite {
		access |= windows.GENERIC_WRITE
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	h, err := windows.CreateFile(name, access,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return os.NewFile(uintptr(h), path), nil
}
