package main

import (
	"fmt"
	"strings"
	"testing"

	"heft/format"
	"heft/tensor"
)

// outline writes branches on a line: label*alike=tensors(kids).
func outline(branches []*branch) string {
	var parts []string
	for _, b := range branches {
		s := fmt.Sprintf("%s*%d=%d", b.label, b.alike, b.tensors)
		if len(b.kids) > 0 {
			s += "(" + outline(b.kids) + ")"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

func TestFold(t *testing.T) {
	for _, test := range []struct{ names, want string }{
		{"a", "a*1=1"},
		{"a.b.c", "a.b.c*1=1"},
		{"a.b a.c", "a*1=2(b*1=1 c*1=1)"},
		{"l.0.w l.1.w l.2.w", "l.{0..2}.w*3=3"},
		{"l.0.w l.2.w", "l*1=2(0.w*1=1 2.w*1=1)"},
		{"l.9.w l.10.w l.11.w", "l.{9..11}.w*3=3"},
		{"l.00.w l.01.w", "l*1=2(00.w*1=1 01.w*1=1)"},
		{"l.0.w l.0.b l.1.w l.1.b l.2.w", "l*1=5({0..1}*2=4(b*1=2 w*1=2) 2.w*1=1)"},
		{"l.0.e.0 l.0.e.1 l.1.e.0 l.1.e.1", "l.{0..1}.e.{0..1}*4=4"},
		{"l.0.w l.1.w:F32", "l*1=2(0.w*1=1 1.w*1=1)"},
		{"a a.b", "a*1=2(b*1=1)"},
		{"0 1 2", "{0..2}*3=3"},
		{".0 .1", ".{0..1}*2=2"},
	} {
		var rows []row
		for _, name := range strings.Fields(test.names) {
			e := format.Entry{Name: name, DType: tensor.U8, Shape: []int{4}, End: 4}
			if n, ok := strings.CutSuffix(name, ":F32"); ok {
				e.Name, e.DType = n, tensor.F32
			}
			rows = append(rows, row{Entry: e})
		}
		if got := outline(plant(rows).branches(1, true)); got != test.want {
			t.Errorf("%s: %s, want %s", test.names, got, test.want)
		}
		if got, want := plant(rows).tensors, int64(len(rows)); got != want {
			t.Errorf("%s: %d tensors, want %d", test.names, got, want)
		}
	}
}

// A name of nothing but dots does not make a tree of its length.
func TestFoldDeep(t *testing.T) {
	depth := 0
	for n := plant([]row{{Entry: format.Entry{Name: strings.Repeat(".", 1e6)}}}); len(n.kids) > 0; n = n.kids[0] {
		depth++
	}
	if depth > maxDepth+1 {
		t.Errorf("%d levels", depth)
	}
}
