package tensor_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"heft/tensor"
)

// Every value near a representable one or half way between two, as numpy and
// ml_dtypes convert it.
func TestAppendCastGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/casts.txt")
	if err != nil {
		t.Fatal(err)
	}
	var values []float32
	for high := range uint32(1 << 20) {
		for _, low := range []uint32{0x000, 0x001, 0x7ff, 0x800, 0x801, 0xfff} {
			values = append(values, math.Float32frombits(high<<12|low))
		}
	}
	for line := range strings.Lines(string(text)) {
		name, sum, _ := strings.Cut(strings.TrimSpace(line), " ")
		d, err := tensor.ParseDType(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tensor.AppendCast(nil, d, values, true)
		if err != nil {
			t.Fatal(err)
		}
		width := d.Bits() / 8
		for i, v := range values {
			if v != v {
				clear(got[i*width : (i+1)*width])
			}
		}
		if hash := sha256.Sum256(got); hex.EncodeToString(hash[:]) != sum {
			t.Errorf("%s: hash %x, want %s", name, hash, sum)
		}
	}
}

var castTypes = []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.F8E4M3, tensor.F8E5M2}

// What a type can hold comes back bit for bit, NaNs too; of eight bits they are
// the quiet one.
func TestAppendCastReturns(t *testing.T) {
	for _, d := range castTypes[1:] {
		data := codes(d)
		w := mustNew(t, d, []int{len(data) * 8 / d.Bits()}, data)
		values, err := tensor.AppendFloat32(nil, w)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tensor.AppendCast([]byte("head"), d, values, false)
		if err != nil || string(got[:4]) != "head" {
			t.Fatalf("%v: %q, %v", d, got[:4], err)
		}
		want := slices.Clone(data)
		if d == tensor.F8E5M2 {
			for i, v := range values {
				if v != v {
					want[i] = want[i]&0x80 | 0x7e
				}
			}
		}
		if !slices.Equal(got[4:], want) {
			t.Errorf("%v: other bytes come back", d)
		}
	}
}

// A payload that does not fit leaves a NaN, and its sign.
func TestAppendCastNaN(t *testing.T) {
	values := []float32{math.Float32frombits(0x7f800001), math.Float32frombits(0xff800001)}
	for d, want := range map[tensor.DType][]byte{
		tensor.F32:    {1, 0, 0x80, 0x7f, 1, 0, 0x80, 0xff},
		tensor.BF16:   {0xc0, 0x7f, 0xc0, 0xff},
		tensor.F16:    {0, 0x7e, 0, 0xfe},
		tensor.F8E4M3: {0x7f, 0xff},
		tensor.F8E5M2: {0x7e, 0xfe},
	} {
		got, err := tensor.AppendCast(nil, d, values, false)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: % x, %v; want % x", d, got, err, want)
		}
	}
}

func TestAppendCastOverflow(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		d             tensor.DType
		fits, tooMuch float32
		max           []byte // of both signs
		text          string
	}{
		{tensor.BF16, math.Float32frombits(0x7f7f7fff), math.MaxFloat32, []byte{0x7f, 0x7f, 0x7f, 0xff}, "3.3895314e+38"},
		{tensor.F16, 65519.996, 65520, []byte{0xff, 0x7b, 0xff, 0xfb}, "65504"},
		{tensor.F8E4M3, 464, 464.00003, []byte{0x7e, 0xfe}, "448"},
		{tensor.F8E4M3, 464, inf, []byte{0x7e, 0xfe}, "448"},
		{tensor.F8E5M2, 61439.996, 61440, []byte{0x7b, 0xfb}, "57344"},
	} {
		got, err := tensor.AppendCast(nil, c.d, []float32{c.fits, -c.fits}, false)
		if err != nil || !slices.Equal(got, c.max) {
			t.Errorf("%v: %v becomes % x, %v; want % x", c.d, c.fits, got, err, c.max)
		}
		got, err = tensor.AppendCast(nil, c.d, []float32{c.tooMuch, -c.tooMuch}, true)
		if err != nil || !slices.Equal(got, c.max) {
			t.Errorf("%v: %v becomes % x, %v; want % x", c.d, c.tooMuch, got, err, c.max)
		}
		// At every place, among others that fit.
		for n := range 12 {
			values := make([]float32, 12)
			values[n] = -c.tooMuch
			got, err := tensor.AppendCast([]byte("head"), c.d, values, false)
			want := fmt.Sprintf("element %d is %v, and the largest %v is %s", n, -c.tooMuch, c.d, c.text)
			if string(got) != "head" || !errors.Is(err, tensor.ErrOverflow) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %q, %v; want %s", c.d, got, err, want)
			}
		}
	}
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.F8E5M2} {
		data, err := tensor.AppendCast(nil, d, []float32{inf, -inf}, false)
		if err != nil {
			t.Fatal(err)
		}
		back, err := tensor.AppendFloat32(nil, mustNew(t, d, []int{2}, data))
		if err != nil || back[0] != inf || back[1] != -inf {
			t.Errorf("%v: infinities become %v, %v", d, back, err)
		}
	}
}

// Every length, with values that the fast loops cannot do at every place.
func TestAppendCastLengths(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, d := range castTypes {
		for n := range 40 {
			values := make([]float32, n)
			var want []byte
			for i := range values {
				values[i] = math.Float32frombits(r.Uint32())
				if r.IntN(3) > 0 {
					values[i] = float32(r.NormFloat64())
				}
				var err error
				if want, err = tensor.AppendCast(want, d, values[i:i+1], true); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := tensor.AppendCast(nil, d, values, true); err != nil || !slices.Equal(got, want) {
				t.Errorf("%v: %v become % x, %v; one at a time, % x", d, values, got, err, want)
			}
		}
	}
}

func TestAppendCastErrors(t *testing.T) {
	for d := tensor.DType(0); d < 40; d++ {
		got, err := tensor.AppendCast([]byte("head"), d, []float32{1}, true)
		if slices.Contains(castTypes, d) {
			if err != nil || len(got) != 4+d.Bits()/8 {
				t.Errorf("%v: % x, %v", d, got, err)
			}
		} else if !errors.Is(err, tensor.ErrDType) || string(got) != "head" {
			t.Errorf("%v: %q, %v", d, got, err)
		}
	}
}

func BenchmarkAppendCast(b *testing.B) {
	values := make([]float32, 1<<16)
	for i := range values {
		values[i] = float32(rand.NormFloat64() * 0.02)
	}
	var dst []byte
	for _, d := range castTypes {
		b.Run(d.String(), func(b *testing.B) {
			b.SetBytes(int64(4 * len(values)))
			for b.Loop() {
				dst, _ = tensor.AppendCast(dst[:0], d, values, false)
			}
		})
	}
}

// The bytes are little-endian on every machine.
func TestAppendCastByteOrder(t *testing.T) {
	got, err := tensor.AppendCast(nil, tensor.F32, []float32{1.5}, false)
	if err != nil || math.Float32frombits(binary.LittleEndian.Uint32(got)) != 1.5 {
		t.Errorf("% x, %v", got, err)
	}
}
