package main

import (
	"slices"
	"testing"
)

func TestEdits(t *testing.T) {
	for _, test := range []struct {
		a, b        string
		limit, want int
	}{
		{"", "", 3, 0}, {"abc", "abc", 0, 0}, {"abc", "", 3, 3}, {"", "abcd", 3, 4},
		{"nrom", "norm", 3, 1}, {"kitten", "sitting", 3, 3}, {"kitten", "sitting", 2, 3},
		{"flaw", "lawn", 3, 2}, {"abcdef", "badcfe", 3, 3}, {"a.b.c", "a.c", 3, 2}, {"abcdefgh", "hgfedcba", 3, 4},
	} {
		if got := edits(test.a, test.b, test.limit); got != test.want {
			t.Errorf("edits(%q, %q, %d) = %d, want %d", test.a, test.b, test.limit, got, test.want)
		}
		if got := edits(test.b, test.a, test.limit); got != test.want {
			t.Errorf("edits(%q, %q, %d) = %d, want %d", test.b, test.a, test.limit, got, test.want)
		}
	}
}

func TestClosest(t *testing.T) {
	names := []string{"inspect", "tree", "meta", "model.norm.weight", "model.norm.weights"}
	for word, want := range map[string]string{
		"insepct": "inspect", "tre": "tree", "model.nrom.weight": "model.norm.weight", "tree": "tree",
		"completely": "", "ls": "", "": "",
	} {
		if got, ok := closest(word, slices.Values(names)); got != want || ok != (want != "") {
			t.Errorf("closest(%q) = %q, %v, want %q", word, got, ok, want)
		}
	}
}
