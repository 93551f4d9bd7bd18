package tensor_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/x448/float16"

	"heft/tensor"
)

// elements runs f for each Go type that stands for an element type, and Bool.
func elements(t *testing.T, f elementTest) {
	run[int8](t, f, tensor.I8)
	run[int16](t, f, tensor.I16)
	run[int32](t, f, tensor.I32)
	run[int64](t, f, tensor.I64)
	run[uint8](t, f, tensor.U8)
	run[uint8](t, f, tensor.Bool)
	run[uint16](t, f, tensor.U16)
	run[uint32](t, f, tensor.U32)
	run[uint64](t, f, tensor.U64)
	run[float32](t, f, tensor.F32)
	run[float64](t, f, tensor.F64)
	run[complex64](t, f, tensor.C64)
	run[float16.Float16](t, f, tensor.F16)
	run[tensor.BFloat16](t, f, tensor.BF16)
	run[tensor.Float8E4M3](t, f, tensor.F8E4M3)
	run[tensor.Float8E5M2](t, f, tensor.F8E5M2)
	run[tensor.Float8E8M0](t, f, tensor.F8E8M0)
	run[tensor.Float8E4M3FNUZ](t, f, tensor.F8E4M3FNUZ)
	run[tensor.Float8E5M2FNUZ](t, f, tensor.F8E5M2FNUZ)
}

// An elementTest tests one element type through functions that hide the Go type.
type elementTest func(t *testing.T, d tensor.DType, of, appendOne func(tensor.Tensor) (raw []byte, length, capacity int, err error))

func run[T tensor.Element](t *testing.T, f elementTest, d tensor.DType) {
	t.Run(fmt.Sprintf("%v/%T", d, *new(T)), func(t *testing.T) {
		f(t, d, func(w tensor.Tensor) ([]byte, int, int, error) {
			s, err := tensor.Of[T](w)
			return littleEndian(s), len(s), cap(s), err
		}, func(w tensor.Tensor) ([]byte, int, int, error) {
			s, err := tensor.Append(make([]T, 1), w)
			return littleEndian(s), len(s), cap(s), err
		})
	})
}

func littleEndian(s any) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestAppend(t *testing.T) {
	elements(t, func(t *testing.T, d tensor.DType, _, appendOne func(tensor.Tensor) ([]byte, int, int, error)) {
		size := d.Bits() / 8
		for offset := range 9 {
			data := sequence(64)[offset:][:3*size]
			raw, n, _, err := appendOne(mustNew(t, d, []int{3}, data))
			if err != nil {
				t.Fatal(err)
			}
			if want := append(make([]byte, size), data...); n != 4 || !bytes.Equal(raw, want) {
				t.Errorf("at %d: %d elements %x, want %x", offset, n, raw, want)
			}
		}
	})
}

var sink []uint8 // makes what is assigned to it escape

func TestAppendGrowsOnce(t *testing.T) {
	w := mustNew(t, tensor.U8, []int{5000}, sequence(5000))
	// Once, that is, but for the race detector, with which growing a slice takes two.
	once := testing.AllocsPerRun(10, func() { sink = slices.Grow([]uint8{}, w.Len()) })
	dst := []uint8{7}
	if allocs := testing.AllocsPerRun(10, func() { tensor.Append(dst, w) }); allocs != once {
		t.Errorf("Append allocates %v times", allocs)
	}
	if allocs := testing.AllocsPerRun(10, func() { tensor.AppendFloat32(nil, w) }); allocs != once {
		t.Errorf("AppendFloat32 allocates %v times", allocs)
	}
	room := make([]uint8, 1, 5001)
	got, err := tensor.Append(room, w)
	if err != nil || &got[0] != &room[0] || len(got) != 5001 {
		t.Errorf("Append does not use the room that there is (%v)", err)
	}
}

func TestWrongType(t *testing.T) {
	elements(t, func(t *testing.T, d tensor.DType, of, appendOne func(tensor.Tensor) ([]byte, int, int, error)) {
		for other := tensor.Bool; other.Valid(); other++ {
			if other == d || other == tensor.Bool || d == tensor.Bool && other == tensor.U8 {
				continue
			}
			w := mustNew(t, other, []int{8}, sequence(other.Bits()))
			_, _, _, err := of(w)
			wantError(t, err, tensor.ErrDType, `tensor "w"`, other.String())
			raw, n, _, err := appendOne(w)
			wantError(t, err, tensor.ErrDType, `tensor "w"`, other.String())
			if n != 1 || slices.Max(raw) != 0 {
				t.Errorf("Append returned %d elements with its error", n)
			}
		}
	})
}

// Bool is bytes to Go, but no other type is anything else than itself.
func TestBoolIsOnlyUint8(t *testing.T) {
	w := mustNew(t, tensor.Bool, []int{3}, []byte{0, 1, 7})
	_, err := tensor.Of[int8](w)
	wantError(t, err, tensor.ErrDType, "BOOL", "I8")
	s, err := tensor.Of[uint8](w)
	if err != nil || !bytes.Equal(s, []byte{0, 1, 7}) || cap(s) != 3 {
		t.Errorf("a view of Bool is %v with cap %d (%v)", s, cap(s), err)
	}
}

func BenchmarkAppend(b *testing.B) {
	w := mustNew(b, tensor.F32, []int{1 << 20}, sequence(4<<20))
	dst := make([]float32, 0, 1<<20)
	b.SetBytes(4 << 20)
	for b.Loop() {
		tensor.Append(dst, w)
	}
}
