package tensor

import (
	"math"
	"strconv"
	"sync"
)

// BFloat16 is the upper half of a float32: 1 sign, 8 exponent, 7 mantissa bits.
type BFloat16 uint16

// Float8E4M3 is the OCP 8-bit float with 4 exponent and 3 mantissa bits, also
// called e4m3fn: no infinities, largest value 448, NaN is 0x7f and 0xff.
type Float8E4M3 uint8

// Float8E5M2 is the OCP 8-bit float with 5 exponent and 2 mantissa bits. It has
// infinities and NaNs as IEEE 754 has them; its largest finite value is 57344.
type Float8E5M2 uint8

// Float8E8M0 is the scale of OCP MX blocks: a power of two from 2^-127 (0x00)
// to 2^127 (0xfe), with neither sign nor zero; 0xff is NaN.
type Float8E8M0 uint8

// Float8E4M3FNUZ is as [Float8E4M3] with the exponent bias 8 in place of 7: the
// largest value is 240, and there is no negative zero: 0x80 is the only NaN.
type Float8E4M3FNUZ uint8

// Float8E5M2FNUZ is as [Float8E5M2] with the exponent bias 16 in place of 15,
// without infinities and negative zero: 0x80 is the only NaN.
type Float8E5M2FNUZ uint8

// Float32 returns the same value as a float32, NaNs bit for bit.
func (x BFloat16) Float32() float32 { return math.Float32frombits(uint32(x) << 16) }

// Float32 returns the same value as a float32; a NaN is quiet and keeps its sign.
func (x Float8E4M3) Float32() float32 { return lookup[F8E4M3][x] }

// Float32 returns the same value as a float32; a NaN is quiet and keeps its sign.
func (x Float8E5M2) Float32() float32 { return lookup[F8E5M2][x] }

// Float32 returns the same value as a float32; 2^-127 is subnormal there.
func (x Float8E8M0) Float32() float32 { return lookup[F8E8M0][x] }

// Float32 returns the same value as a float32; a NaN is quiet and has the sign bit set.
func (x Float8E4M3FNUZ) Float32() float32 { return lookup[F8E4M3FNUZ][x] }

// Float32 returns the same value as a float32; a NaN is quiet and has the sign bit set.
func (x Float8E5M2FNUZ) Float32() float32 { return lookup[F8E5M2FNUZ][x] }

// String returns the value in decimal, as short as identifies it among float32 values.
func (x BFloat16) String() string { return format(x.Float32()) }

// String returns the value in decimal, as short as identifies it among float32 values.
func (x Float8E4M3) String() string { return format(x.Float32()) }

// String returns the value in decimal, as short as identifies it among float32 values.
func (x Float8E5M2) String() string { return format(x.Float32()) }

// String returns the value in decimal, as short as identifies it among float32 values.
func (x Float8E8M0) String() string { return format(x.Float32()) }

// String returns the value in decimal, as short as identifies it among float32 values.
func (x Float8E4M3FNUZ) String() string { return format(x.Float32()) }

// String returns the value in decimal, as short as identifies it among float32 values.
func (x Float8E5M2FNUZ) String() string { return format(x.Float32()) }

func format(f float32) string { return strconv.FormatFloat(float64(f), 'g', -1, 32) }

// A smallFloat says how the bits of a float of at most eight bits are read. From
// the top they are a sign (where there is a bit left for it), an exponent and a
// mantissa. Exponent 0 is for subnormals, unless there is no mantissa.
type smallFloat struct {
	exp, man uint // widths in bits
	bias     int
	special  special
}

// special is the kind of values that are not finite.
type special uint8

const (
	none    special = iota
	ieee            // exponent all ones: infinity if the mantissa is zero, else NaN
	allOnes         // exponent and mantissa all ones: NaN
	negZero         // what would be negative zero: NaN
)

// smallFloats is the one table of them: everything else is derived from it.
var smallFloats = [...]smallFloat{
	F4:         {2, 1, 1, none},
	F6E2M3:     {2, 3, 1, none},
	F6E3M2:     {3, 2, 3, none},
	F8E5M2:     {5, 2, 15, ieee},
	F8E4M3:     {4, 3, 7, allOnes},
	F8E8M0:     {8, 0, 127, allOnes},
	F8E4M3FNUZ: {4, 3, 8, negZero},
	F8E5M2FNUZ: {5, 2, 16, negZero},
}

// float32 returns the value of x. A NaN is quiet and has the sign of x.
func (f smallFloat) float32(x uint32) float32 {
	var (
		sign = x >> (f.exp + f.man)
		abs  = x & (1<<(f.exp+f.man) - 1)
		exp  = abs >> f.man
		man  = abs & (1<<f.man - 1)
		top  = uint32(1)<<f.exp - 1
	)
	bits := uint32(0x7fc00000) // NaN
	switch {
	case f.special == ieee && exp == top && man != 0:
	case f.special == allOnes && abs == 1<<(f.exp+f.man)-1:
	case f.special == negZero && sign == 1 && abs == 0:
	case f.special == ieee && exp == top:
		bits = 0x7f800000
	default:
		if exp > 0 || f.man == 0 {
			man |= 1 << f.man
		} else {
			exp = 1
		}
		// man * 2^(exp-bias-width), exact in float64 and in float32.
		scale := math.Float64frombits(uint64(1023+int(exp)-f.bias-int(f.man)) << 52)
		bits = math.Float32bits(float32(float64(man) * scale))
	}
	return math.Float32frombits(sign<<31 | bits)
}

// lookup has the values of all types of at most eight bits, by type and bits.
var lookup [F8E5M2FNUZ + 1][256]float32

func init() {
	for x := range 256 {
		lookup[Bool][x] = float32(min(x, 1))
		lookup[U8][x] = float32(x)
		lookup[I8][x] = float32(int8(x))
	}
	for d, f := range smallFloats {
		if f != (smallFloat{}) {
			for x := range 1 << DType(d).Bits() {
				lookup[d][x] = f.float32(uint32(x))
			}
		}
	}
}

// lookup16 returns the values of F16 by bits. Looking them up is twice as fast
// as computing them, and weights, being of few magnitudes, use little of it.
var lookup16 = sync.OnceValue(func() *[1 << 16]float32 {
	t := new([1 << 16]float32)
	for x := range uint32(len(t)) {
		// With exponent and mantissa in the lowest bits of their places in a
		// float32, all that is wrong is the bias of the exponent. Multiplying
		// puts that right for subnormals too, but infinities and NaNs need
		// exponents of all ones, and multiplying could change a NaN's payload.
		bits := x & 0x7fff << 13
		if x&0x7c00 == 0x7c00 {
			bits |= 0x7f800000
		} else {
			bits = math.Float32bits(math.Float32frombits(bits) * 0x1p112)
		}
		t[x] = math.Float32frombits(x>>15<<31 | bits)
	}
	return t
})
