package main

import (
	"slices"
	"strings"
	"testing"
)

// Every name comes back from its line, which is one line without controls.
func FuzzSumLine(f *testing.F) {
	for _, name := range []string{"", "plain", `a\b`, "a\nb\r", "\x00\x7f", "\u0085\u202e", "\xff\xfe", `\x41`, "  two  blanks"} {
		f.Add(name)
	}
	sum := strings.Repeat("0a", 32)
	f.Fuzz(func(t *testing.T, name string) {
		line, ok := strings.CutSuffix(string(appendSum(nil, sum, name)), "\n")
		if !ok || !printable(line, false) && line != "" {
			t.Errorf("the line of %q: %q", name, line)
		}
		gotSum, got, ok := parseSum(line)
		if !ok || gotSum != sum || got != name {
			t.Errorf("%q gave %q, which gave %q, %v", name, line, got, ok)
		}
	})
}

func TestParseSumErrors(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	for _, line := range []string{
		"", sum, sum + " name", sum[:62] + "  name", sum[:63] + "g  name", sum + "00  name",
		`\` + sum + `  a\`, `\` + sum + `  a\q`, `\` + sum + `  a\x4`, `\` + sum + `  a\xzz`,
	} {
		if got, name, ok := parseSum(line); ok {
			t.Errorf("%q is taken for the sum %q of %q", line, got, name)
		}
	}
	if got, _, ok := parseSum(strings.ToUpper(sum) + "  name"); !ok || got != sum {
		t.Errorf("in capitals: %q, %v", got, ok)
	}
}

func TestGroup(t *testing.T) {
	rows := make([]row, 5)
	for i, size := range []int64{groupSize / 2, groupSize / 2, 1, 2 * groupSize, 0} {
		rows[i].End = size
	}
	var got []int
	for lo := 0; lo < len(rows); {
		lo = group(rows, lo)
		got = append(got, lo)
	}
	if want := []int{2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("groups end at %v, want %v", got, want)
	}
}
