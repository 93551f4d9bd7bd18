package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"heft/tensor"
)

// cat is the verb that shows the values of a tensor, or of a slice of it.
//
// It has no progress: what it writes is its progress, and goes to a terminal, or
// to a pager that has one.
type cat struct {
	limit  uint
	format string
	raw    bool
}

// screenful is how many values a terminal gets that did not ask for more. A pipe gets all.
const screenful = 1000

const noLimit = math.MaxUint // none was given

func (v *cat) flags(f *pflag.FlagSet) {
	f.UintVarP(&v.limit, "limit", "n", noLimit, fmt.Sprintf("the first `N` values; 0: all, as a pipe and --json get\n(a terminal gets %d)", screenful))
	f.StringVar(&v.format, "format", "", "print each value by this `VERB` of Go's fmt: %.3g, %08b")
	f.BoolVar(&v.raw, "raw", false, "the bytes as they are in the file; not to a terminal")
}

func (*cat) notes() string {
	return `SLICE has an item for each dimension, outermost first; those left out are whole.
As in Python, 3 takes one and drops the dimension; 1:3, 1:, :3 and : keep it, and
-1 is the last. Nothing may lie outside. A tensor called w[0] goes before a slice.
A row of the last dimension is a line, with a blank line between matrices.
`
}

func (v *cat) run(c *cli, args []string) error {
	if err := v.check(c); err != nil {
		return err
	}
	l, rest, err := open(args)
	if err != nil {
		return err
	}
	defer l.close()
	switch len(rest) {
	case 1:
	case 0:
		return &failure{err: errors.New("cat needs a TENSOR"), hint: "heft help cat"}
	default:
		return usagef("cat takes one TENSOR, not %d", len(rest))
	}
	s, err := l.slice(rest[0])
	if err != nil {
		return err
	}
	return v.show(c, l, s)
}

// check returns an error if the flags make no sense together or here.
func (v *cat) check(c *cli) error {
	switch {
	case v.raw && c.json:
		return usagef("--raw and --json exclude each other")
	case v.format != "" && (v.raw || c.json):
		return usagef("--format is for text: neither --raw nor --json goes with it")
	case v.raw && c.screen.tty:
		return &failure{err: errors.New("--raw writes bytes as they are, which a terminal might obey"), hint: "pipe it, or redirect it to a file"}
	}
	return nil
}

// sliced is what a slice takes of a tensor.
type sliced struct {
	*row
	shape []int                   // of what it takes
	count int64                   // its elements
	spans iter.Seq2[int64, int64] // where they are among the bytes of the tensor
}

// slice finds the tensor and what is wanted of it. A tensor whose name is all of
// arg goes before a slice of one whose name is what stands before the brackets.
func (l *listing) slice(arg string) (*sliced, error) {
	find := func(name string) *row {
		if i := slices.IndexFunc(l.tensors, func(r row) bool { return r.Name == name }); i >= 0 {
			return &l.tensors[i]
		}
		return nil
	}
	r, name, text := find(arg), arg, ""
	if i := strings.LastIndexByte(arg, '['); r == nil && i >= 0 && strings.HasSuffix(arg, "]") {
		name, text = arg[:i], arg[i+1:len(arg)-1]
		r = find(name)
	}
	if r == nil {
		hint := cmp.Or(didYouMean(name, l.names()), didYouMean(arg, l.names()))
		return nil, &failure{err: fmt.Errorf("no tensor %q in %s", name, l.name), hint: hint}
	}
	s, err := parseSlice(text)
	var sel []tensor.Range
	t := &sliced{row: r}
	if err == nil {
		sel, t.shape, err = s.on(r.Shape)
	}
	if err == nil {
		t.spans, err = tensor.Spans(r.DType, r.Shape, sel...)
	}
	if err != nil {
		return nil, cutError(r, err)
	}
	t.count = elementsOf(t.shape)
	return t, nil
}

// cutError returns the error for a slice that cannot be had of a tensor.
func cutError(r *row, err error) error {
	f := &failure{err: fmt.Errorf("tensor %q: %w", r.Name, err)}
	if errors.Is(err, tensor.ErrSubByte) {
		bytes := map[int]string{4: "2 elements are a byte", 6: "4 elements are 3 bytes"}
		f.hint = fmt.Sprintf("%s of %v: it can be cut only between them", bytes[r.DType.Bits()], r.DType)
	}
	return f
}

// elementsOf returns how many elements a shape has.
func elementsOf(shape []int) int64 {
	if slices.Contains(shape, 0) {
		return 0 // however large the others
	}
	n := int64(1)
	for _, dim := range shape {
		n *= int64(dim)
	}
	return n
}

// show writes what was taken of a tensor.
func (v *cat) show(c *cli, l *listing, s *sliced) error {
	n := s.count // how many values are wanted
	switch {
	case v.limit == noLimit && c.screen.tty && !c.json:
		n = min(n, screenful)
	case v.limit != 0 && v.limit != noLimit:
		n = int64(min(uint64(n), uint64(v.limit)))
	}
	if v.raw {
		return v.showRaw(c, l, s, n)
	}
	p := &printer{sliced: s, style: style{v.format, c.json, c.screen}, out: c.out, left: n}
	if err := p.style.check(s.DType); err != nil {
		return err
	}
	if c.json {
		if err := p.begin(l.name); err != nil {
			return err
		}
	}
	bits := int64(s.DType.Bits())
	whole := (n + 3) / 4 * 4 // of F6, four are whole bytes
	err := l.gather(c, s, min(whole, s.count)*bits/8, p.block)
	if err := p.end(err); err != nil || n == s.count || c.json || c.quiet {
		return err
	}
	if err := c.out.Flush(); err != nil { // the values come first
		return err
	}
	c.say("hint:", fmt.Sprintf("left out %d of %d values: -n 0 for all", s.count-n, s.count))
	return nil
}

// showRaw writes the bytes of the first n elements.
func (v *cat) showRaw(c *cli, l *listing, s *sliced, n int64) error {
	bits := n * int64(s.DType.Bits())
	if bits%8 != 0 {
		return cutError(s.row, fmt.Errorf("%w: %d elements of %v are %d bits", tensor.ErrSubByte, n, s.DType, bits))
	}
	return l.gather(c, s, bits/8, func(b []byte) error {
		_, err := c.out.Write(b)
		return err
	})
}
