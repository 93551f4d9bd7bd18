//go:build (386 || amd64 || arm || arm64 || loong64 || mips64le || mipsle || ppc64le || riscv64 || wasm) && !purego

package tensor

import (
	"fmt"
	"unsafe"
)

// cast returns a view of data as elements, or ErrAlign. The length of data is
// a multiple of the size of T.
func cast[T Element](data []byte) ([]T, error) {
	if len(data) == 0 {
		return []T{}, nil // wherever it would be
	}
	var zero T
	p, align := unsafe.Pointer(unsafe.SliceData(data)), unsafe.Alignof(zero)
	if past := uintptr(p) % align; past != 0 {
		return nil, fmt.Errorf("%w: its bytes start %d past a multiple of %d (Append copies them)", ErrAlign, past, align)
	}
	// SAFETY: p is aligned for T; the n elements lie within data, which the
	// result keeps alive; every bit pattern is a value of T, as no Element has
	// pointers; this machine is little-endian, as the bytes are.
	return unsafe.Slice((*T)(p), len(data)/int(unsafe.Sizeof(zero))), nil
}

// load copies the elements that data holds to dst, which is exactly as long.
func load[T Element](dst []T, data []byte) {
	var zero T
	// SAFETY: these are the bytes of dst, no more; see cast for the rest.
	copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), len(dst)*int(unsafe.Sizeof(zero))), data)
}
