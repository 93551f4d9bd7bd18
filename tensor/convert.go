package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
)

// AppendFloat32 appends the elements of t to dst as float32 values and returns
// the extended slice, growing it at most once. It works at any alignment and on
// every machine. The bytes of t must not lie in the spare capacity of dst.
//
// Every real element type is converted:
//   - The small floats have all their values in float32, so these are exact,
//     signed zeros included. A NaN of F16 or BF16 keeps its sign and its
//     payload, a signalling one stays signalling; of eight bits, it becomes the
//     quiet NaN of the same sign.
//   - F64 and integers are rounded to the nearest float32, ties to even. What is
//     too large in an F64 becomes an infinity.
//   - Bool gives 0 for a byte of zero and 1 for any other, as conversion from a
//     truth value does elsewhere. Use [Append] for the bytes as they are.
//
// Elements of less than a byte are read from the data as one little-endian bit
// string: element i of F4 is the low nibble of byte i/2 if i is even, and four
// elements of F6E2M3 or F6E3M2 are three bytes, the first in the lowest bits.
//
// The error is [ErrDType], for C64, which is not real. Then dst is returned as
// it was.
func AppendFloat32(dst []float32, t Tensor) ([]float32, error) {
	if !t.dtype.Valid() || t.dtype == C64 {
		return dst, fmt.Errorf("tensor %q: %w: no conversion from %v to float32", t.name, ErrDType, t.dtype)
	}
	dst, added := grow(dst, t.Len())
	convert(added, t.data, t.dtype)
	return dst, nil
}

// convert converts the elements in src, whose number is len(dst).
func convert(dst []float32, src []byte, d DType) {
	le := binary.LittleEndian
	switch d {
	case F32:
		load(dst, src)
	case BF16:
		convertBF16(dst, src)
	case F16:
		convertF16(dst, src)
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		}
	case I64:
		for i := range dst {
			dst[i] = float32(int64(le.Uint64(src[8*i:])))
		}
	case U64:
		for i := range dst {
			dst[i] = float32(le.Uint64(src[8*i:]))
		}
	case I32:
		for i := range dst {
			dst[i] = float32(int32(le.Uint32(src[4*i:])))
		}
	case U32:
		for i := range dst {
			dst[i] = float32(le.Uint32(src[4*i:]))
		}
	case I16:
		for i := range dst {
			dst[i] = float32(int16(le.Uint16(src[2*i:])))
		}
	case U16:
		for i := range dst {
			dst[i] = float32(le.Uint16(src[2*i:]))
		}
	case F4:
		convert4(dst, src, &lookup[d])
	case F6E2M3, F6E3M2:
		convert6(dst, src, &lookup[d])
	default:
		convert8(dst, src, &lookup[d])
	}
}

// The loops below take a word at a time, and arrays of known length in place of
// slices, so that the compiler leaves one bounds check an iteration: that makes
// them two to three times as fast as the loops above.

func convertBF16(dst []float32, src []byte) {
	for len(dst) >= 4 && len(src) >= 8 {
		x, d := binary.LittleEndian.Uint64(src), (*[4]float32)(dst)
		d[0] = math.Float32frombits(uint32(x) << 16)
		d[1] = math.Float32frombits(uint32(x) & 0xffff0000)
		d[2] = math.Float32frombits(uint32(x>>16) & 0xffff0000)
		d[3] = math.Float32frombits(uint32(x>>32) & 0xffff0000)
		dst, src = dst[4:], src[8:]
	}
	for i := range dst {
		dst[i] = BFloat16(binary.LittleEndian.Uint16(src[2*i:])).Float32()
	}
}

func convertF16(dst []float32, src []byte) {
	t := lookup16()
	for len(dst) >= 4 && len(src) >= 8 {
		x, d := binary.LittleEndian.Uint64(src), (*[4]float32)(dst)
		d[0] = t[uint16(x)]
		d[1] = t[uint16(x>>16)]
		d[2] = t[uint16(x>>32)]
		d[3] = t[uint16(x>>48)]
		dst, src = dst[4:], src[8:]
	}
	for i := range dst {
		dst[i] = t[binary.LittleEndian.Uint16(src[2*i:])]
	}
}

func convert8(dst []float32, src []byte, t *[256]float32) {
	for len(dst) >= 8 && len(src) >= 8 {
		x, d := binary.LittleEndian.Uint64(src), (*[8]float32)(dst)
		d[0] = t[uint8(x)]
		d[1] = t[uint8(x>>8)]
		d[2] = t[uint8(x>>16)]
		d[3] = t[uint8(x>>24)]
		d[4] = t[uint8(x>>32)]
		d[5] = t[uint8(x>>40)]
		d[6] = t[uint8(x>>48)]
		d[7] = t[uint8(x>>56)]
		dst, src = dst[8:], src[8:]
	}
	for i := range dst {
		dst[i] = t[src[i]]
	}
}

func convert6(dst []float32, src []byte, t *[256]float32) {
	for len(dst) >= 4 && len(src) >= 3 {
		s, d := (*[3]byte)(src), (*[4]float32)(dst)
		x := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16
		d[0] = t[x&63]
		d[1] = t[x>>6&63]
		d[2] = t[x>>12&63]
		d[3] = t[x>>18&63]
		dst, src = dst[4:], src[3:]
	}
}

func convert4(dst []float32, src []byte, t *[256]float32) {
	for i, x := range src {
		d := (*[2]float32)(dst[2*i:])
		d[0] = t[x&15]
		d[1] = t[x>>4]
	}
}
