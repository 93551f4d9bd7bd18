package loader

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errFault says that a page could not be supplied.
const errFault = unix.EFAULT

// madvise is replaced by tests, to fail as older kernels do.
var madvise = unix.Madvise

// adviseHuge gives a new mapping its hints: a touch brings in the huge page
// around it, whatever the read-ahead of the device, and nothing beyond. Without
// MADV_RANDOM it is six times as much where that read-ahead is large, and
// touching everything in order is no faster.
func adviseHuge(b []byte) {
	if madvise(b, unix.MADV_HUGEPAGE) == nil && hugeReads() {
		madvise(b, unix.MADV_RANDOM)
	}
}

// hugeReads reports whether a fault in a mapping with MADV_HUGEPAGE reads a huge
// page: since Linux 5.18, where huge pages have 2 MiB or less. Elsewhere
// MADV_RANDOM would have every page read by itself, 30 times as slow.
var hugeReads = sync.OnceValue(func() bool {
	size, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
	if err != nil {
		return false
	}
	var u unix.Utsname
	var n, major, minor int
	if _, err := fmt.Sscan(string(size), &n); err != nil || n > hugePage || unix.Uname(&u) != nil {
		return false
	}
	_, err = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 5 || major == 5 && minor >= 18)
})

// populate returns once b, which begins a page, is in memory and mapped: errFault
// if that is impossible, ErrUnsupported if the kernel cannot do it (MADV_POPULATE_READ: Linux 5.14).
func populate(b []byte) error {
	for {
		switch err := madvise(b, unix.MADV_POPULATE_READ); err {
		case unix.EINTR, unix.EAGAIN:
		case unix.EINVAL:
			return errors.ErrUnsupported
		default:
			return err
		}
	}
}

// request asks the kernel for the pages of the extent, and no others, without
// waiting for them.
func (x extent) request() {
	// What one call fetches is limited by the device's read-ahead or its largest
	// request, which are rarely less than this, and what it leaves out is
	// fetched when it is populated.
	const most = 128 << 10
	b := x.pages()
	for len(b) > 0 {
		n := min(len(b), most)
		madvise(b[:n], unix.MADV_WILLNEED)
		b = b[n:]
	}
}

// canPopulate reports whether the kernel knows MADV_POPULATE_READ.
func canPopulate() bool {
	b := make([]byte, 2*pageSize)
	// SAFETY: the address is looked at as a number, to find the page that begins in b.
	skip := -uintptr(unsafe.Pointer(&b[0])) % uintptr(pageSize)
	return !errors.Is(populate(b[skip:][:pageSize]), errors.ErrUnsupported)
}

// mapLimit names the limit on mappings.
func mapLimit() string {
	n, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		return "too little memory, or too many mappings"
	}
	return fmt.Sprintf("too little memory, or more mappings than vm.max_map_count: %s", bytes.TrimSpace(n))
}

// resident returns how many bytes of the extent are in the page cache. Where
// not all of its pages are, those at its edges, which it shares, are looked at
// by themselves.
func (x extent) resident() (int64, error) {
	page := int64(pageSize)
	lo, hi := x.lo/page*page, (x.hi+page-1)/page*page // rounded out
	all, err := x.file.cachedPages(lo, hi)
	if err != nil || all == 0 {
		return 0, err
	}
	if all == (hi-lo)/page {
		return x.hi - x.lo, nil
	}
	n := all * page
	for _, edge := range []struct{ at, excess int64 }{{lo, x.lo - lo}, {hi - page, hi - x.hi}} {
		cached, err := x.file.cachedPages(edge.at, edge.at+page)
		if err != nil {
			return 0, err
		}
		n -= cached * edge.excess
	}
	return n, nil
}

// cachestat is replaced by tests, to fail as older kernels do.
var cachestat = unix.Cachestat

// cachedPages returns how many of the pages in [lo, hi), which is not empty,
// are in the page cache: by cachestat(2) (Linux 6.5), which does not look
// through overlayfs (Linux 6.18), else by mincore(2).
func (f *file) cachedPages(lo, hi int64) (int64, error) {
	if f.system == fileSystems[unix.OVERLAYFS_SUPER_MAGIC] {
		return f.mincore(lo, hi)
	}
	var c unix.Cachestat_t
	err := cachestat(uint(f.f.Fd()), &unix.CachestatRange{Off: uint64(lo), Len: uint64(hi - lo)}, &c, 0)
	if err == unix.ENOSYS {
		return f.mincore(lo, hi)
	}
	if err != nil {
		return 0, pathError("resident", f.path, err)
	}
	return int64(c.Cache), nil
}

// mincore is cachedPages for kernels and file systems on which cachestat does
// not help. The kernel tells the truth only to the owner of a file and to those
// who may write it, and tells others that all is resident.
func (f *file) mincore(lo, hi int64) (n int64, err error) {
	fd := int(f.f.Fd())
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return 0, pathError("resident", f.path, err)
	}
	if euid := os.Geteuid(); euid != 0 && uint32(euid) != s.Uid &&
		unix.Faccessat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.W_OK, unix.AT_EACCESS) != nil {
		return 0, pathError("resident", f.path, fmt.Errorf("%w: only the owner of the file and those who may write it are told", fs.ErrPermission))
	}
	vec := make([]byte, min((hi-lo)/int64(pageSize), 64<<10))
	for lo < hi {
		pages := min((hi-lo)/int64(pageSize), int64(len(vec)))
		// SAFETY: lo begins a page of the mapping and the pages are within it; vec has room for them.
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&f.data[lo])), uintptr(pages)*uintptr(pageSize), uintptr(unsafe.Pointer(&vec[0])))
		if errno != 0 {
			return 0, pathError("resident", f.path, errno)
		}
		for _, v := range vec[:pages] {
			n += int64(v & 1)
		}
		lo += pages * int64(pageSize)
	}
	return n, nil
}

// drop gives the whole pages of the extent back: first from this mapping,
// because the page cache keeps what is mapped, then from the cache.
func (x extent) drop() error {
	page := int64(pageSize)
	lo, hi := (x.lo+page-1)/page*page, x.hi/page*page // rounded in
	if x.hi == x.file.id.size {
		hi = x.hi // no neighbour has a part of the last page
	}
	if lo >= hi {
		return nil
	}
	if err := madvise(x.file.data[lo:hi], unix.MADV_DONTNEED); err != nil {
		return err
	}
	return unix.Fadvise(int(x.file.f.Fd()), lo, hi-lo, unix.FADV_DONTNEED)
}

var advices = [...]int{
	Normal:     unix.MADV_NORMAL,
	Sequential: unix.MADV_SEQUENTIAL,
	Random:     unix.MADV_RANDOM,
	HugePage:   unix.MADV_HUGEPAGE,
	NoHugePage: unix.MADV_NOHUGEPAGE,
	Cold:       unix.MADV_COLD,
}

func (x extent) advise(a Advice) error {
	if int(a) >= len(advices) {
		return errors.ErrUnsupported
	}
	err := madvise(x.pages(), advices[a])
	if err == nil && a == NoHugePage {
		err = madvise(x.pages(), unix.MADV_NORMAL) // small pages without read-ahead would be one request each
	}
	if err == unix.EINVAL {
		return errors.ErrUnsupported
	}
	return err
}
