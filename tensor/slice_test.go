package tensor_test

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"heft/tensor"
)

// A vector is one line of testdata/conformance/slices.jsonl.
type vector struct {
	Name    string
	DType   tensor.DType
	Shape   []int
	Data    string
	Pattern string
	Slice   string
	OK      bool
	Bytes   string
	Kind    string
}

func (v vector) data(t *testing.T) []byte {
	if v.Pattern == "" {
		return mustHex(t, v.Data)
	}
	n := v.DType.Bits()
	for _, dim := range v.Shape {
		n *= dim
	}
	data := make([]byte, n/8)
	for i := range data {
		data[i] = byte(i ^ i>>8)
	}
	return data
}

// ranges reads a slice as "1,2:,:3"; an index alone selects the same bytes as
// the range of that one index, and the reference counts dimensions first.
func (v vector) ranges(t *testing.T) []tensor.Range {
	if v.Slice == "" {
		return nil
	}
	var sel []tensor.Range
	for i, s := range strings.Split(v.Slice, ",") {
		var r tensor.Range
		lo, hi, isRange := strings.Cut(s, ":")
		if lo != "" {
			r.Lo = mustAtoi(t, lo)
		}
		switch {
		case !isRange:
			r.Hi = r.Lo + 1
		case hi != "":
			r.Hi = mustAtoi(t, hi)
		case i < len(v.Shape):
			r.Hi = v.Shape[i]
		}
		sel = append(sel, r)
	}
	return sel
}

