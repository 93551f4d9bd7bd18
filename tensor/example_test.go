package tensor_test

import (
	"errors"
	"fmt"
	"log"

	"heft/tensor"
)

func ExampleOf() {
	data := []byte{0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc1} // 1 and -10, little-endian
	w, err := tensor.New("bias", tensor.F32, []int{2}, data)
	if err != nil {
		log.Fatal(err)
	}
	bias, err := tensor.Of[float32](w)
	if errors.Is(err, tensor.ErrAlign) || errors.Is(err, tensor.ErrByteOrder) {
		bias, err = tensor.Append[float32](nil, w)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bias)
	// Output: [1 -10]
}

func ExampleAppend() {
	// The header of a file may have any length, and so may the tensors before
	// this one: its bytes need not be aligned.
	file := []byte{0xff, 1, 0, 0, 0, 2, 0, 0, 0, 0xfd, 0xff, 0xff, 0xff}
	w, err := tensor.New("ids", tensor.I32, []int{3}, file[1:])
	if err != nil {
		log.Fatal(err)
	}
	ids, err := tensor.Append[int32](nil, w)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ids)
	// Output: [1 2 -3]
}

func ExampleAppendFloat32() {
	for _, w := range []struct {
		dtype tensor.DType
		shape []int
		data  []byte
	}{
		{tensor.BF16, []int{2}, []byte{0x80, 0x3f, 0x49, 0x40}},
		{tensor.F8E4M3, []int{2}, []byte{0x38, 0x7e}},
		{tensor.F4, []int{2, 2}, []byte{0x21, 0xf7}}, // the low nibble first
		{tensor.I64, []int{1}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	} {
		t, err := tensor.New("w", w.dtype, w.shape, w.data)
		if err != nil {
			log.Fatal(err)
		}
		values, err := tensor.AppendFloat32(nil, t)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(t.DType(), values)
	}
	// Output:
	// BF16 [1 3.140625]
	// F8_E4M3 [1 448]
	// F4 [0.5 1 6 -6]
	// I64 [-1]
}

func ExampleSpans() {
	// Columns 1 and 2 of all rows.
	spans, err := tensor.Spans(tensor.F32, []int{3, 8}, tensor.Range{Lo: 0, Hi: 3}, tensor.Range{Lo: 1, Hi: 3})
	if err != nil {
		log.Fatal(err)
	}
	for lo, hi := range spans {
		fmt.Printf("bytes %d to %d\n", lo, hi-1)
	}
	// Output:
	// bytes 4 to 11
	// bytes 36 to 43
	// bytes 68 to 75
}

func ExampleTensor_Rows() {
	embeddings, err := tensor.New("wte", tensor.U8, []int{3, 4}, []byte("headbodytail"))
	if err != nil {
		log.Fatal(err)
	}
	row, err := embeddings.Rows(1, 2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%v: %s\n", row, row.Bytes())
	// Output: "wte" U8 [1 4]: body
}
