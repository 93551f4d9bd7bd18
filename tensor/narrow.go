package tensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrOverflow is returned by [AppendCast] for a value beyond the largest of an element type.
var ErrOverflow = errors.New("value too large")

// AppendCast appends values to dst as the data of a tensor of type d, and
// returns the extended slice, growing it at most once. It is the way back from
// [AppendFloat32]; d is F32, which changes nothing, BF16, F16, F8E4M3 or F8E5M2.
//
// Each value is rounded to the nearest of d, ties to even. Where that would be
// beyond the largest finite value of d, saturate takes the largest in its place,
// and else the error is [ErrOverflow] and names the value. Infinities stay what
// they are, but F8E4M3 has none: there they are such values. A NaN keeps its
// sign and as much of its payload as fits.
//
// With an error, which is [ErrDType] for other types, dst is returned as it was.
func AppendCast(dst []byte, d DType, values []float32, saturate bool) ([]byte, error) {
	if d == F32 {
		dst, added := grow(dst, 4*len(values))
		storeF32(added, values)
		return dst, nil
	}
	if int(d) >= len(narrowed) || narrowed[d].run == nil {
		return dst, fmt.Errorf("%w: no conversion from float32 to %v", ErrDType, d)
	}
	all, added := grow(dst, len(values)*d.Bits()/8)
	if n := narrowed[d].cast(added, values, saturate); n < len(values) {
		return dst, fmt.Errorf("%w: element %d is %v, and the largest %v is %v", ErrOverflow, n, values[n], d, narrowed[d].largest())
	}
	return all, nil
}

// A narrow says how the bits of a float lie below its sign, which is the top
// bit of its bytes: those of the mantissa, and the bias of the exponent above it.
type narrow struct {
	man, bias uint32
	max       uint32 // the largest finite value
	inf       uint32 // infinity; 0 if there is none
	nan       uint32 // the quiet NaN
	bytes     int    // in a value

	// run converts src up to the first four of which one is not finite or too
	// large, and returns how many it has converted.
	run func(dst []byte, src []float32) int
}

var narrowed = [...]narrow{
	BF16:   {7, 127, 0x7f7f, 0x7f80, 0x7fc0, 2, runBF16},
	F16:    {10, 15, 0x7bff, 0x7c00, 0x7e00, 2, runF16},
	F8E4M3: {3, 7, 0x7e, 0, 0x7f, 1, runE4M3},
	F8E5M2: {2, 15, 0x7b, 0x7c, 0x7e, 1, runE5M2},
}

func (f *narrow) largest() float32 {
	return math.Float32frombits(f.max<<(23-f.man) + (127-f.bias)<<23)
}

// cast converts src to dst and returns how many elements it has converted: all,
// or those before the first that is too large.
func (f *narrow) cast(dst []byte, src []float32, saturate bool) int {
	n := 0
	for n < len(src) {
		n += f.run(dst[n*f.bytes:], src[n:])
		for end := min(n+4, len(src)); n < end; n++ {
			x, ok := f.one(src[n], saturate)
			if !ok {
				return n
			}
			if f.bytes == 1 {
				dst[n] = uint8(x)
			} else {
				binary.LittleEndian.PutUint16(dst[2*n:], uint16(x))
			}
		}
	}
	return n
}

// one converts one value. It is false if that is too large and shall not be saturated.
func (f *narrow) one(v float32, saturate bool) (bits uint32, ok bool) {
	const inf = 0x7f800000
	sign, abs := split(v)
	sign = sign >> 31 << (8*f.bytes - 1)
	r := round(abs, 23-f.man, (127-f.bias)<<23)
	switch {
	case r <= f.max:
		return sign | r, true
	case abs > inf && f.inf != 0 && abs>>(23-f.man)&(1<<f.man-1) != 0:
		return sign | f.inf | abs>>(23-f.man)&(1<<f.man-1), true
	case abs > inf:
		return sign | f.nan, true
	case abs == inf && f.inf != 0:
		return sign | f.inf, true
	}
	return sign | f.max, saturate
}

// split returns the sign bit of a float32 and its other bits.
func split(v float32) (sign, abs uint32) {
	x := math.Float32bits(v)
	return x & (1 << 31), x &^ (1 << 31)
}