func mustHex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustAtoi(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSpansConformance(t *testing.T) {
	kinds := map[string]error{
		"TooManySlices":   tensor.ErrRank,
		"SliceOutOfRange": tensor.ErrRange,
		"MisalignedSlice": tensor.ErrSubByte,
	}
	f, err := os.Open("../testdata/conformance/slices.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for s := bufio.NewScanner(f); s.Scan(); lines++ {
		var v vector
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		t.Run(v.Name, func(t *testing.T) {
			spans, err := tensor.Spans(v.DType, v.Shape, v.ranges(t)...)
			if !v.OK {
				if kinds[v.Kind] == nil {
					t.Fatalf("unknown kind %s", v.Kind)
				}
				wantError(t, err, kinds[v.Kind])
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for lo, hi := range spans {
				got = append(got, v.data(t)[lo:hi]...)
			}
			if hex.EncodeToString(got) != v.Bytes {
				t.Errorf("%x, want %s", got, v.Bytes)
			}
		})
	}
	if lines < 300 {
		t.Errorf("only %d vectors", lines)
	}
}

// What the vectors leave out.
func TestSpans(t *testing.T) {
	type ranges = []tensor.Range
	const huge = math.MaxInt
	for _, test := range []struct {
		dtype tensor.DType
		shape []int
		sel   ranges
		want  string
		err   error
	}{
		// Empty selections, where the reference panics, refuses or gives too much.
		{tensor.U8, []int{3}, ranges{{3, 3}}, "", nil},
		{tensor.U8, []int{2, 3}, ranges{{0, 0}, {0, 1}}, "", nil},
		{tensor.U8, []int{2, 3}, ranges{{0, 2}, {1, 1}}, "", nil},
		{tensor.U8, []int{2, 0}, ranges{{0, 2}, {0, 0}}, "", nil},
		{tensor.F4, []int{4}, ranges{{1, 1}}, "", nil},
		{tensor.F64, []int{huge, 0, huge}, ranges{{5, huge}}, "", nil},
		{tensor.F64, []int{huge, huge, 0}, nil, "", nil},

		// Merging.
		{tensor.U8, []int{2, 3, 4}, nil, "0-24", nil},
		{tensor.U8, []int{2, 3, 4}, ranges{{0, 2}, {0, 3}, {0, 4}}, "0-24", nil},
		{tensor.U8, []int{2, 3, 4}, ranges{{0, 2}, {1, 3}}, "4-12 16-24", nil},
		{tensor.U8, []int{2, 3, 4}, ranges{{0, 2}, {0, 3}, {0, 1}}, "0-1 4-5 8-9 12-13 16-17 20-21", nil},
		{tensor.U8, []int{2, 3, 4}, ranges{{1, 2}, {1, 2}, {1, 3}}, "17-19", nil},
		{tensor.U8, []int{4, 1, 2}, ranges{{1, 3}, {0, 1}, {1, 2}}, "3-4 5-6", nil},
		{tensor.U8, nil, nil, "0-1", nil},

		// Sub-byte spans: the first may fit where the next does not.
		{tensor.F4, []int{2, 3, 2}, ranges{{0, 2}, {1, 2}}, "1-2 4-5", nil},
		{tensor.F4, []int{2, 5, 1}, ranges{{0, 2}, {0, 2}}, "", tensor.ErrSubByte},
		{tensor.F4, []int{2, 5}, ranges{{0, 1}, {0, 2}}, "0-1", nil},
		{tensor.F4, []int{3}, ranges{{0, 2}}, "", tensor.ErrSubByte},
		{tensor.F6E2M3, []int{4, 5}, ranges{{1, 3}, {1, 5}}, "", tensor.ErrSubByte},
		{tensor.F6E2M3, []int{8, 2}, ranges{{2, 6}}, "3-9", nil},

		{0, []int{3}, nil, "", tensor.ErrDType},
		{tensor.U8, nil, ranges{{0, 1}}, "", tensor.ErrRank},
		{tensor.U8, []int{0}, ranges{{0, 0}, {0, 0}}, "", tensor.ErrRank},
		{tensor.U8, []int{3}, ranges{{-1, 2}}, "", tensor.ErrRange},
		{tensor.U8, []int{3}, ranges{{2, 1}}, "", tensor.ErrRange},
		{tensor.U8, []int{3}, ranges{{0, 4}}, "", tensor.ErrRange},
		{tensor.U8, []int{3}, ranges{{4, 4}}, "", tensor.ErrRange},
		{tensor.U8, []int{3}, ranges{{math.MinInt, huge}}, "", tensor.ErrRange},
		{tensor.U8, []int{0, 3}, ranges{{0, 0}, {0, 4}}, "", tensor.ErrRange},
		{tensor.U8, []int{-1}, nil, "", tensor.ErrRange},
		{tensor.U8, []int{huge, huge}, ranges{{0, 1}, {0, 1}}, "", tensor.ErrSize},
	} {
		t.Run(fmt.Sprint(test.dtype, test.shape, test.sel), func(t *testing.T) {
			spans, err := tensor.Spans(test.dtype, test.shape, test.sel...)
			if test.err != nil {
				wantError(t, err, test.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the sequence may be used again
				var got []string
				for lo, hi := range spans {
					got = append(got, fmt.Sprintf("%d-%d", lo, hi))
				}
				if s := strings.Join(got, " "); s != test.want {
					t.Errorf("%s, want %s", s, test.want)
				}
			}
		})
	}
}

func TestSpansNamesNumbers(t *testing.T) {
	_, err := tensor.Spans(tensor.U8, []int{3, 4}, tensor.Range{0, 3}, tensor.Range{2, 9})
	wantError(t, err, tensor.ErrRange, "[2, 9)", "dimension 1", "[3 4]")
	_, err = tensor.Spans(tensor.F4, []int{2, 4}, tensor.Range{0, 2}, tensor.Range{1, 3})
	wantError(t, err, tensor.ErrSubByte, "F4", "8 bits from bit 4")
}

// A tensor of 2^60 bytes, on 32-bit machines too: nothing is listed or counted in int.
func TestSpansOfHugeTensor(t *testing.T) {
	shape := []int{1 << 20, 1 << 20, 1 << 20}
	spans, err := tensor.Spans(tensor.U8, shape, tensor.Range{1 << 19, 1 << 20}, tensor.Range{0, 1 << 20}, tensor.Range{5, 7})
	if err != nil {
		t.Fatal(err)
	}
	want := int64(1<<59 + 5)
	for lo, hi := range spans {
		if lo != want || hi != want+2 {
			t.Fatalf("span [%d, %d), want [%d, %d)", lo, hi, want, want+2)
		}
		if want += 1 << 20; want > 1<<59+100<<20 {
			break
		}
	}
	spans, err = tensor.Spans(tensor.U8, shape, tensor.Range{1<<20 - 1, 1 << 20}, tensor.Range{1<<20 - 1, 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for lo, hi := range spans {
		if lo != 1<<60-1<<20 || hi != 1<<60 {
			t.Errorf("the last row is [%d, %d)", lo, hi)
		}
	}
}

func TestSpansAreLazy(t *testing.T) {
	allocs := func(rows int) float64 {
		var sum int64
		return testing.AllocsPerRun(10, func() {
			// Two axes that do not merge, and one span for each element.
			spans, _ := tensor.Spans(tensor.U16, []int{4, rows, 7}, tensor.Range{0, 4}, tensor.Range{0, rows - 1}, tensor.Range{2, 3})
			for lo, hi := range spans {
				sum += hi - lo
			}
		})
	}
	if few, many := allocs(10), allocs(10000); few != many || many > 10 {
		t.Errorf("40 spans cost %v allocations, 40,000 cost %v", few, many)
	}
}

// naiveSpans visits every element.
func naiveSpans(d tensor.DType, shape []int, sel []tensor.Range) (spans [][2]int64, err error) {
	bits, total := int64(d.Bits()), int64(1)
	for _, dim := range shape {
		total *= int64(dim)
	}
	for e := range total {
		rest, selected := e, true
		for i, dim := range slices.Backward(shape) {
			x := int(rest % int64(dim))
			rest /= int64(dim)
			selected = selected && (i >= len(sel) || sel[i].Lo <= x && x < sel[i].Hi)
		}
		switch last := len(spans) - 1; {
		case !selected:
		case last >= 0 && spans[last][1] == e*bits:
			spans[last][1] += bits
		default:
			spans = append(spans, [2]int64{e * bits, e*bits + bits})
		}
	}
	if total*bits%8 != 0 {
		return nil, tensor.ErrSubByte
	}
	for i, s := range spans {
		if (s[0]|s[1])%8 != 0 {
			return nil, tensor.ErrSubByte
		}
		spans[i] = [2]int64{s[0] / 8, s[1] / 8}
	}
	return spans, nil
}

// FuzzSpans reads a type from the first byte, a rank from the second, and then a
// dimension and the ends of a range for each dimension as long as there are bytes.
func FuzzSpans(f *testing.F) {
	f.Add([]byte("\x02\x02\x02\x00\x02\x04\x01\x03"))
	f.Add([]byte("\x0e\x03\x02\x00\x02\x03\x01\x02\x04"))
	f.Add([]byte("\x03\x03\x04\x01\x02\x05\x00\x05\x04\x00\x04"))
	f.Add([]byte("\x01\x02\x00\x00\x00\x03\x01\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		next := func(below int) int {
			if len(in) == 0 {
				return 0
			}
			x := int(in[0]) % below
			in = in[1:]
			return x
		}
		d := tensor.Bool + tensor.DType(next(22))
		shape := make([]int, next(6))
		for i := range shape {
			shape[i] = 1
		}
		var sel []tensor.Range
		for i := range shape {
			if len(in) == 0 {
				break
			}
			shape[i] = next(7)
			if len(in) > 0 {
				lo := next(shape[i] + 1)
				sel = append(sel, tensor.Range{Lo: lo, Hi: lo + next(shape[i]-lo+1)})
			}
		}
		want, wantErr := naiveSpans(d, shape, sel)
		spans, err := tensor.Spans(d, shape, sel...)
		if wantErr != nil {
			wantError(t, err, wantErr)
			return
		}
		if err != nil {
			t.Fatalf("%v %v %v: %v", d, shape, sel, err)
		}
		var got [][2]int64
		for lo, hi := range spans {
			got = append(got, [2]int64{lo, hi})
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v %v %v: %v, want %v", d, shape, sel, got, want)
		}
	})
}

func BenchmarkSpans(b *testing.B) {
	b.ReportAllocs()
	var sum int64
	for b.Loop() {
		spans, _ := tensor.Spans(tensor.F32, []int{1000, 64}, tensor.Range{0, 1000}, tensor.Range{5, 6})
		for lo, hi := range spans {
			sum += hi - lo
		}
	}
}
