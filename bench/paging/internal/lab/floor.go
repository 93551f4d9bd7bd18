//go:build linux

package lab

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Extent is the bytes [Lo, Hi) of a file.
type Extent struct{ Lo, Hi int64 }

const (
	floorThreads = 4
	floorBlock   = 8 << 20
	sector       = 4096
)

// Floor reads with O_DIRECT: 4 threads, 8 MiB at a time, into memory of huge
// pages that is used again and again. Nothing that fills memory from a disk is
// faster, and nobody can use what it has read: it is overwritten.
type Floor struct {
	fd      int
	size    int64
	buffers [floorThreads][]byte
}

// NewFloor prepares for reading the file.
func NewFloor(path string) *Floor {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT, 0)
	Check(err)
	var s unix.Stat_t
	Check(unix.Fstat(fd, &s))
	f := &Floor{fd: fd, size: s.Size}
	b, err := unix.Mmap(-1, 0, (floorThreads+1)*floorBlock, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	Check(err)
	const huge = 2 << 20
	b = b[-uintptr(unsafe.Pointer(&b[0]))%huge:]
	Check(unix.Madvise(b[:floorThreads*floorBlock], unix.MADV_HUGEPAGE))
	Check(unix.Madvise(b[:floorThreads*floorBlock], unix.MADV_POPULATE_WRITE))
	for i := range f.buffers {
		f.buffers[i] = b[i*floorBlock:][:floorBlock]
	}
	return f
}

// Whole is the file as one extent.
func (f *Floor) Whole() []Extent { return []Extent{{0, f.size}} }

// Read reads the extents, rounded out to sectors.
func (f *Floor) Read(extents []Extent) {
	blocks := Cut(extents, floorBlock)
	var cursor atomic.Int64
	var g sync.WaitGroup
	for _, buffer := range f.buffers {
		g.Go(func() {
			for {
				i := cursor.Add(1) - 1
				if i >= int64(len(blocks)) {
					return
				}
				lo, hi := blocks[i].Lo, blocks[i].Hi
				lo, hi = lo&^(sector-1), (hi+sector-1)&^(sector-1)
				for end := min(hi, f.size); lo < end; {
					n, err := unix.Pread(f.fd, buffer[:min(hi-lo, floorBlock)], lo)
					Check(err)
					lo += int64(n)
				}
			}
		})
	}
	g.Wait()
}

// Cut cuts extents into pieces of at most n bytes, which end at multiples of n in the file.
func Cut(extents []Extent, n int64) (pieces []Extent) {
	for _, x := range extents {
		for lo := x.Lo; lo < x.Hi; {
			hi := min((lo/n+1)*n, x.Hi)
			pieces = append(pieces, Extent{lo, hi})
			lo = hi
		}
	}
	return pieces
}

// Map maps the file at a multiple of 2 MiB, as plain programs do not bother to
// but as kernels do for them on most file systems.
func Map(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	Check(err)
	defer unix.Close(fd)
	var s unix.Stat_t
	Check(unix.Fstat(fd, &s))
	const huge = 2 << 20
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(s.Size)+huge, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	Check(err)
	at := unsafe.Add(p, -uintptr(p)%huge)
	_, err = unix.MmapPtr(fd, 0, at, uintptr(s.Size), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_FIXED)
	Check(err)
	return unsafe.Slice((*byte)(at), s.Size)
}

// Unmap undoes Map, but for the address space.
func Unmap(b []byte) { Check(unix.MunmapPtr(unsafe.Pointer(&b[0]), uintptr(len(b)))) }

var sink atomic.Uint32

// Touch reads a byte of every page of the extents, from two goroutines.
func Touch(b []byte, extents []Extent) {
	pieces := Cut(extents, floorBlock)
	var cursor atomic.Int64
	var g sync.WaitGroup
	for range 2 {
		g.Go(func() {
			var sum uint32
			for {
				i := cursor.Add(1) - 1
				if i >= int64(len(pieces)) {
					sink.Add(sum)
					return
				}
				for at := pieces[i].Lo; at < pieces[i].Hi; at += sector {
					sum += uint32(b[at])
				}
			}
		})
	}
	g.Wait()
}
