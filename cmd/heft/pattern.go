package main

import (
	"errors"
	"fmt"
	"iter"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"heft/tensor"
)

// A selection is what the flags say about which tensors a verb is about.
type selection struct {
	regexp  bool
	exclude []string
	dtypes  dtypeFlag
	minSize sizeFlag
}

func (s *selection) flags(f *pflag.FlagSet) {
	f.BoolVarP(&s.regexp, "regexp", "e", false, "patterns are Go regular expressions, unanchored")
	f.StringArrayVarP(&s.exclude, "exclude", "x", nil, "drop names matching `GLOB` (repeatable)")
	f.VarP(&s.dtypes, "dtype", "t", "only these element types: `BF16,F32`")
	f.Var(&s.minSize, "min-size", "only tensors of at least `SIZE` (64M, 1.5G: powers of 2)")
}

// compile returns the function that says whether a tensor is selected by the
// flags and by any of the patterns. No pattern selects every name.
func (s *selection) compile(patterns []string) (func(name string, d tensor.DType, size int64) bool, error) {
	include, err := compileAny(patterns, s.regexp)
	if err != nil {
		return nil, err
	}
	exclude, err := compileAny(s.exclude, false)
	if err != nil {
		return nil, err
	}
	return func(name string, d tensor.DType, size int64) bool {
		return size >= int64(s.minSize) &&
			(len(s.dtypes) == 0 || slices.Contains(s.dtypes, d)) &&
			(len(patterns) == 0 || include(name)) &&
			(len(s.exclude) == 0 || !exclude(name))
	}, nil
}

// compileAny returns a function that says whether any of the patterns matches a name.
func compileAny(patterns []string, regular bool) (func(string) bool, error) {
	matchers := make([]func(string) bool, len(patterns))
	for i, p := range patterns {
		if !regular {
			matchers[i] = compileGlob(p).match
			continue
		}
		re, err := regexp.Compile(p)
		if e := (*syntax.Error)(nil); errors.As(err, &e) {
			return nil, &failure{err: fmt.Errorf("pattern %q: %v: %q", p, e.Code, e.Expr), hint: "without -e, patterns are shell globs"}
		}
		matchers[i] = re.MatchString
	}
	return func(name string) bool {
		for _, match := range matchers {
			if match(name) {
				return true
			}
		}
		return false
	}, nil
}

// nothing returns the negative answer for a selection that selects none of the
// names of a model, with the name that was probably meant.
func (s *selection) nothing(model string, patterns []string, names iter.Seq[string]) error {
	f := &failure{err: fmt.Errorf("no tensor of %s is selected", model), status: statusNo}
	if len(patterns) != 1 {
		return f
	}
	p := patterns[0]
	f.err = fmt.Errorf("no tensor of %s matches %q", model, p)
	if s.regexp || strings.ContainsAny(p, `*?[\`) {
		return f
	}
	for name := range names {
		if strings.HasPrefix(name, p+".") {
			f.hint = fmt.Sprintf("a trailing dot selects a module: %q", p+".")
			return f
		}
	}
	f.hint = didYouMean(p, names)
	return f
}

// A dtypeFlag is a flag that takes a list of element types. Case does not matter.
type dtypeFlag []tensor.DType

func (f *dtypeFlag) Set(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		d, err := tensor.ParseDType(strings.ToUpper(strings.TrimSpace(name)))
		if err != nil {
			if near, ok := closest(strings.ToUpper(name), dtypeNames); ok {
				return fmt.Errorf("no element type is called %q: did you mean %s?", name, near)
			}
			return fmt.Errorf("no element type is called %q", name)
		}
		*f = append(*f, d)
	}
	return nil
}

func (f *dtypeFlag) String() string { return fmt.Sprint([]tensor.DType(*f)) }
func (f *dtypeFlag) Type() string   { return "list" }

// dtypeNames yields the names of the element types.
func dtypeNames(yield func(string) bool) {
	for d := tensor.DType(1); d.Valid() && yield(d.String()); d++ {
	}
}
