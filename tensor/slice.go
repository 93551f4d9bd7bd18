package tensor

import (
	"fmt"
	"iter"
	"slices"
)

// Range selects the indices Lo to Hi-1 of a dimension. An index i alone is
// Range{Lo: i, Hi: i + 1}; Lo == Hi selects nothing and is legal from 0 to the
// dimension, both included.
type Range struct{ Lo, Hi int }

// Rows returns a view of the rows lo to hi-1 of t: of its elements whose first
// index is in that range. Name and element type are those of t, the first
// dimension is hi-lo. It copies and allocates nothing.
//
// Errors: [ErrRank] where t is a scalar, [ErrRange] unless 0 <= lo <= hi <= the
// first dimension, [ErrSubByte] where the rows start or end inside a byte.
func (t Tensor) Rows(lo, hi int) (Tensor, error) {
	if len(t.shape) == 0 {
		return Tensor{}, fmt.Errorf("tensor %q: %w: a scalar has no rows", t.name, ErrRank)
	}
	if lo < 0 || lo > hi || hi > t.rows {
		return Tensor{}, fmt.Errorf("tensor %q: %w: rows [%d, %d) of %d", t.name, ErrRange, lo, hi, t.rows)
	}
	var begin, end uint64 // in bits
	if lo < hi {
		row := uint64(len(t.data)) * 8 / uint64(t.rows)
		begin, end = uint64(lo)*row, uint64(hi)*row
		if begin%8 != 0 || end%8 != 0 {
			return Tensor{}, fmt.Errorf("tensor %q: %w: rows [%d, %d) are its bits [%d, %d)", t.name, ErrSubByte, lo, hi, begin, end)
		}
	}
	t.rows = hi - lo
	t.data = t.data[begin/8 : end/8 : end/8]
	return t, nil
}

// Spans returns where the selected elements lie among the bytes of a tensor of
// the given element type and shape: spans [lo, hi) of offsets, in order, each as
// long as can be. sel[i] selects within dimension i; dimensions not mentioned
// are whole. An empty selection has no spans.
//
// Neither shape nor sel is kept. Spans are made one at a time as the loop asks
// for them and cost no memory, however many there are; the sequence may be used
// again, and by several goroutines at once.
//
// Errors: [ErrDType]; [ErrRank] where there are more ranges than dimensions;
// [ErrRange] for a range that is not within its dimension; [ErrSubByte] where a
// span would start or end inside a byte, or the tensor itself would; [ErrSize]
// for a tensor of 2^61 bytes or more.
func Spans(d DType, shape []int, sel ...Range) (iter.Seq2[int64, int64], error) {
	if !d.Valid() {
		return nil, fmt.Errorf("%w: %v", ErrDType, d)
	}
	total, err := size(d, shape)
	if err != nil {
		return nil, err
	}
	if len(sel) > len(shape) {
		return nil, fmt.Errorf("%w: %d ranges for shape %v", ErrRank, len(sel), shape)
	}
	empty := total == 0
	for i, r := range sel {
		if r.Lo < 0 || r.Lo > r.Hi || r.Hi > shape[i] {
			return nil, fmt.Errorf("%w: range [%d, %d) in dimension %d of %v", ErrRange, r.Lo, r.Hi, i, shape)
		}
		empty = empty || r.Lo == r.Hi
	}
	if empty {
		return func(func(int64, int64) bool) {}, nil
	}
	g := newGrid(d, shape, sel)
	if !g.wholeBytes() {
		return nil, fmt.Errorf("%w: %v %v selected by %v: spans of %d bits from bit %d on",
			ErrSubByte, d, shape, sel, g.length, g.begin)
	}
	return func(yield func(lo, hi int64) bool) {
		walk(g.axes, int64(g.begin/8), int64(g.length/8), yield)
	}, nil
}

// A grid is where the spans of a selection that is not empty begin: at begin
// plus any multiple of each axis's stride less than its count. All spans have
// the same length. Everything is counted in bits.
//
// No two spans touch, so there is nothing to merge: the innermost dimension that
// is not selected whole leaves a gap before or after each of its runs.
type grid struct {
	begin, length uint64
	axes          []axis // innermost first, each of at least two
}

type axis struct {
	count, stride uint64
}

func newGrid(d DType, shape []int, sel []Range) grid {
	stride := uint64(d.Bits()) // from one index to the next of dimension i; size has made sure that it fits
	g := grid{length: stride}
	for i, dim := range slices.Backward(shape) {
		r := Range{0, dim}
		if i < len(sel) {
			r = sel[i]
		}
		count, last := uint64(r.Hi-r.Lo), len(g.axes)-1
		switch {
		case g.length == stride: // all dimensions within are whole
			g.length *= count
		case count == 1:
		case last >= 0 && g.axes[last].count*g.axes[last].stride == stride:
			g.axes[last].count *= count // goes on in the same steps
		default:
			g.axes = append(g.axes, axis{count, stride})
		}
		g.begin += uint64(r.Lo) * stride
		stride *= uint64(dim)
	}
	return g
}

// wholeBytes reports whether all spans start and end on a byte. The second span
// along each axis tells: the others are further multiples of its stride.
func (g grid) wholeBytes() bool {
	bits := g.begin | g.length
	for _, a := range g.axes {
		bits |= a.stride
	}
	return bits%8 == 0
}

// walk yields the spans of n bytes that begin at lo and at the steps of the axes
// from there. It recurses at most 64 deep: each axis at least doubles the size.
func walk(axes []axis, lo, n int64, yield func(lo, hi int64) bool) bool {
	if len(axes) == 0 {
		return yield(lo, lo+n)
	}
	outer := axes[len(axes)-1]
	for range outer.count {
		if !walk(axes[:len(axes)-1], lo, n, yield) {
			return false
		}
		lo += int64(outer.stride / 8)
	}
	return true
}