// round rounds a float32, given as its bits without the sign, to one of another
// type: the bits below the last that stays number shift, and base is what lies
// between the biases of the exponents. What is not finite or too large comes out
// larger than the largest value of the type.
func round(abs, shift, base uint32) uint32 {
	r := (abs - base + abs>>shift&1 + 1<<shift/2 - 1) >> shift
	// A subnormal is added to a number whose last bit is worth as much as the last
	// of the result: the processor rounds the sum to that.
	one := base + (1+shift)<<23
	s := math.Float32bits(math.Float32frombits(abs)+math.Float32frombits(one)) - one
	if abs < base+1<<23 {
		r = s
	}
	return r
}

// runBF16 rounds two values in a word at once: the exponent being the same, all
// that there is to do is to add half of the last bit, and to cut.
func runBF16(dst []byte, src []float32) (n int) {
	const each = 1<<32 + 1 // times a number: that number in both halves
	for len(src) >= 4 && len(dst) >= 8 {
		s := (*[4]float32)(src)
		x := uint64(math.Float32bits(s[0])) | uint64(math.Float32bits(s[1]))<<32
		y := uint64(math.Float32bits(s[2])) | uint64(math.Float32bits(s[3]))<<32
		// Without the signs no half overflows.
		a := x&^(1<<31*each) + 0x7fff*each + x>>16&each
		b := y&^(1<<31*each) + 0x7fff*each + y>>16&each
		if ((a+1<<23*each)|(b+1<<23*each))&(1<<31*each) != 0 {
			break // an exponent of all ones
		}
		a, b = a|x&(1<<31*each), b|y&(1<<31*each)
		binary.LittleEndian.PutUint64(dst, a>>16&0xffff|a>>32&0xffff0000|(b>>16&0xffff|b>>32&0xffff0000)<<32)
		dst, src, n = dst[8:], src[4:], n+4
	}
	return n
}

func runF16(dst []byte, src []float32) (n int) {
	for len(src) >= 4 && len(dst) >= 8 {
		s := (*[4]float32)(src)
		s0, a0 := split(s[0])
		s1, a1 := split(s[1])
		s2, a2 := split(s[2])
		s3, a3 := split(s[3])
		r0, r1, r2, r3 := round(a0, 13, 112<<23), round(a1, 13, 112<<23), round(a2, 13, 112<<23), round(a3, 13, 112<<23)
		if max(r0, r1, r2, r3) > 0x7bff {
			break
		}
		lo, hi := s0>>16|r0|s1|r1<<16, s2>>16|r2|s3|r3<<16
		binary.LittleEndian.PutUint64(dst, uint64(hi)<<32|uint64(lo))
		dst, src, n = dst[8:], src[4:], n+4
	}
	return n
}

func runE4M3(dst []byte, src []float32) (n int) {
	for len(src) >= 4 && len(dst) >= 4 {
		s := (*[4]float32)(src)
		s0, a0 := split(s[0])
		s1, a1 := split(s[1])
		s2, a2 := split(s[2])
		s3, a3 := split(s[3])
		r0, r1, r2, r3 := round(a0, 20, 120<<23), round(a1, 20, 120<<23), round(a2, 20, 120<<23), round(a3, 20, 120<<23)
		if max(r0, r1, r2, r3) > 0x7e {
			break
		}
		binary.LittleEndian.PutUint32(dst, s0>>24|r0|s1>>16|r1<<8|s2>>8|r2<<16|s3|r3<<24)
		dst, src, n = dst[4:], src[4:], n+4
	}
	return n
}

func runE5M2(dst []byte, src []float32) (n int) {
	for len(src) >= 4 && len(dst) >= 4 {
		s := (*[4]float32)(src)
		s0, a0 := split(s[0])
		s1, a1 := split(s[1])
		s2, a2 := split(s[2])
		s3, a3 := split(s[3])
		r0, r1, r2, r3 := round(a0, 21, 112<<23), round(a1, 21, 112<<23), round(a2, 21, 112<<23), round(a3, 21, 112<<23)
		if max(r0, r1, r2, r3) > 0x7b {
			break
		}
		binary.LittleEndian.PutUint32(dst, s0>>24|r0|s1>>16|r1<<8|s2>>8|r2<<16|s3|r3<<24)
		dst, src, n = dst[4:], src[4:], n+4
	}
	return n
}

func storeF32(dst []byte, src []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}
