package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"heft/loader"
)

const (
	directReaders = 4       // enough for the queue of one device
	directAlign   = 4 << 10 // of offsets, lengths and memory: no device asks for more
)

// A block is a part of a file that is read at once.
type block struct {
	file   int // in listing.files
	lo, hi int64
}

// direct reads the tensors past the page cache, a few blocks at a time into
// memory that is used again and again, and looks at every byte.
func (b *benchmark) direct(ctx context.Context, m *meter) error {
	files := make([]*os.File, len(b.l.files))
	for i, f := range b.l.files {
		var err error
		files[i], err = os.OpenFile(f.path, os.O_RDONLY|syscall.O_DIRECT, 0)
		if errors.Is(err, syscall.EINVAL) {
			err = fmt.Errorf("direct I/O on this file system: %w", errors.ErrUnsupported)
		}
		if err != nil {
			return err
		}
		defer files[i].Close()
	}
	buffers := make(chan []byte, directReaders)
	for range directReaders {
		buf, err := syscall.Mmap(-1, 0, blockSize+directAlign, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			return fmt.Errorf("a buffer of %d bytes: %w", blockSize+directAlign, err)
		}
		defer syscall.Munmap(buf)
		syscall.Madvise(buf, syscall.MADV_HUGEPAGE) // where there are none, it is slower
		buffers <- buf
	}
	blocks := b.blocks()
	err := inParallel(ctx, directReaders, len(blocks), func(i int) error {
		buf := <-buffers
		defer func() { buffers <- buf }()
		return b.readDirect(files[blocks[i].file], blocks[i], buf)
	})
	m.stop()
	return err
}

// blocks cuts the tensors into blocks, and joins those that follow each other.
func (b *benchmark) blocks() (blocks []block) {
	for i := range b.rows {
		r := &b.rows[i]
		for lo := r.Begin; lo < r.End; {
			if n := len(blocks); n > 0 && blocks[n-1].file == r.file && blocks[n-1].hi == lo && lo%blockSize != 0 {
				hi := min(r.End, (lo/blockSize+1)*blockSize)
				blocks[n-1].hi, lo = hi, hi
				continue
			}
			hi := min(r.End, (lo/blockSize+1)*blockSize)
			blocks = append(blocks, block{r.file, lo, hi})
			lo = hi
		}
	}
	return blocks
}

// readDirect reads a block into buf, with whatever else is needed to begin and
// end where the device wants it, and looks at it.
func (b *benchmark) readDirect(f *os.File, x block, buf []byte) error {
	at := x.lo / directAlign * directAlign
	buf = buf[:(x.hi-at+directAlign-1)/directAlign*directAlign]
	got := 0
	for int64(got) < x.hi-at {
		n, err := syscall.Pread(int(f.Fd()), buf[got:], at+int64(got))
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EINVAL && got == 0 {
			return fmt.Errorf("direct I/O on this file system: %w", errors.ErrUnsupported)
		}
		if err == nil && (n == 0 || n%directAlign != 0 && at+int64(got+n) < x.hi) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return b.fault(x.file, max(x.lo, at+int64(got+max(n, 0))), err)
		}
		got += n
	}
	pass(buf[x.lo-at : x.hi-at])
	return nil
}

// fault returns the error for what could not be read at an offset of a file.
func (b *benchmark) fault(file int, offset int64, err error) error {
	e := &loader.FaultError{Path: b.l.files[file].path, Offset: offset, Err: err}
	for i := range b.rows {
		if r := &b.rows[i]; r.file == file && r.Begin <= offset && offset < r.End {
			e.Tensor = r.Name
		}
	}
	return e
}

// cpuTime returns the processor time that the process has taken, on all threads.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// ownMemory returns the bytes of memory that hold no file's pages: the heap,
// stacks, buffers.
func ownMemory() (int64, error) {
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte("\nAnonymous:"))
	var kib int64
	if _, err := fmt.Sscanf(string(rest), "%d kB", &kib); err != nil {
		return 0, &fs.PathError{Op: "read", Path: "/proc/self/smaps_rollup", Err: err}
	}
	return kib << 10, nil
}
