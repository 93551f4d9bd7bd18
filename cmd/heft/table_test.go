package main

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A cell that is cut keeps its lead, the branches of a tree. Where lines are
// not cut, a very wide cell sticks out, and costs other lines nothing.
func TestTableWrite(t *testing.T) {
	long := strings.Repeat("x", maxWidth+1)
	wide := long[:maxWidth]
	type name struct{ lead, text string }
	for _, test := range []struct {
		what  string
		width int
		names []name
		want  []string
	}{
		{"as wide as may be", 0, []name{{"", wide}, {"", "b"}}, []string{wide + "  8", "b" + strings.Repeat(" ", maxWidth-1) + "  8"}},
		{"wider", 0, []name{{"", long}, {"", "b"}, {"", "cc"}}, []string{long + "  8", "b   8", "cc  8"}},
		{"cut", 20, []name{{"", "a.long.name.of.a.weight"}}, []string{"a.long.n…a.weight  8"}},
		{"cut behind branches", 30, []name{{"│  ├─ ", "a.long.name.of.a.weight"}, {"", "b"}},
			[]string{"│  ├─ a.long.nam…f.a.weight  8", "b" + strings.Repeat(" ", 26) + "  8"}},
		{"cut to the least", 18, []name{{"│  ├─ │  ├─ ", "a.long.name.of.a.weight"}}, []string{"│  ├─ │  ├─ a.lo…g"}},
	} {
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		table := newTable(screen{tty: test.width > 0, width: test.width}, head{cut: true}, head{})
		table.bare = true
		for _, n := range test.names {
			table.text = append(table.text, n.lead+n.text...)
			table.endAfter(width(n.lead))
			table.plain("8")
		}
		table.write(w)
		w.Flush()
		if diff := cmp.Diff(test.want, strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")); diff != "" {
			t.Errorf("%s:\n%s", test.what, diff)
		}
	}
}
