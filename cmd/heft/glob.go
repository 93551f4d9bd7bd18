package main

import (
	"strings"
	"unicode/utf8"
)

// A glob is a shell pattern over names: * is any run of characters, dots
// included, ? any one character, [a-z] one of a class and [!a-z] one that is
// not, \ takes the next character literally. A [ that nothing closes is
// literal, as in the shell. A trailing dot selects a module: everything whose
// name begins so.
type glob []element

// An element matches a run of characters (star), one of them (any, class), or a literal string.
type element struct {
	kind    byte // one of "*?[" or 0 for a literal
	literal string
	negated bool
	class   []rune // pairs: from, to
}

func compileGlob(pattern string) glob {
	var g glob
	var literal []byte
	closed := true // false once a [ was found that nothing closes: no later one is closed either
	flush := func() {
		if len(literal) > 0 {
			g = append(g, element{literal: string(literal)})
			literal = nil
		}
	}
	for i := 0; i < len(pattern); {
		switch c := pattern[i]; c {
		case '*', '?':
			flush()
			g = append(g, element{kind: c})
			i++
		case '[':
			var e element
			n := 0
			if closed {
				e, n = parseClass(pattern[i:])
			}
			if closed = n > 0; closed {
				flush()
				g = append(g, e)
				i += n
				continue
			}
			literal = append(literal, c)
			i++
		case '\\':
			if i+1 < len(pattern) {
				i++
			}
			fallthrough
		default:
			literal = append(literal, pattern[i])
			i++
		}
	}
	flush()
	if strings.HasSuffix(pattern, ".") {
		g = append(g, element{kind: '*'})
	}
	return g
}

// parseClass reads a class from the beginning of s, and returns its length, or
// 0 if it is not closed.
func parseClass(s string) (element, int) {
	e := element{kind: '['}
	i := 1
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		e.negated = true
		i++
	}
	next := func() rune {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		return r
	}
	for first := i; i < len(s); {
		if s[i] == ']' && i > first {
			return e, i + 1
		}
		lo := next()
		hi := lo
		if i+1 < len(s) && s[i] == '-' && s[i+1] != ']' {
			i++
			hi = next()
		}
		e.class = append(e.class, lo, hi)
	}
	return e, 0
}

// match reports whether all of name matches, in time of at most the product of
// the two lengths: where a star has matched too little it takes one character
// more, and an earlier star never needs to be tried again.
func (g glob) match(name string) bool {
	i, at := 0, 0        // the element to match next, and where
	star, mark := -1, -1 // the element after the last star, and the end of what that star has taken
	for i < len(g) || at < len(name) {
		if i < len(g) && g[i].kind == '*' {
			i++
			star, mark = i, at
			continue
		}
		if i < len(g) {
			if n := g[i].matchOne(name[at:]); n > 0 {
				i++
				at += n
				continue
			}
		}
		if star < 0 || mark == len(name) {
			return false
		}
		_, n := utf8.DecodeRuneInString(name[mark:])
		mark += n
		i, at = star, mark
	}
	return true
}

// matchOne returns how many bytes at the beginning of s the element takes, or 0 if it does not match.
func (e *element) matchOne(s string) int {
	if e.kind == 0 {
		if strings.HasPrefix(s, e.literal) {
			return len(e.literal)
		}
		return 0
	}
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 || e.kind == '?' {
		return n
	}
	for i := 0; i < len(e.class); i += 2 {
		if e.class[i] <= r && r <= e.class[i+1] {
			if e.negated {
				return 0
			}
			return n
		}
	}
	if e.negated {
		return n
	}
	return 0
}
