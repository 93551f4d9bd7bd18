package tensor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/x448/float16"
)

var (
	// ErrAlign is returned by [Of] where the elements do not lie as Go needs
	// them to. Files may place tensors at any byte; [Append] does not mind.
	ErrAlign = errors.New("misaligned")
	// ErrByteOrder is returned by [Of] where the bytes of a tensor cannot be
	// elements as they lie: on big-endian machines and in purego builds.
	ErrByteOrder = errors.New("no view without copying on this platform")
)

// Element lists the Go types that stand for an element type of a tensor. F4,
// F6E2M3 and F6E3M2 have none, being smaller than a byte: [AppendFloat32]
// converts them and [Tensor.Bytes] gives them packed.
type Element interface {
	int8 | int16 | int32 | int64 |
		uint8 | uint16 | uint32 | uint64 |
		float32 | float64 | complex64 |
		float16.Float16 | BFloat16 |
		Float8E4M3 | Float8E5M2 | Float8E8M0 | Float8E4M3FNUZ | Float8E5M2FNUZ
}

// dtypeOf returns the element type that T stands for.
func dtypeOf[T Element]() DType {
	switch any((*T)(nil)).(type) {
	case *int8:
		return I8
	case *int16:
		return I16
	case *int32:
		return I32
	case *int64:
		return I64
	case *uint8:
		return U8
	case *uint16:
		return U16
	case *uint32:
		return U32
	case *uint64:
		return U64
	case *float32:
		return F32
	case *float64:
		return F64
	case *complex64:
		return C64
	case *float16.Float16:
		return F16
	case *BFloat16:
		return BF16
	case *Float8E4M3:
		return F8E4M3
	case *Float8E5M2:
		return F8E5M2
	case *Float8E8M0:
		return F8E8M0
	case *Float8E4M3FNUZ:
		return F8E4M3FNUZ
	case *Float8E5M2FNUZ:
		return F8E5M2FNUZ
	}
	panic("tensor: an Element without a DType")
}

// Of returns the elements of t as a slice of Go values. It is a view: it copies
// and allocates nothing, never converts, shares the bytes of t and is valid as
// long as they are. Its capacity equals its length. A tensor without elements
// gives an empty slice that is not nil.
//
// T must be the type of the elements; uint8 serves Bool too, whose bytes need
// not be 0 and 1. On big-endian machines and in builds with the tag purego only
// uint8 can be viewed.
//
// Errors: [ErrDType]; [ErrByteOrder]; [ErrAlign] where the first element is not
// at a multiple of T's alignment, which a file does not promise. [Append] works
// in the last two cases.
func Of[T Element](t Tensor) ([]T, error) {
	if err := t.holds(dtypeOf[T]()); err != nil {
		return nil, err
	}
	s, err := cast[T](t.data)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.name, err)
	}
	return s, nil
}

// Append appends copies of the elements of t to dst and returns the extended
// slice, growing it at most once. It does what [Of] does by copying, so it
// works at any alignment and on every machine. The error is [ErrDType], and
// dst is then returned as it was.
func Append[T Element](dst []T, t Tensor) ([]T, error) {
	if err := t.holds(dtypeOf[T]()); err != nil {
		return dst, err
	}
	dst, added := grow(dst, t.Len())
	load(added, t.data)
	return dst, nil
}

// holds returns an ErrDType if the elements of t may not be taken for d.
func (t Tensor) holds(d DType) error {
	if t.dtype == d || t.dtype == Bool && d == U8 {
		return nil
	}
	return fmt.Errorf("tensor %q: %w: its elements are %v, not %v", t.name, ErrDType, t.dtype, d)
}

// grow makes dst longer by n elements and returns it with those elements.
func grow[T any](dst []T, n int) (all, added []T) {
	all = slices.Grow(dst, n)[:len(dst)+n]
	return all, all[len(dst):]
}
