package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"heft/tensor"
)

func TestSlice(t *testing.T) {
	last := strconv.Itoa(math.MaxInt - 1)
	for _, test := range []struct {
		text  string
		shape []int
		print string
		sel   string
		taken []int
	}{
		{"", nil, "", "[]", []int{}},
		{" ", []int{2, 3}, "", "[]", []int{2, 3}},
		{"1", []int{2, 3}, "1", "[{1 2}]", []int{3}},
		{"-1,0", []int{2, 3}, "-1,0", "[{1 2} {0 1}]", []int{}},
		{":", []int{2, 3}, ":", "[{0 2}]", []int{2, 3}},
		{"0:,:2", []int{2, 3}, ":,0:2", "[{0 2} {0 2}]", []int{2, 2}},
		{"1:,1:2", []int{2, 3}, "1:,1:2", "[{1 2} {1 2}]", []int{1, 1}},
		{"-2:,-3:-1", []int{4, 4}, "-2:,-3:-1", "[{2 4} {1 3}]", []int{2, 2}},
		{" 1 , 0 : 2 ", []int{2, 3}, "1,0:2", "[{1 2} {0 2}]", []int{2}},
		{"+1,-0,007", []int{2, 1, 8}, "1,0,7", "[{1 2} {0 1} {7 8}]", []int{}},

		// Empty, where the reference panics or refuses, and tensor.Spans does not.
		{"3:3", []int{3}, "3:3", "[{3 3}]", []int{0}},
		{"3:", []int{3}, "3:", "[{3 3}]", []int{0}},
		{":0", []int{3}, "0:0", "[{0 0}]", []int{0}},
		{":-3", []int{3}, "0:-3", "[{0 0}]", []int{0}},
		{":,:", []int{2, 0}, ":,:", "[{0 2} {0 0}]", []int{2, 0}},
		{last, []int{math.MaxInt, 0}, last, "[{" + last + " " + strconv.Itoa(math.MaxInt) + "}]", []int{0}},
	} {
		s, err := parseSlice(test.text)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if s.String() != test.print {
			t.Errorf("%q prints as %q, want %q", test.text, s, test.print)
		}
		sel, taken, err := s.on(test.shape)
		if err != nil || fmt.Sprint(sel) != test.sel || !slices.Equal(taken, test.taken) || taken == nil {
			t.Errorf("[%s] on %v takes %v, %v, %v", test.text, test.shape, sel, taken, err)
		}
	}
}

func TestSliceErrors(t *testing.T) {
	for _, test := range []struct {
		text, want string
	}{
		{",", `"" is not an index or a range`},
		{"0,", `"" is not`},
		{"x", `"x" is not`},
		{"1.5", `"1.5" is not`},
		{"1 2", `"1 2" is not`},
		{"0x1", `"0x1" is not`},
		{"--1", `"--1" is not`},
		{"...", `"..." is not`},
		{"1:b", `"1:b" is not`},
		{"99999999999999999999", `"99999999999999999999" is not`},
		{"::2", `"::2" has a step`},
	} {
		if s, err := parseSlice(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, %v", test.text, s, err)
		}
	}
	for _, test := range []struct {
		text  string
		shape []int
		kind  error
		want  string
	}{
		{"0", nil, tensor.ErrRank, "too few dimensions: [0] has an item for 1, shape [] has 0"},
		{":,:,9", []int{2, 3}, tensor.ErrRank, "too few dimensions: [:,:,9] has an item for 3, shape [2 3] has 2"},
		{"0,3", []int{2, 3}, tensor.ErrRange, "3 is out of range: dimension 1 has size 3"},
		{"-6", []int{5}, tensor.ErrRange, "-6 is out of range: dimension 0 has size 5"},
		{":4", []int{3}, tensor.ErrRange, "0:4 is out of range"},
		{"4:", []int{3}, tensor.ErrRange, "4: is out of range"},
		{"4:4", []int{3}, tensor.ErrRange, "4:4 is out of range"},
		{"-4:", []int{3}, tensor.ErrRange, "-4: is out of range"},
		{":-4", []int{3}, tensor.ErrRange, "0:-4 is out of range"},
		{"2:1", []int{3}, tensor.ErrRange, "2:1 is out of range: it ends before it begins, in dimension 0 of size 3"},
		{"0", []int{0}, tensor.ErrRange, "0 is out of range"},
		{"-1", []int{0}, tensor.ErrRange, "-1 is out of range"},
	} {
		s, err := parseSlice(test.text)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if _, _, err := s.on(test.shape); !errors.Is(err, test.kind) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("[%s] on %v: %v", test.text, test.shape, err)
		}
	}
}

