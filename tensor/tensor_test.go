package tensor_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"heft/tensor"
)

// sequence returns n bytes 0, 1, 2, ... at a multiple of eight.
func sequence(n int) []byte {
	b := make([]byte, max(n, 64))
	for i := range b {
		b[i] = byte(i)
	}
	return b[:n]
}

func mustNew(tb testing.TB, d tensor.DType, shape []int, data []byte) tensor.Tensor {
	tb.Helper()
	t, err := tensor.New("w", d, shape, data)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// wantError fails unless err is want and names everything in parts.
func wantError(tb testing.TB, err, want error, parts ...string) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("error is %v, not %v", err, want)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			tb.Errorf("error does not mention %s: %v", part, err)
		}
	}
}

func TestNew(t *testing.T) {
	const huge = math.MaxInt
	for _, test := range []struct {
		dtype tensor.DType
		shape []int
		bytes int
		err   error
	}{
		{tensor.F32, nil, 4, nil},
		{tensor.F32, []int{}, 4, nil},
		{tensor.F32, []int{2, 3}, 24, nil},
		{tensor.F4, []int{2, 3}, 3, nil},
		{tensor.F6E3M2, []int{4}, 3, nil},
		{tensor.F32, []int{0}, 0, nil},
		{tensor.F64, []int{huge, 0, huge}, 0, nil},
		{tensor.F64, []int{huge, huge, 0}, 0, nil},
		{tensor.F4, []int{0, 3}, 0, nil},

		{0, []int{1}, 1, tensor.ErrDType},
		{tensor.U64 + 1, []int{1}, 8, tensor.ErrDType},
		{tensor.F32, nil, 0, tensor.ErrSize},
		{tensor.F32, []int{2, 3}, 23, tensor.ErrSize},
		{tensor.F32, []int{2, 3}, 25, tensor.ErrSize},
		{tensor.F32, []int{0}, 1, tensor.ErrSize},
		{tensor.U8, []int{huge, huge}, 1, tensor.ErrSize},
		{tensor.U64, []int{1 << 30, 1 << 30, 1 << 30}, 0, tensor.ErrSize},
		{tensor.F4, nil, 1, tensor.ErrSubByte},
		{tensor.F4, []int{3}, 2, tensor.ErrSubByte},
		{tensor.F6E2M3, []int{2}, 2, tensor.ErrSubByte},
		{tensor.U8, []int{-1}, 0, tensor.ErrRange},
		{tensor.U8, []int{-2, -2}, 4, tensor.ErrRange},
		{tensor.U8, []int{0, -1}, 0, tensor.ErrRange},
	} {
		t.Run(fmt.Sprint(test.dtype, test.shape, test.bytes), func(t *testing.T) {
			data := sequence(test.bytes + 1)[:test.bytes]
			w, err := tensor.New("w", test.dtype, test.shape, data)
			if test.err != nil {
				wantError(t, err, test.err, `tensor "w"`)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if w.Name() != "w" || w.DType() != test.dtype || !slices.Equal(w.Shape(), test.shape) {
				t.Errorf("made %v", w)
			}
			if w.Len() != test.bytes*8/test.dtype.Bits() {
				t.Errorf("Len is %d", w.Len())
			}
			if b := w.Bytes(); len(b) != test.bytes || cap(b) != len(b) {
				t.Errorf("len %d, cap %d", len(b), cap(b))
			}
			if s := w.Shape(); cap(s) != len(s) {
				t.Errorf("shape has cap %d", cap(s))
			}
		})
	}
}

func TestNewCountsInInt(t *testing.T) {
	if math.MaxInt > math.MaxInt32 {
		return // an int counts every element that fits in memory
	}
	_, err := tensor.New("w", tensor.F4, []int{1 << 16, 1 << 15}, make([]byte, 1<<30))
	wantError(t, err, tensor.ErrSize, "2147483648")
}

func TestZeroTensor(t *testing.T) {
	var zero tensor.Tensor
	if zero.Len() != 0 || zero.Name() != "" || zero.DType() != 0 || len(zero.Shape()) != 0 || len(zero.Bytes()) != 0 {
		t.Errorf("the zero Tensor is %v", zero)
	}
	_, err := tensor.Of[float32](zero)
	wantError(t, err, tensor.ErrDType)
	_, err = tensor.Append[float32](nil, zero)
	wantError(t, err, tensor.ErrDType)
	_, err = tensor.AppendFloat32(nil, zero)
	wantError(t, err, tensor.ErrDType)
	_, err = zero.Rows(0, 0)
	wantError(t, err, tensor.ErrRank)
}

func TestString(t *testing.T) {
	w := mustNew(t, tensor.F8E4M3, []int{2, 3}, sequence(6))
	if got, want := fmt.Sprintf("%v", w), `"w" F8_E4M3 [2 3]`; got != want {
		t.Errorf("printed as %s, not %s", got, want)
	}
}

func TestDType(t *testing.T) {
	names := strings.Fields("BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ" +
		" I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64")
	bits := []int{8, 4, 6, 6, 8, 8, 8, 8, 8, 8, 8, 16, 16, 16, 16, 32, 32, 32, 64, 64, 64, 64}
	for i, name := range names {
		d, err := tensor.ParseDType(name)
		if err != nil {
			t.Fatal(err)
		}
		if d != tensor.Bool+tensor.DType(i) {
			t.Errorf("%s does not have rank %d", name, i)
		}
		if !d.Valid() || d.String() != name || d.Bits() != bits[i] {
			t.Errorf("%s is %v of %d bits", name, d, d.Bits())
		}
		text, err := d.MarshalText()
		var back tensor.DType
		if err != nil || back.UnmarshalText(text) != nil || back != d {
			t.Errorf("%s goes to text %q and comes back as %v (%v)", name, text, back, err)
		}
	}
	for _, d := range []tensor.DType{0, tensor.U64 + 1, 255} {
		if d.Valid() || d.Bits() != 0 || d.String() != fmt.Sprintf("DType(%d)", uint8(d)) {
			t.Errorf("%v is valid or has %d bits", d, d.Bits())
		}
		_, err := d.MarshalText()
		wantError(t, err, tensor.ErrDType, d.String())
	}
	for _, name := range []string{"", "f32", "F32 ", "F8_E4M3FN", "I4", "C128", "DType(0)"} {
		_, err := tensor.ParseDType(name)
		wantError(t, err, tensor.ErrDType, fmt.Sprintf("%q", name))
		d := tensor.F32
		wantError(t, d.UnmarshalText([]byte(name)), tensor.ErrDType)
		if d != tensor.F32 {
			t.Errorf("UnmarshalText(%q) changed its receiver", name)
		}
	}
}

func TestRows(t *testing.T) {
	for _, test := range []struct {
		dtype  tensor.DType
		shape  []int
		lo, hi int
		want   string // of the bytes 0, 1, 2, ...
		err    error
	}{
		{tensor.U8, []int{3, 2}, 0, 3, "\x00\x01\x02\x03\x04\x05", nil},
		{tensor.U8, []int{3, 2}, 1, 2, "\x02\x03", nil},
		{tensor.U8, []int{3, 2}, 1, 3, "\x02\x03\x04\x05", nil},
		{tensor.U8, []int{3, 2}, 3, 3, "", nil},
		{tensor.U8, []int{3, 2}, 0, 0, "", nil},
		{tensor.U16, []int{3}, 1, 2, "\x02\x03", nil},
		{tensor.U8, []int{2, 1, 1, 1, 1}, 1, 2, "\x01", nil},
		{tensor.F4, []int{3, 2}, 1, 2, "\x01", nil},
		{tensor.F4, []int{4, 3}, 2, 4, "\x03\x04\x05", nil},
		{tensor.F4, []int{4, 3}, 1, 1, "", nil},
		{tensor.F6E2M3, []int{2, 2, 2}, 1, 2, "\x03\x04\x05", nil},
		{tensor.F32, []int{5, 0}, 2, 4, "", nil},
		{tensor.F32, []int{0, math.MaxInt}, 0, 0, "", nil},

		{tensor.U8, nil, 0, 0, "", tensor.ErrRank},
		{tensor.U8, []int{3, 2}, -1, 2, "", tensor.ErrRange},
		{tensor.U8, []int{3, 2}, 2, 1, "", tensor.ErrRange},
		{tensor.U8, []int{3, 2}, 2, 4, "", tensor.ErrRange},
		{tensor.U8, []int{0, 2}, 0, 1, "", tensor.ErrRange},
		{tensor.U8, []int{3, 2}, math.MinInt, math.MaxInt, "", tensor.ErrRange},
		{tensor.F4, []int{4, 3}, 1, 2, "", tensor.ErrSubByte},
		{tensor.F4, []int{4, 3}, 0, 1, "", tensor.ErrSubByte},
		{tensor.F4, []int{4, 3}, 3, 4, "", tensor.ErrSubByte},
		{tensor.F6E3M2, []int{4}, 0, 2, "", tensor.ErrSubByte},
	} {
		t.Run(fmt.Sprint(test.dtype, test.shape, test.lo, test.hi), func(t *testing.T) {
			n := test.dtype.Bits()
			for _, dim := range test.shape {
				n *= dim
			}
			w := mustNew(t, test.dtype, test.shape, sequence(n/8))
			rows, err := w.Rows(test.lo, test.hi)
			if test.err != nil {
				wantError(t, err, test.err, `tensor "w"`)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			shape := slices.Clone(test.shape)
			shape[0] = test.hi - test.lo
			if rows.Name() != "w" || rows.DType() != test.dtype || !slices.Equal(rows.Shape(), shape) {
				t.Errorf("made %v", rows)
			}
			if b := rows.Bytes(); string(b) != test.want || cap(b) != len(b) {
				t.Errorf("bytes are %x with cap %d", b, cap(b))
			}
			if s := rows.Shape(); cap(s) != len(s) {
				t.Errorf("shape has cap %d", cap(s))
			}
		})
	}
}

func TestRowsOfRows(t *testing.T) {
	shape := []int{6, 2}
	w := mustNew(t, tensor.U8, shape, sequence(12))
	w, err := w.Rows(1, 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Rows(0, 5); !errors.Is(err, tensor.ErrRange) {
		t.Errorf("a fifth row of four: %v", err)
	}
	w.Shape()[0] = 99
	if shape[0] != 6 {
		t.Error("the shape of some rows shares memory with that of all")
	}
	w, err = w.Rows(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(w, w.Bytes()), `"w" U8 [1 2] [6 7]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNoAllocation(t *testing.T) {
	data, shape := sequence(24), []int{3, 2}
	all := mustNew(t, tensor.F32, shape, data)
	half := mustNew(t, tensor.Bool, []int{2, 3, 4}, data)
	var n int
	for name, f := range map[string]func(){
		"New":   func() { w, _ := tensor.New("w", tensor.F32, shape, data); n += w.Len() },
		"Rows":  func() { w, _ := all.Rows(1, 2); n += w.Len() },
		"Bytes": func() { n += len(all.Bytes()) },
		"Shape": func() { n += len(all.Shape()) },
		"Of":    func() { s, _ := tensor.Of[uint8](half); n += len(s) },
	} {
		if allocs := testing.AllocsPerRun(100, f); allocs != 0 {
			t.Errorf("%s allocates %v times", name, allocs)
		}
	}
}
