package main

import (
	"fmt"
	"strconv"
	"strings"

	"heft/tensor"
)

// A slice says what to take of a tensor, dimension by dimension, outermost
// first. Dimensions that it does not mention are whole.
type slice []index

// An index says what to take of one dimension: a single place, which drops the
// dimension, or a range, which keeps it. As in Python, places count from 0, and
// negative ones from the end. Unlike there, nothing may lie outside.
type index struct {
	lo, hi int // hi: of bounded only
	kind   kind
}

type kind uint8

const (
	single  kind = iota // lo alone
	bounded             // lo:hi, hi excluded
	toEnd               // lo:
)

// parseSlice reads what stands between brackets: "3", "0,:8", "-1,2:-1".
func parseSlice(text string) (slice, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var s slice
	for item := range strings.SplitSeq(text, ",") {
		x, err := parseIndex(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		s = append(s, x)
	}
	return s, nil
}

func parseIndex(text string) (index, error) {
	lo, hi, isRange := strings.Cut(text, ":")
	if strings.Contains(hi, ":") {
		return index{}, fmt.Errorf("%q has a step, and a slice takes none", text)
	}
	x, err1 := parsePlace(lo, isRange)
	y, err2 := parsePlace(hi, true)
	if err1 != nil || err2 != nil {
		return index{}, fmt.Errorf("%q is not an index or a range: 3, -1, 1:3, 1:, :3 and : are", text)
	}
	switch {
	case !isRange:
		return index{lo: x, kind: single}, nil
	case strings.TrimSpace(hi) == "":
		return index{lo: x, kind: toEnd}, nil
	}
	return index{x, y, bounded}, nil
}

// parsePlace reads a number that may be left out, and is 0 then.
func parsePlace(text string, optional bool) (int, error) {
	text = strings.TrimSpace(text)
	if text == "" && optional {
		return 0, nil
	}
	return strconv.Atoi(text)
}

// String returns the slice as parseSlice reads it.
func (s slice) String() string {
	items := make([]string, len(s))
	for i, x := range s {
		items[i] = x.String()
	}
	return strings.Join(items, ",")
}

func (x index) String() string {
	switch lo := strconv.Itoa(x.lo); {
	case x.kind == single:
		return lo
	case x.kind == bounded:
		return lo + ":" + strconv.Itoa(x.hi)
	case x.lo == 0:
		return ":"
	default:
		return lo + ":"
	}
}

// on returns what the slice takes of a shape: the range in each dimension that
// it mentions, for [tensor.Spans], and the shape of what it takes. The error
// matches tensor.ErrRank or tensor.ErrRange.
func (s slice) on(shape []int) (sel []tensor.Range, taken []int, err error) {
	if len(s) > len(shape) {
		return nil, nil, fmt.Errorf("%w: [%v] has an item for %d, shape %v has %d", tensor.ErrRank, s, len(s), shape, len(shape))
	}
	taken = []int{} // of a scalar, not nil
	for i, x := range s {
		r, ok := x.in(shape[i])
		switch {
		case !ok && 0 <= r.Hi && r.Hi < r.Lo && r.Lo <= shape[i]:
			return nil, nil, fmt.Errorf("%v is %w: it ends before it begins, in dimension %d of size %d", x, tensor.ErrRange, i, shape[i])
		case !ok:
			return nil, nil, fmt.Errorf("%v is %w: dimension %d has size %d", x, tensor.ErrRange, i, shape[i])
		}
		sel = append(sel, r)
		if x.kind != single {
			taken = append(taken, r.Hi-r.Lo)
		}
	}
	return sel, append(taken, shape[len(s):]...), nil
}

// in returns the range that x is in a dimension of the given size, and whether it is within.
func (x index) in(size int) (r tensor.Range, ok bool) {
	lo, hi := x.lo, x.hi
	if lo < 0 {
		lo += size
	}
	if hi < 0 {
		hi += size
	}
	switch x.kind {
	case single:
		if lo < 0 || lo >= size {
			return r, false
		}
		hi = lo + 1
	case toEnd:
		hi = size
	}
	return tensor.Range{Lo: lo, Hi: hi}, 0 <= lo && lo <= hi && hi <= size
}
