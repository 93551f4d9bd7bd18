//go:build linux || darwin || windows

package loader

import (
	"sync"
	"unsafe"
)

// retired are the ranges of address space whose models are closed, the oldest
// first. They stay reserved, up to a limit, so that nothing else appears where a
// stale slice points.
var retired = struct {
	sync.Mutex
	ranges []span
	bytes  uint64
	limit  uint64 // replaced by tests
}{limit: min(1<<40, uint64(^uintptr(0))>>6)} // 1 TiB; with 32 bits 64 MiB

type span struct {
	base   unsafe.Pointer
	length uintptr
}

// retire makes a range unreadable and keeps it reserved for as long as the
// limit allows.
func retire(base unsafe.Pointer, length uintptr) {
	if blank(base, length) != nil {
		return // it stays mapped: a leak, but never another model's bytes
	}
	retired.Lock()
	defer retired.Unlock()
	retired.ranges = append(retired.ranges, span{base, length})
	retired.bytes += uint64(length)
	for retired.bytes > retired.limit {
		oldest := retired.ranges[0]
		retired.ranges = retired.ranges[1:]
		retired.bytes -= uint64(oldest.length)
		unreserve(oldest.base, oldest.length)
	}
}
