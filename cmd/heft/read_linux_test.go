package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"heft/format"
	"heft/loader"
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

// What is written of a tensor counts only if all of it could be read and nobody
// has changed the file: else a JSON document has no end, and a line has.
func TestCatFails(t *testing.T) {
	if emulated() {
		t.Skip("qemu-user does not tell at which address a fault was")
	}
	h, err := format.NewHeader(nil, []format.Entry{{Name: "w", DType: tensor.U8, Shape: []int{1 << 20}}})
	if err != nil {
		t.Fatal(err)
	}
	head, err := h.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	for _, test := range []struct {
		name string
		size int64 // to which the file is truncated
		want func(error) bool
	}{
		{"truncated", 512 << 10, func(err error) bool {
			var fault *loader.FaultError
			return errors.As(err, &fault) && fault.Tensor == "w" && errors.Is(err, io.ErrUnexpectedEOF)
		}},
		{"grown", h.Tensors[0].End + 1, func(err error) bool { return errors.Is(err, loader.ErrChanged) }},
	} {
		for _, asJSON := range []bool{false, true} {
			if err := os.WriteFile(path, append(head, make([]byte, 1<<20)...), 0o666); err != nil {
				t.Fatal(err)
			}
			l, _, err := open([]string{path})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, test.size); err != nil {
				t.Fatal(err)
			}
			s, err := l.slice("w")
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			c := &cli{out: bufio.NewWriter(&out), err: io.Discard, json: asJSON}
			if err := (&cat{limit: noLimit}).show(c, l, s); !test.want(err) {
				t.Errorf("%s: %v", test.name, err)
			}
			c.out.Flush()
			if end := out.Bytes()[out.Len()-1]; (end == '\n') == asJSON {
				t.Errorf("%s, JSON %v: the output ends in %q", test.name, asJSON, end)
			}
			l.close()
		}
	}
}
