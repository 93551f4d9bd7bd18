//go:build (386 || amd64 || arm || arm64 || loong64 || mips64le || mipsle || ppc64le || riscv64 || wasm) && !purego

package tensor_test

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"testing"

	"heft/tensor"
)

func TestOf(t *testing.T) {
	elements(t, func(t *testing.T, d tensor.DType, of, _ func(tensor.Tensor) ([]byte, int, int, error)) {
		data := sequence(64)[:3*d.Bits()/8]
		raw, n, c, err := of(mustNew(t, d, []int{3}, data))
		if err != nil {
			t.Fatal(err)
		}
		if n != 3 || c != 3 || !bytes.Equal(raw, data) {
			t.Errorf("%d elements with cap %d: %x, want %x", n, c, raw, data)
		}
	})
}

func TestOfAlignment(t *testing.T) {
	align := map[int]int{8: 1, 16: 2, 32: 4, 64: reflect.TypeFor[uint64]().Align()}
	elements(t, func(t *testing.T, d tensor.DType, of, _ func(tensor.Tensor) ([]byte, int, int, error)) {
		align := align[d.Bits()]
		if d == tensor.C64 {
			align = 4
		}
		for offset := range 9 {
			w := mustNew(t, d, []int{1}, sequence(64)[offset:][:d.Bits()/8])
			_, _, _, err := of(w)
			if offset%align == 0 {
				if err != nil {
					t.Errorf("at %d: %v", offset, err)
				}
				continue
			}
			past := fmt.Sprintf("start %d past a multiple of %d", offset%align, align)
			wantError(t, err, tensor.ErrAlign, `tensor "w"`, "Append", past)

			empty := mustNew(t, d, []int{0}, w.Bytes()[:0])
			if _, n, _, err := of(empty); n != 0 || err != nil {
				t.Errorf("nothing at %d: %v", offset, err)
			}
		}
	})
}

func TestOfSharesMemory(t *testing.T) {
	data := sequence(8)
	s, err := tensor.Of[float32](mustNew(t, tensor.F32, []int{2}, data))
	if err != nil {
		t.Fatal(err)
	}
	s[1] = math.Float32frombits(0xaabbccdd)
	if !bytes.Equal(data, []byte{0, 1, 2, 3, 0xdd, 0xcc, 0xbb, 0xaa}) {
		t.Errorf("what was written through a view did not arrive: %x", data)
	}
}

func TestOfEmptyIsNotNil(t *testing.T) {
	for _, data := range [][]byte{nil, {}} {
		s, err := tensor.Of[float32](mustNew(t, tensor.F32, []int{0}, data))
		if s == nil || err != nil {
			t.Errorf("a view of nothing is nil (%v)", err)
		}
	}
}

func TestOfAllocatesNothing(t *testing.T) {
	w := mustNew(t, tensor.BF16, []int{4, 2}, sequence(16))
	var sum int
	allocs := testing.AllocsPerRun(100, func() {
		for i := range 4 {
			row, _ := w.Rows(i, i+1)
			s, _ := tensor.Of[tensor.BFloat16](row)
			sum += len(s)
		}
	})
	if allocs != 0 {
		t.Errorf("Rows and Of allocate %v times", allocs)
	}
}

func BenchmarkOf(b *testing.B) {
	w := mustNew(b, tensor.F32, []int{1 << 10}, sequence(4<<10))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tensor.Of[float32](w); err != nil {
			b.Fatal(err)
		}
	}
}
