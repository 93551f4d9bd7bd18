package tensor

import (
	"errors"
	"fmt"
	"math/bits"
)

// Tensor is a view of an array of weights: a name, an element type, a shape
// and the bytes of the elements, little-endian and in C order. Copying a Tensor
// copies no data. Its methods may be called from any goroutine; whether the
// bytes may be is up to their owner.
type Tensor struct {
	name  string
	dtype DType
	shape []int
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
// an empty shape is a scalar. It keeps shape and data, which must not change
// shape afterwards, and allocates nothing. len(data) must be exactly what d
// and shape imply.
//
// Errors: [ErrDType], [ErrSize], and [ErrSubByte] where d has less than eight
// bits and the elements do not fill whole bytes.
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
	return Tensor{name, d, shape, data[:len(data):len(data)]}, nil
}

// size returns how many bytes elements of type d in the given shape take.
func size(d DType, shape []int) (uint64, error) {
	n := uint64(d.Bits())
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("%w: negative dimension in shape %v", ErrRange, shape)
		}
		if dim == 0 {
			return 0, nil
		}
	}
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
// belongs to the tensor and must not be modified.
func (t Tensor) Shape() []int { return t.shape[:len(t.shape):len(t.shape)] }

// Len returns the number of elements: the product of the shape.
func (t Tensor) Len() int {
	if t.dtype == 0 {
		return 0
	}
	return len(t.data) * 8 / t.dtype.Bits()
}

// Bytes returns the elements as they are stored, without copying. The capacity
// equals the length. Whether the bytes may be written is up to their owner.
func (t Tensor) Bytes() []byte { return t.data }
