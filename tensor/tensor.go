package tensor

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// Tensor is a view of an array of weights: a name, an element type, a shape
// and the bytes of the elements, little-endian and in C order. Copying a Tensor
// copies no data. Its methods may be called from any goroutine; whether the
// bytes may be is up to their owner.
type Tensor struct {
	name  string
	dtype DType
	rows  int   // the first dimension; not shape[0] after Rows, which must not allocate
	shape []int // of the tensor that this one is rows of
	data  []byte
}

var (
	// ErrSize is returned where the number of bytes is not what element type and shape imply.
	ErrSize = errors.New("wrong number of bytes")
	// ErrSubByte is returned where elements of less than a byte would have to be cut inside a byte.
	ErrSubByte = errors.New("not on a byte boundary")
	// ErrRange is returned for an index outside its dimension.
	ErrRange = errors.New("out of range")
	// ErrRank is returned where there are more selections than dimensions.
	ErrRank = errors.New("too few dimensions")
)

// New returns a view of data as a tensor of the given element type and shape;
// an empty shape is a scalar. len(data) must be exactly what d and shape imply.
// It allocates nothing and keeps shape and data: the shape must not be modified
// afterwards.
//
// Errors: [ErrDType]; [ErrRange] for a negative dimension; [ErrSize];
// [ErrSubByte] where d has less than eight bits and the elements do not fill
// whole bytes.
func New(name string, d DType, shape []int, data []byte) (Tensor, error) {
	if !d.Valid() {
		return Tensor{}, fmt.Errorf("tensor %q: %w: %v", name, ErrDType, d)
	}
	n, err := size(d, shape)
	if err != nil {
		return Tensor{}, fmt.Errorf("tensor %q: %w", name, err)
	}
	if uint64(len(data)) != n {
		return Tensor{}, fmt.Errorf("tensor %q: %w: %d, but %v %v needs %d", name, ErrSize, len(data), d, shape, n)
	}
	if elements := n * 8 / uint64(d.Bits()); elements > math.MaxInt {
		return Tensor{}, fmt.Errorf("tensor %q: %w: %d elements are more than an int counts here", name, ErrSize, elements)
	}
	t := Tensor{name: name, dtype: d, shape: shape, data: data[:len(data):len(data)]}
	if len(shape) > 0 {
		t.rows = shape[0]
	}
	return t, nil
}

// size returns how many bytes elements of type d in the given shape take.
func size(d DType, shape []int) (uint64, error) {
	empty := false
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("%w: negative dimension in shape %v", ErrRange, shape)
		}
		empty = empty || dim == 0
	}
	if empty {
		return 0, nil // however large the other dimensions
	}
	n := uint64(d.Bits())
	for _, dim := range shape {
		hi, lo := bits.Mul64(n, uint64(dim))
		if hi != 0 {
			return 0, fmt.Errorf("%w: %v %v takes 2^61 bytes or more", ErrSize, d, shape)
		}
		n = lo
	}
	if n%8 != 0 {
		return 0, fmt.Errorf("%w: %v %v takes %d bits", ErrSubByte, d, shape, n)
	}
	return n / 8, nil
}

// Name returns the name that the tensor was made with.
func (t Tensor) Name() string { return t.name }

// DType returns the element type.
func (t Tensor) DType() DType { return t.dtype }

// Shape returns the dimensions, outermost first; empty for a scalar. The slice
// must not be modified: it is the one that [New] was given. Only for a tensor
// that Rows cut is it made anew by each call.
func (t Tensor) Shape() []int {
	if len(t.shape) == 0 || t.rows == t.shape[0] {
		return t.shape[:len(t.shape):len(t.shape)]
	}
	shape := slices.Clone(t.shape)
	shape[0] = t.rows
	return slices.Clip(shape)
}

// Len returns the number of elements: the product of the shape.
func (t Tensor) Len() int {
	if t.dtype == 0 {
		return 0
	}
	return int(uint64(len(t.data)) * 8 / uint64(t.dtype.Bits()))
}

// Bytes returns the elements as they are stored, without copying. The capacity
// equals the length. Whether the bytes may be written is up to their owner.
func (t Tensor) Bytes() []byte { return t.data }

// String returns name, element type and shape, as in
//
//	"h.0.w" F32 [4 8]
//
// so that printing a Tensor does not print its data, which may be gigabytes.
func (t Tensor) String() string { return fmt.Sprintf("%q %v %v", t.name, t.dtype, t.Shape()) }
