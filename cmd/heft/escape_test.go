package main

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestAppendText(t *testing.T) {
	for _, test := range []struct{ in, utf8, ascii string }{
		{"model.norm.weight", "model.norm.weight", "model.norm.weight"},
		{"", `""`, `""`},
		{"a b", "a b", "a b"},
		{`say "hi"\`, `say "hi"\`, `say "hi"\`},
		{"é×日本😀", "é×日本😀", `"\u00e9\u00d7\u65e5\u672c\U0001f600"`},
		{"e\u0301", "e\u0301", `"e\u0301"`},
		{"\x1b]52;c;aGk=\a", `"\x1b]52;c;aGk=\a"`, `"\x1b]52;c;aGk=\a"`},
		{"\t\"\\", `"\t\"\\"`, `"\t\"\\"`},
		{"\u009b31m", `"\u009b31m"`, `"\u009b31m"`},
		{"\x7f", `"\x7f"`, `"\x7f"`},
		{"a\u202eb", `"a\u202eb"`, `"a\u202eb"`},
		{"a\u200bb", `"a\u200bb"`, `"a\u200bb"`},
		{"a\u00adb", `"a\u00adb"`, `"a\u00adb"`},
		{"a\u034fb", `"a\u034fb"`, `"a\u034fb"`},
		{"a\u3164b", `"a\u3164b"`, `"a\u3164b"`},
		{"a\ufe0fb", `"a\ufe0fb"`, `"a\ufe0fb"`},
		{"a\u2028b", `"a\u2028b"`, `"a\u2028b"`},
		{"a\ue000b", `"a\ue000b"`, `"a\ue000b"`},
		{"\xff", `"\xff"`, `"\xff"`},
		{"\ufffd", "\ufffd", `"\ufffd"`},
	} {
		if got := string(appendText([]byte("x"), test.in, false)); got != "x"+test.utf8 {
			t.Errorf("appendText(%+q) = %s, want %s", test.in, got[1:], test.utf8)
		}
		if got := string(appendText([]byte("x"), test.in, true)); got != "x"+test.ascii {
			t.Errorf("appendText(%+q) in ASCII = %s, want %s", test.in, got[1:], test.ascii)
		}
	}
}

// No rune at all that controls, formats or separates gets through.
func TestPrintableIsSafe(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if s := string(r); r != ' ' && unicode.In(r, unicode.C, unicode.Z) && utf8.ValidRune(r) && printable(s, false) {
			t.Errorf("%U is printable", r)
		}
	}
}

func TestMiddle(t *testing.T) {
	for _, test := range []struct {
		in    string
		n     int
		ascii bool
		want  string
	}{
		{"abcdef", 6, false, "abcdef"},
		{"abcdefg", 6, false, "abc…fg"},
		{"abcdefg", 5, false, "ab…fg"},
		{"abcdefg", 6, true, "ab...g"},
		{"abcdefg", 1, false, "a"},
		{"abcdefg", 0, false, ""},
		{"日本語日本語", 12, false, "日本語日本語"},
		{"日本語日本語", 11, false, "日本…本語"},
		{"日本語日本語", 6, false, "日…語"},
		{"e\u0301e\u0301e\u0301e\u0301", 3, false, "e\u0301…e\u0301"},
	} {
		got := middle(test.in, test.n, test.ascii)
		if got != test.want {
			t.Errorf("middle(%q, %d) = %q, want %q", test.in, test.n, got, test.want)
		}
		if w := width(got); w > test.n {
			t.Errorf("middle(%q, %d) takes %d columns", test.in, test.n, w)
		}
	}
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "4×2": 3, "…": 1, "日本": 4, "e\u0301": 1, "😀": 2, "█▌·": 3, "├─ ": 3} {
		if got := width(s); got != want {
			t.Errorf("width(%q) = %d, want %d", s, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for n := range 8 {
		if got := clip("日a本b", n); width(got) > n || !strings.HasPrefix("日a本b", got) {
			t.Errorf("clip to %d is %q", n, got)
		}
	}
}
