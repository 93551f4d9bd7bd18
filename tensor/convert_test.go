package tensor_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/x448/float16"

	"heft/tensor"
)

// golden returns the lines of testdata/smallfloats.txt by their first word.
func golden(t *testing.T) map[string][]string {
	f, err := os.Open("testdata/smallfloats.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := make(map[string][]string)
	for s := bufio.NewScanner(f); s.Scan(); {
		words := strings.Fields(s.Text())
		lines[words[0]] = words[1:]
	}
	return lines
}

// codes returns all values of an element type of at most 16 bits, packed.
func codes(d tensor.DType) []byte {
	var data []byte
	for acc, have, x := uint64(0), 0, 0; x < 1<<d.Bits(); x++ {
		acc |= uint64(x) << have
		for have += d.Bits(); have >= 8; have -= 8 {
			data, acc = append(data, byte(acc)), acc>>8
		}
	}
	return data
}

// convertBits returns the elements of data as the bits of float32 values.
func convertBits(t *testing.T, d tensor.DType, data []byte) []uint32 {
	t.Helper()
	w := mustNew(t, d, []int{len(data) * 8 / d.Bits()}, data)
	values, err := tensor.AppendFloat32(nil, w)
	if err != nil {
		t.Fatal(err)
	}
	if len(values) != w.Len() {
		t.Fatalf("%d values of %d", len(values), w.Len())
	}
	bits := make([]uint32, len(values))
	for i, v := range values {
		bits[i] = math.Float32bits(v)
	}
	return bits
}

func TestSmallFloats(t *testing.T) {
	for name, want := range golden(t) {
		d, err := tensor.ParseDType(name)
		if err != nil {
			t.Fatal(err)
		}
		got := convertBits(t, d, codes(d))
		if want[0] == "sha256" {
			if sum := sha256.Sum256(littleEndian(got)); hex.EncodeToString(sum[:]) != want[1] {
				t.Errorf("the %d values of %s have the hash %x, want %s", len(got), name, sum, want[1])
			}
			continue
		}
		if len(want) != len(got) {
			t.Fatalf("%d golden values of %s", len(want), name)
		}
		for x, bits := range got {
			if w, _ := strconv.ParseUint(want[x], 16, 32); uint32(w) != bits {
				t.Errorf("%s %#02x is %08x, want %08x", name, x, bits, w)
			}
		}
	}
}

// The definition of IEEE 754, in float64, which holds every value exactly.
func TestFloat16(t *testing.T) {
	for x, got := range convertBits(t, tensor.F16, codes(tensor.F16)) {
		exp, man := x>>10&31, x&1023
		var want uint32
		switch {
		case exp == 31:
			want = uint32(0xff<<23 | man<<13) // infinity and NaN
		case exp == 0:
			want = math.Float32bits(float32(math.Ldexp(float64(man), -24)))
		default:
			want = math.Float32bits(float32(math.Ldexp(float64(1024+man), exp-25)))
		}
		if want |= uint32(x) >> 15 << 31; got != want {
			t.Fatalf("F16 %#04x is %08x, want %08x", x, got, want)
		}
	}
}

func TestBFloat16(t *testing.T) {
	for x, got := range convertBits(t, tensor.BF16, codes(tensor.BF16)) {
		if want := uint32(x) << 16; got != want {
			t.Fatalf("BF16 %#04x is %08x, want %08x", x, got, want)
		}
	}
}

// The methods of the types and the conversion of tensors agree.
func TestFloat32Methods(t *testing.T) {
	method[tensor.BFloat16](t, tensor.BF16)
	method[tensor.Float8E4M3](t, tensor.F8E4M3)
	method[tensor.Float8E5M2](t, tensor.F8E5M2)
	method[tensor.Float8E8M0](t, tensor.F8E8M0)
	method[tensor.Float8E4M3FNUZ](t, tensor.F8E4M3FNUZ)
	method[tensor.Float8E5M2FNUZ](t, tensor.F8E5M2FNUZ)
}

func method[T interface {
	tensor.BFloat16 | tensor.Float8E4M3 | tensor.Float8E5M2 | tensor.Float8E8M0 | tensor.Float8E4M3FNUZ | tensor.Float8E5M2FNUZ
	Float32() float32
	String() string
}](t *testing.T, d tensor.DType) {
	for x, want := range convertBits(t, d, codes(d)) {
		got := T(x).Float32()
		if math.Float32bits(got) != want {
			t.Fatalf("%T(%#x) is %08x, want %08x", T(0), x, math.Float32bits(got), want)
		}
		if back, err := strconv.ParseFloat(T(x).String(), 32); err != nil || float32(back) != got && !(back != back && got != got) {
			t.Fatalf("%T(%#x) prints as %v", T(0), x, T(x))
		}
	}
}

func TestString8(t *testing.T) {
	got := fmt.Sprint(tensor.BFloat16(0x4049), tensor.Float8E4M3(0x7e), tensor.Float8E5M2(0xfc),
		tensor.Float8E8M0(0), tensor.Float8E4M3FNUZ(0x80), tensor.Float8E5M2FNUZ(0x81))
	if want := "3.140625 448 -Inf 5.877472e-39 NaN -7.6293945e-06"; got != want {
		t.Errorf("printed as %s, want %s", got, want)
	}
}

func TestNumbers(t *testing.T) {
	const exact = 1 << 24 // from here on float32 skips integers
	for _, test := range []struct {
		dtype tensor.DType
		data  any
		want  []float32
	}{
		{tensor.Bool, []uint8{0, 1, 2, 255}, []float32{0, 1, 1, 1}},
		{tensor.U8, []uint8{0, 1, 128, 255}, []float32{0, 1, 128, 255}},
		{tensor.I8, []int8{0, 1, -1, 127, -128}, []float32{0, 1, -1, 127, -128}},
		{tensor.U16, []uint16{0, 1, 1 << 15, math.MaxUint16}, []float32{0, 1, 1 << 15, math.MaxUint16}},
		{tensor.I16, []int16{-1, math.MinInt16, math.MaxInt16}, []float32{-1, math.MinInt16, math.MaxInt16}},
		{tensor.U32, []uint32{1, exact + 1, exact + 3, math.MaxUint32}, []float32{1, exact, exact + 4, 1 << 32}},
		{tensor.I32, []int32{-1, -exact - 1, -exact - 3, math.MinInt32}, []float32{-1, -exact, -exact - 4, -1 << 31}},
		{tensor.U64, []uint64{1, exact + 1, 1<<63 + 1<<39, 1<<63 + 1<<39 + 1, math.MaxUint64},
			[]float32{1, exact, 1 << 63, 1<<63 + 1<<40, 1 << 64}},
		{tensor.I64, []int64{-1, 1<<62 + 1<<38, 1<<62 + 1<<38 + 1, math.MinInt64},
			[]float32{-1, 1 << 62, 1<<62 + 1<<39, -1 << 63}},
		{tensor.F32, []float32{1.5, -0.25, math.MaxFloat32}, []float32{1.5, -0.25, math.MaxFloat32}},
		{tensor.F64, []float64{1.5, 0.1, 1 + 0x1p-24, 1 + 0x1.8p-23, 1e300, -1e300, 1e-300, 0x1p-149},
			[]float32{1.5, 0.1, 1, 1 + 0x1p-22, float32(math.Inf(1)), float32(math.Inf(-1)), 0, 0x1p-149}},
	} {
		t.Run(test.dtype.String(), func(t *testing.T) {
			raw := littleEndian(test.data)
			for offset := range 8 {
				data := append(make([]byte, offset), raw...)[offset:]
				w := mustNew(t, test.dtype, []int{len(test.want)}, data)
				got, err := tensor.AppendFloat32([]float32{7}, w)
				if err != nil || !slices.Equal(got, append([]float32{7}, test.want...)) {
					t.Errorf("at %d: %v, want %v after 7 (%v)", offset, got, test.want, err)
				}
			}
		})
	}
}

func TestFloat32IsCopiedBitForBit(t *testing.T) {
	want := []uint32{0x80000000, 1, 0x7f800001, 0xffffffff, 0x7fc12345, 0xff800000}
	if got := convertBits(t, tensor.F32, littleEndian(want)); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// Every length and alignment, so that no loop forgets what a word leaves over.
func TestConvertEdges(t *testing.T) {
	for d := tensor.Bool; d.Valid(); d++ {
		if d == tensor.C64 {
			continue
		}
		data := codes(tensor.U8)
		all := convertBits(t, d, data[:192])
		for n := range 40 {
			for offset := range 9 {
				if n*d.Bits()%8 != 0 {
					continue
				}
				size := n * d.Bits() / 8
				moved := append(make([]byte, offset), data[:min(size, 192)]...)[offset:]
				if len(moved) < size {
					continue
				}
				if got := convertBits(t, d, moved); !slices.Equal(got, all[:n]) {
					t.Fatalf("%d %v at %d: %x, want %x", n, d, offset, got, all[:n])
				}
			}
		}
	}
}

func TestPacking(t *testing.T) {
	for _, test := range []struct {
		dtype tensor.DType
		data  []byte
		want  []float32
	}{
		{tensor.F4, []byte{0x21, 0xf0}, []float32{0.5, 1, 0, -6}},
		// 000001 000010 111111 100000 from the lowest bits up
		{tensor.F6E2M3, []byte{0x81, 0xf0, 0x83}, []float32{0.125, 0.25, -7.5, float32(math.Copysign(0, -1))}},
		{tensor.F6E3M2, []byte{0x81, 0xf0, 0x83}, []float32{0.0625, 0.125, -28, float32(math.Copysign(0, -1))}},
	} {
		got := convertBits(t, test.dtype, test.data)
		if !bytes.Equal(littleEndian(got), littleEndian(test.want)) {
			t.Errorf("%v %x is %x, want %v", test.dtype, test.data, got, test.want)
		}
	}
}

func TestComplexIsNotConverted(t *testing.T) {
	dst := []float32{7}
	got, err := tensor.AppendFloat32(dst, mustNew(t, tensor.C64, []int{1}, sequence(8)))
	wantError(t, err, tensor.ErrDType, `tensor "w"`, "C64")
	if !slices.Equal(got, dst) {
		t.Errorf("dst came back as %v", got)
	}
}

// BenchmarkAppendFloat32 counts bytes of input; each case makes 1Mi float32
// values, and "copy" is what just copying those costs. The weights are normally
// distributed, as those of models are, and in "any" all bit patterns are as likely.
func BenchmarkAppendFloat32(b *testing.B) {
	const n = 1 << 20
	dst, src := make([]float32, n), make([]float32, n)
	rnd := rand.New(rand.NewPCG(1, 2))
	weights := map[tensor.DType][]byte{}
	for range n {
		w := float32(rnd.NormFloat64() / 50)
		weights[tensor.F16] = binary.LittleEndian.AppendUint16(weights[tensor.F16], float16.Fromfloat32(w).Bits())
		weights[tensor.BF16] = binary.LittleEndian.AppendUint16(weights[tensor.BF16], uint16(math.Float32bits(w)>>16))
	}
	noise := make([]byte, 8*n)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(4 * n)
		for b.Loop() {
			copy(dst, src)
		}
	})
	bench := func(name string, d tensor.DType, data []byte) {
		b.Run(name, func(b *testing.B) {
			w := mustNew(b, d, []int{n}, data)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := tensor.AppendFloat32(dst[:0], w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for d := tensor.Bool; d.Valid(); d++ {
		if data, ok := weights[d]; ok {
			bench(d.String(), d, data)
			bench(d.String()+"/any", d, noise[:len(data)])
		} else if d != tensor.C64 {
			bench(d.String(), d, noise[:n*d.Bits()/8])
		}
	}
}
