package main

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern string
		yes, no []string
	}{
		{"", []string{""}, []string{"a"}},
		{"a.b", []string{"a.b"}, []string{"a.bc", "axb", "a", ""}},
		{"*", []string{"", "a", "a.b", "\n"}, nil},
		{"a*", []string{"a", "a.b.c"}, []string{"ba", ""}},
		{"*.weight", []string{".weight", "a.b.weight"}, []string{"a.weights", "weight"}},
		{"a*b*c", []string{"abc", "aXbXc", "abbcc"}, []string{"ab", "acb"}},
		{"layers.?.w", []string{"layers.1.w", "layers.é.w"}, []string{"layers.10.w", "layers..w"}},
		{"a[0-9]", []string{"a0", "a9"}, []string{"a", "aa", "a10"}},
		{"a[!0-9]", []string{"aa", "a.", "aé"}, []string{"a0", "a"}},
		{"a[^0-9]", []string{"aa"}, []string{"a0"}},
		{"[]a]", []string{"]", "a"}, []string{"b", ""}},
		{"[a-]", []string{"a", "-"}, []string{"b"}},
		{`[\]]`, []string{"]"}, []string{`\`}},
		{"[à-é]", []string{"é"}, []string{"e"}},
		{"[z-a]", nil, []string{"a", "z", "m"}},
		{"a[b", []string{"a[b"}, []string{"ab"}},
		{"[[b", []string{"[[b"}, []string{"[b"}},
		{`\*`, []string{"*"}, []string{"a"}},
		{`a\`, []string{`a\`}, []string{"a"}},
		{"layers.1.", []string{"layers.1.", "layers.1.w.b"}, []string{"layers.1", "layers.10.w"}},
		{"*.mlp.", []string{"layers.1.mlp.up"}, []string{"layers.1.mlp"}},
		{"日*本", []string{"日本", "日é本"}, []string{"日"}},
	} {
		g := compileGlob(test.pattern)
		for _, name := range test.yes {
			if !g.match(name) {
				t.Errorf("%q does not match %q", test.pattern, name)
			}
		}
		for _, name := range test.no {
			if g.match(name) {
				t.Errorf("%q matches %q", test.pattern, name)
			}
		}
	}
}

// A matcher that backtracks over every star takes longer than anyone waits for this.
func TestGlobHostile(t *testing.T) {
	if compileGlob(strings.Repeat("a*", 500) + "b").match(strings.Repeat("a", 5000)) {
		t.Error("matches without a b")
	}
	if !compileGlob(strings.Repeat("[", 1<<17)).match(strings.Repeat("[", 1<<17)) {
		t.Error("brackets that nothing closes are not literal")
	}
}

// FuzzGlob compares globs with the regular expressions that mean the same.
func FuzzGlob(f *testing.F) {
	for _, s := range [][2]string{{"*.weight", "a.weight"}, {"a?[b-d][!x]", "aébz"}, {`\[a\`, `[a\`}, {"m.l.3.", "m.l.3.x"}, {"[]-a]", "]"}, {"**a*", "bba"}, {"[a", "[a"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(name) {
			return // arguments and names are text
		}
		got := compileGlob(pattern).match(name)
		if !strings.ContainsAny(pattern, "[") {
			re := regexp.MustCompile(globRegexp(pattern))
			if want := re.MatchString(name); got != want {
				t.Errorf("%q matches %q: %v, but %s: %v", pattern, name, got, re, want)
			}
		}
		if strings.HasSuffix(pattern, ".") && strings.HasPrefix(name, pattern) && !strings.ContainsAny(pattern, `[\`) && !got {
			t.Errorf("%q is not in module %q", name, pattern)
		}
	})
}

// globRegexp translates a glob without classes.
func globRegexp(pattern string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	escaped := false
	for _, r := range pattern {
		switch {
		case !escaped && r == '\\':
			escaped = true
			continue
		case !escaped && r == '*':
			b.WriteString(".*")
		case !escaped && r == '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
		escaped = false
	}
	if escaped {
		b.WriteString(`\\`)
	}
	if strings.HasSuffix(pattern, ".") {
		b.WriteString(".*")
	}
	b.WriteString(`\z`)
	return b.String()
}
