package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// appendText appends s as a person may safely see it: as it is if every rune
// is printable, otherwise (or if it is empty) quoted as in Go, with the runes
// that are not printable escaped.
//
// Names of tensors, metadata and paths come from strangers, and have carried
// terminal escape sequences. In an ASCII locale no other rune is printable.
func appendText(dst []byte, s string, ascii bool) []byte {
	if s != "" && printable(s, ascii) {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	dst = appendEscaped(dst, s, ascii, `"\`)
	return append(dst, '"')
}

// appendEscaped appends s with the runes escaped that are not printable or stand in special.
func appendEscaped(dst []byte, s string, ascii bool, special string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if isPrint(r, n, ascii) && !strings.ContainsRune(special, r) {
			dst = append(dst, s[i:i+n]...)
		} else {
			start := len(dst)
			dst = strconv.AppendQuoteToASCII(dst, s[i:i+n])
			dst = append(dst[:start], dst[start+1:len(dst)-1]...) // without its quotes
		}
		i += n
	}
	return dst
}

// printable reports whether every rune of s may go to a terminal as it is.
func printable(s string, ascii bool) bool {
	for i := 0; i < len(s); {
		if c := s[i]; ' ' <= c && c <= '~' {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if !isPrint(r, n, ascii) {
			return false
		}
		i += n
	}
	return true
}

// isPrint reports whether the rune r, encoded in n bytes, is seen when it is
// printed and does nothing else. [strconv.IsPrint] rules out controls,
// bidirectional and zero-width formatting; what it lets through without being
// visible are the ignorable letters and marks.
func isPrint(r rune, n int, ascii bool) bool {
	switch {
	case r < utf8.RuneSelf:
		return ' ' <= r && r <= '~'
	case ascii, r == utf8.RuneError && n == 1:
		return false
	}
	return strconv.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// width returns the number of columns that s takes on a terminal.
func width(s string) int {
	n := 0
	for _, r := range s {
		if r >= 0x300 { // below, every printable rune takes one column
			return uniseg.StringWidth(s)
		}
		n++
	}
	return n
}

// clip returns the longest beginning of s that takes at most n columns.
func clip(s string, n int) string {
	rest, state, used := s, -1, 0
	for rest != "" {
		var w int
		next := rest
		_, next, w, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used += w; used > n {
			break
		}
		rest = next
	}
	return s[:len(s)-len(rest)]
}

// middle returns s in at most n columns: where it takes more, its middle
// becomes an ellipsis, since names differ at their ends.
func middle(s string, n int, ascii bool) string {
	if width(s) <= n {
		return s
	}
	dots := "…"
	if ascii {
		dots = "..."
	}
	if n <= width(dots) {
		return clip(s, n)
	}
	n -= width(dots)
	head := clip(s, (n+1)/2)
	tail := s[len(head):]
	for state, w := -1, width(tail); w > n/2; {
		var cut int
		_, tail, cut, state = uniseg.FirstGraphemeClusterInString(tail, state)
		w -= cut
	}
	return head + dots + tail
}