// Every slice that the reference was asked takes the shape and the bytes that
// it took, or is refused for the same reason.
func TestSliceConformance(t *testing.T) {
	kinds := map[string]error{
		"TooManySlices":   tensor.ErrRank,
		"SliceOutOfRange": tensor.ErrRange,
		"MisalignedSlice": tensor.ErrSubByte,
	}
	f, err := os.Open("../../testdata/conformance/slices.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for scan := bufio.NewScanner(f); scan.Scan(); lines++ {
		var v struct {
			Name, Data, Pattern, Slice, Bytes, Kind string
			DType                                   tensor.DType
			Shape                                   []int
			ShapeOut                                []int `json:"shape_out"`
			OK                                      bool
		}
		if err := json.Unmarshal(scan.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		s, err := parseSlice(v.Slice)
		if err != nil {
			t.Fatal(err)
		}
		sel, taken, err := s.on(v.Shape)
		if err == nil {
			err = take(&got, v.DType, v.Shape, sel, v.Data)
		}
		switch {
		case !v.OK && (err == nil || !errors.Is(err, kinds[v.Kind])):
			t.Errorf("%s: %v, want %s", v.Name, err, v.Kind)
		case v.OK && (err != nil || got.String() != v.Bytes || !slices.Equal(taken, v.ShapeOut)):
			t.Errorf("%s: %v of shape %v, want %s of %v; %v", v.Name, &got, taken, v.Bytes, v.ShapeOut, err)
		}
	}
	if lines < 300 {
		t.Errorf("only %d vectors", lines)
	}
}

// take writes the selected bytes of a tensor in hexadecimal. Without data, byte
// i of the tensor is i^i>>8.
func take(w *strings.Builder, d tensor.DType, shape []int, sel []tensor.Range, data string) error {
	spans, err := tensor.Spans(d, shape, sel...)
	if err != nil {
		return err
	}
	for lo, hi := range spans {
		for i := lo; i < hi; i++ {
			if data == "" {
				w.WriteString(hex.EncodeToString([]byte{byte(i ^ i>>8)}))
			} else {
				w.WriteString(data[2*i : 2*i+2])
			}
		}
	}
	return nil
}

// FuzzSlice holds that what is read prints as what is read the same, and that
// what it takes lies within the shape, whose dimensions are the bytes of dims.
func FuzzSlice(f *testing.F) {
	f.Add("0,:8", []byte{4, 16})
	f.Fuzz(func(t *testing.T, text string, dims []byte) {
		s, err := parseSlice(text)
		if err != nil {
			return
		}
		if back, err := parseSlice(s.String()); err != nil || !slices.Equal(back, s) {
			t.Fatalf("%q prints as %q, which is %v, %v", text, s, back, err)
		}
		shape := make([]int, min(len(dims), 6))
		for i := range shape {
			shape[i] = int(dims[i])
		}
		sel, taken, err := s.on(shape)
		if err != nil {
			if !errors.Is(err, tensor.ErrRank) && !errors.Is(err, tensor.ErrRange) {
				t.Errorf("[%v] on %v: %v", s, shape, err)
			}
			return
		}
		count := func(shape []int) (n int64) {
			n = 1
			for _, dim := range shape {
				n *= int64(dim)
			}
			return n
		}
		spans, err := tensor.Spans(tensor.U8, shape, sel...) // refuses what is not within
		if err != nil {
			t.Fatalf("[%v] on %v: %v", s, shape, err)
		}
		n := int64(0)
		for lo, hi := range spans {
			if n += hi - lo; n > 1<<16 {
				return // takes too long
			}
		}
		if n != count(taken) {
			t.Errorf("[%v] on %v takes %d elements, not shape %v", s, shape, n, taken)
		}
	})
}
