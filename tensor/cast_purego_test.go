//go:build !(386 || amd64 || arm || arm64 || loong64 || mips64le || mipsle || ppc64le || riscv64 || wasm) || purego

package tensor_test

import (
	"testing"

	"heft/tensor"
)

func TestOfWithoutUnsafe(t *testing.T) {
	elements(t, func(t *testing.T, d tensor.DType, of, _ func(tensor.Tensor) ([]byte, int, int, error)) {
		_, n, c, err := of(mustNew(t, d, []int{3}, sequence(3*d.Bits()/8)))
		if d == tensor.U8 || d == tensor.Bool {
			if n != 3 || c != 3 || err != nil {
				t.Errorf("%d elements with cap %d (%v)", n, c, err)
			}
			return
		}
		wantError(t, err, tensor.ErrByteOrder, `tensor "w"`)
	})
}
