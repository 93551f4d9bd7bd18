package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"heft/format"
	"heft/tensor"
)

// Whoever fails leaves the page cache as it was found, also where the next
// tensors were on their way already.
func TestEachRestores(t *testing.T) {
	if emulated() {
		t.Skip("qemu-user does not tell the truth about the page cache")
	}
	h, err := format.NewHeader(nil, []format.Entry{
		{Name: "first", DType: tensor.U8, Shape: []int{groupSize}},
		{Name: "next", DType: tensor.U8, Shape: []int{16 << 20}},
	})
	if err != nil {
		t.Fatal(err)
	}
	head, err := h.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := os.WriteFile(path, head, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, h.Tensors[1].End); err != nil {
		t.Fatal(err)
	}
	l, _, err := open([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	next, err := l.model.Region("next")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.Evict(); err != nil {
		t.Skip(err)
	}
	if n, err := next.Resident(); err != nil || n != 0 {
		t.Skipf("of the tensor %d bytes are in the page cache: %v", n, err)
	}
	fault := errors.New("fault")
	err = l.each(&cli{err: io.Discard}, "failing", l.tensors, func(int, tensor.Tensor) error {
		for n := int64(0); n < 8<<20; time.Sleep(time.Millisecond) {
			var err error
			if n, err = next.Resident(); err != nil {
				return err
			}
		}
		return fault
	})
	if n, _ := next.Resident(); err != fault || n > edges(l.tensors) {
		t.Errorf("after %v, %d bytes of the next tensor are in the page cache", err, n)
	}
}
