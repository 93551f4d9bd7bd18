package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"heft/tensor"
)

// A style is how the values of a tensor are written: integers in full, floats
// as short as tells them from others of their type (those of 16 bits and fewer,
// from other float32).
type style struct {
	format string // of fmt, with one verb; "" for what the rest says
	json   bool   // as JSON numbers; what JSON has no number for as strings, complex numbers as pairs
	screen screen // that --format must not command
}

// An appender appends the i-th value of a block.
type appender func(dst []byte, i int) []byte

// elements returns the function for the values of t.
func (s style) elements(t tensor.Tensor) (appender, error) {
	switch t.DType() {
	case tensor.Bool, tensor.U8: // a BOOL may be 2
		return typed(s, t, appendInt[uint8])
	case tensor.I8:
		return typed(s, t, appendInt[int8])
	case tensor.U16:
		return typed(s, t, appendInt[uint16])
	case tensor.I16:
		return typed(s, t, appendInt[int16])
	case tensor.U32:
		return typed(s, t, appendInt[uint32])
	case tensor.I32:
		return typed(s, t, appendInt[int32])
	case tensor.U64:
		return typed(s, t, func(dst []byte, v uint64) []byte { return strconv.AppendUint(dst, v, 10) })
	case tensor.I64:
		return typed(s, t, appendInt[int64])
	case tensor.F64:
		return typed(s, t, func(dst []byte, v float64) []byte { return s.float(dst, v, 64) })
	case tensor.C64:
		return typed(s, t, s.complex)
	}
	values, err := tensor.AppendFloat32(nil, t)
	return formatted(s, values, func(dst []byte, v float32) []byte { return s.float(dst, float64(v), 32) }), err
}

// typed returns the function for values that are of type T in Go.
func typed[T tensor.Element](s style, t tensor.Tensor, plain func([]byte, T) []byte) (appender, error) {
	values, err := tensor.Append[T](nil, t)
	return formatted(s, values, plain), err
}

// formatted returns the function for values: plain, unless the style has a format.
func formatted[T any](s style, values []T, plain func([]byte, T) []byte) appender {
	switch {
	case s.format == "":
		return func(dst []byte, i int) []byte { return plain(dst, values[i]) }
	case s.screen.tty: // as %c it could be an escape sequence
		return func(dst []byte, i int) []byte {
			return appendEscaped(dst, fmt.Sprintf(s.format, values[i]), s.screen.ascii, "")
		}
	}
	return func(dst []byte, i int) []byte { return fmt.Appendf(dst, s.format, values[i]) }
}

func appendInt[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](dst []byte, v T) []byte {
	return strconv.AppendInt(dst, int64(v), 10)
}

// float appends a float of so many bits.
func (s style) float(dst []byte, v float64, bits int) []byte {
	switch {
	case s.json && math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case s.json && math.IsInf(v, 1):
		return append(dst, `"Infinity"`...)
	case s.json && math.IsInf(v, -1):
		return append(dst, `"-Infinity"`...)
	case math.IsInf(v, 1):
		return append(dst, "Inf"...) // strconv gives it a sign
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

// complex appends a complex number: 1-2i, in JSON [1,-2].
func (s style) complex(dst []byte, v complex64) []byte {
	if s.json {
		dst = append(s.float(append(dst, '['), float64(real(v)), 32), ',')
		return append(s.float(dst, float64(imag(v)), 32), ']')
	}
	return append(dst, strings.Trim(strconv.FormatComplex(complex128(v), 'g', -1, 64), "()")...)
}

// check returns an error unless the format prints a value of the type, and
// prints it once.
func (s style) check(d tensor.DType) error {
	s.json = false
	zero, err := tensor.New("", d, []int{4}, make([]byte, d.Bits()/2)) // of F6, four are whole bytes
	if err != nil {
		return err
	}
	value, err := s.elements(zero)
	if err != nil {
		return err
	}
	if text := string(value(nil, 0)); strings.Contains(text, "%!") { // fmt says so
		return &failure{err: fmt.Errorf("--format %q does not print %v: %s", s.format, d, text), hint: "one verb of Go's fmt does, as %.3g or %08.3f do for floats"}
	}
	return nil
}

// A printer writes the values of a slice, block after block.
type printer struct {
	*sliced
	style
	out  *bufio.Writer
	left int64 // how many are still wanted
	done int64 // how many have been written
	line []byte
}

// begin writes how the JSON document begins.
func (p *printer) begin(model string) error {
	doc, err := encodeJSON(struct {
		Schema int    `json:"schema"`
		Path   string `json:"path"`
		Name   string `json:"name"`
		DType  string `json:"dtype"`
		Shape  []int  `json:"shape"`  // of the slice
		Values []int  `json:"values"` // of the slice, in C order; fewer where a limit was asked for
	}{schema, model, p.Name, p.DType.String(), p.shape, []int{}})
	p.out.Write(bytes.TrimSuffix(doc, []byte("]}\n")))
	return err
}

// end writes how it ends, or the end of the last line, and returns err. Of a
// document that is not to be trusted the end is missing.
func (p *printer) end(err error) error {
	switch {
	case p.json && err == nil:
		_, err = p.out.WriteString("]}\n")
	case !p.json && p.done > 0:
		err = cmp.Or(err, p.out.WriteByte('\n'))
	}
	return err
}

// block writes the values of a block, as many as are still wanted.
func (p *printer) block(b []byte) error {
	n := len(b) * 8 / p.DType.Bits()
	t, err := tensor.New(p.Name, p.DType, []int{n}, b)
	if err != nil {
		return err
	}
	value, err := p.elements(t)
	if err != nil {
		return err
	}
	for i := range int(min(int64(n), p.left)) {
		p.line = value(p.separator(p.line[:0]), i)
		if _, err := p.out.Write(p.line); err != nil {
			return err
		}
		p.done++
		p.left--
	}
	return nil
}

// separator appends what stands before the next value.
func (p *printer) separator(dst []byte) []byte {
	rank := len(p.shape)
	switch {
	case p.done == 0:
		return dst
	case p.json:
		return append(dst, ',')
	case rank == 0 || p.done%int64(p.shape[rank-1]) != 0:
		return append(dst, ' ')
	case rank > 2 && p.done%(int64(p.shape[rank-1])*int64(p.shape[rank-2])) == 0:
		return append(dst, "\n\n"...)
	}
	return append(dst, '\n')
}
