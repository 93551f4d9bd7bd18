package tensor

import (
	"errors"
	"fmt"
)

// DType is the element type of a tensor. The zero DType is no type.
//
// Values stand in the order in which the reference implementation of the
// safetensors format ranks them for layout: writers place tensors of a higher
// DType first.
type DType uint8

const (
	_          DType = iota
	Bool             // one byte an element; the format does not restrict it to 0 and 1
	F4               // OCP MXFP4 E2M1, two elements a byte, the first in the low nibble
	F6E2M3           // four elements in three bytes, the first in the lowest bits
	F6E3M2           // as F6E2M3
	U8               // uint8
	I8               // int8
	F8E5M2           // IEEE-like: has infinities
	F8E4M3           // OCP E4M3 ("fn"): no infinities, one NaN of each sign
	F8E8M0           // a power of two: the scale of OCP MX blocks
	F8E4M3FNUZ       // no infinities, no negative zero, one NaN
	F8E5M2FNUZ       // as F8E4M3FNUZ
	I16              // int16
	U16              // uint16
	F16              // IEEE 754 binary16
	BF16             // the upper half of a float32
	I32              // int32
	U32              // uint32
	F32              // float32
	C64              // complex64: two float32, real part first
	F64              // float64
	I64              // int64
	U64              // uint64
)

// dtypes is the one table of element types: everything else about them is derived from it.
var dtypes = [...]struct {
	name string // as safetensors files spell it
	bits uint8
}{
	Bool:       {"BOOL", 8},
	F4:         {"F4", 4},
	F6E2M3:     {"F6_E2M3", 6},
	F6E3M2:     {"F6_E3M2", 6},
	U8:         {"U8", 8},
	I8:         {"I8", 8},
	F8E5M2:     {"F8_E5M2", 8},
	F8E4M3:     {"F8_E4M3", 8},
	F8E8M0:     {"F8_E8M0", 8},
	F8E4M3FNUZ: {"F8_E4M3FNUZ", 8},
	F8E5M2FNUZ: {"F8_E5M2FNUZ", 8},
	I16:        {"I16", 16},
	U16:        {"U16", 16},
	F16:        {"F16", 16},
	BF16:       {"BF16", 16},
	I32:        {"I32", 32},
	U32:        {"U32", 32},
	F32:        {"F32", 32},
	C64:        {"C64", 64},
	F64:        {"F64", 64},
	I64:        {"I64", 64},
	U64:        {"U64", 64},
}

var dtypeByName = func() map[string]DType {
	m := make(map[string]DType, len(dtypes))
	for d := Bool; int(d) < len(dtypes); d++ {
		m[dtypes[d].name] = d
	}
	return m
}()

// ErrDType is returned where an element type is unknown, or is not the one that the caller asked for.
var ErrDType = errors.New("wrong element type")

// ParseDType returns the element type that safetensors files call name, such
// as "BF16" or "F8_E4M3". Case matters. The error is [ErrDType].
func ParseDType(name string) (DType, error) {
	if d, ok := dtypeByName[name]; ok {
		return d, nil
	}
	return 0, fmt.Errorf("%w: no dtype is called %q", ErrDType, name)
}

// Valid reports whether d is one of the element types of the format.
func (d DType) Valid() bool { return d != 0 && int(d) < len(dtypes) }

// String returns the name of d in safetensors files, or DType(N) if d is not valid.
func (d DType) String() string {
	if !d.Valid() {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Bits returns the size of one element in bits: 4, 6, 8, 16, 32 or 64; 0 if d is not valid.
func (d DType) Bits() int {
	if !d.Valid() {
		return 0
	}
	return int(dtypes[d].bits)
}

// MarshalText returns the safetensors name of d. The error is [ErrDType], for a d that is not valid.
func (d DType) MarshalText() ([]byte, error) {
	if !d.Valid() {
		return nil, fmt.Errorf("%w: %v", ErrDType, d)
	}
	return []byte(dtypes[d].name), nil
}

// UnmarshalText sets d to the type of the given safetensors name. The error is [ErrDType].
func (d *DType) UnmarshalText(text []byte) error {
	v, err := ParseDType(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}
