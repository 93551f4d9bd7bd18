package format

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is the depth of nesting at which JSON is refused: the reference's parser stops there.
const maxDepth = 128

// scanner reads JSON text in one pass: this file knows JSON, its callers know
// what the text should say.
//
// Methods that return a bool report whether the text was as wanted; where it
// was not, err says why and the position is undefined.
//
// Whether the text is UTF-8 the caller asks at the end.
type scanner struct {
	b      []byte // the JSON text
	text   string // the same text, of which strings are cut
	i      int    // position in b
	beyond uint64 // not 0 once a string, or what is beside it, was not ASCII
	base   int64  // where in the file the text begins
	kind   error  // what is wrong with the text is of this kind
	err    *Error // the first thing that is wrong
}

// utf8 reports whether the text is UTF-8. It need not look if the whole text has
// been read and its strings are ASCII: outside of strings all JSON is.
func (s *scanner) utf8(read bool) bool { return read && s.beyond == 0 || utf8.Valid(s.b) }

// fail notes what is wrong with the text at position pos.
func (s *scanner) fail(pos int, format string, args ...any) bool {
	at := s.base + int64(pos)
	s.err = &Error{Offset: at, Err: faultf(s.kind, format+" (byte %d)", append(args, at)...)}
	return false
}

// expected notes that something else than what stands at the position was expected.
func (s *scanner) expected(what string) bool {
	if s.i >= len(s.b) {
		return s.fail(s.i, "text ends where %s should stand", what)
	}
	r, _ := utf8.DecodeRune(s.b[s.i:])
	return s.fail(s.i, "%q where %s should stand", r, what)
}

// next skips white space and returns the byte after it, which stays unread; 0 at the end.
func (s *scanner) next() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\n', '\r', '\t':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// punct reads the byte c, behind white space.
func (s *scanner) punct(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c || s.next() == c {
		s.i++
		return true
	}
	return s.expected(strconv.QuoteRune(rune(c)))
}

// more reads the comma before another element of a list, or the byte that ends the list.
func (s *scanner) more(end byte) (more, ok bool) {
	switch s.next() {
	case ',':
		s.i++
		return true, true
	case end:
		s.i++
		return false, true
	}
	return false, s.expected("',' or '" + string(rune(end)) + "'")
}

// begins reads a byte that opens a list, and reports whether the list has elements; if not, it is read whole.
func (s *scanner) begins(open, end byte) (more, ok bool) {
	if !s.punct(open) {
		return false, false
	}
	if s.next() == end {
		s.i++
		return false, true
	}
	return true, true
}

// key reads the name of a member of an object and the colon behind it.
func (s *scanner) key() (string, bool) {
	name, ok := s.str()
	return name, ok && s.punct(':')
}

// str reads a string, behind white space. Without escapes it is a substring of the text.
func (s *scanner) str() (string, bool) {
	if (s.i >= len(s.b) || s.b[s.i] != '"') && s.next() != '"' {
		return "", s.expected("'\"'")
	}
	s.i++
	start := s.i
	s.plain()
	if s.i < len(s.b) && s.b[s.i] == '"' {
		s.i++
		return s.text[start : s.i-1], true
	}
	return s.escaped(start)
}

// plain moves to the first quote, backslash or control character, or the end.
func (s *scanner) plain() {
	i, beyond := plain(s.b, s.i)
	s.i, s.beyond = i, s.beyond|beyond
}

// plain returns the position at or behind i of the first quote, backslash or
// control character, or len(b), and 0 if up to there all is ASCII; where
// something else is within 8 bytes behind, it may return that. It looks at
// eight bytes at a time: strings are most of a header.
func plain(b []byte, i int) (end int, beyond uint64) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		beyond |= w & highs
		// With one bit turned over, quotes are spaces, and what is a space at
		// most is a quote or a control character.
		low, slash := w^(ones*('"'^' ')), w^(ones*'\\')
		// A byte's high bit is set in m where the byte is one of the wanted;
		// borrows make wrong marks only above a right one.
		m := ((low - ones*(' '+1)) &^ low) | ((slash - ones) &^ slash)
		if m &= highs; m != 0 {
			return i + bits.TrailingZeros64(m)/8, beyond
		}
	}
	for ; i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' '; i++ {
		beyond |= uint64(b[i] & 0x80)
	}
	return i, beyond
}

// escaped reads the rest of a string that begins at start and is plain up to the position.
func (s *scanner) escaped(start int) (string, bool) {
	var out []byte
	for from := start; ; from = s.i {
		s.plain()
		out = append(out, s.b[from:s.i]...)
		if s.i >= len(s.b) {
			return "", s.fail(start-1, "string does not end")
		}
		switch s.b[s.i] {
		case '"':
			s.i++
			return string(out), true
		case '\\':
			r, ok := s.escape()
			if !ok {
				return "", false
			}
			out = utf8.AppendRune(out, r)
		default:
			return "", s.fail(s.i, "control character %#02x in a string", s.b[s.i])
		}
	}
}

// escape reads a backslash and what it escapes.
func (s *scanner) escape() (rune, bool) {
	start := s.i
	s.i += 2
	if s.i > len(s.b) {
		return 0, s.fail(start, "text ends in an escape")
	}
	switch c := s.b[s.i-1]; c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		r, ok := s.hex4()
		if !ok || !utf16.IsSurrogate(r) {
			return r, ok
		}
		if s.i+2 <= len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
			s.i += 2
			low, ok := s.hex4()
			if r = utf16.DecodeRune(r, low); !ok || r != utf8.RuneError {
				return r, ok
			}
		}
		return 0, s.fail(start, `half of a surrogate pair: \u%s`, s.b[start+2:start+6])
	}
	return 0, s.fail(start, "escape of %q", s.b[s.i-1])
}

// hex4 reads the four digits of a \u escape.
func (s *scanner) hex4() (rune, bool) {
	if s.i+4 > len(s.b) {
		return 0, s.fail(s.i, "text ends in an escape")
	}
	var r rune
	for _, c := range s.b[s.i : s.i+4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, s.fail(s.i, `escape \u%q`, s.b[s.i:s.i+4])
		}
	}
	s.i += 4
	return r, true
}

// skip reads a value of any kind. Its containers nest at depth and deeper.
func (s *scanner) skip(depth int) bool {
	switch c := s.next(); c {
	case '{', '[':
		if depth >= maxDepth {
			return s.fail(s.i, "%d levels of nesting", depth)
		}
		more, ok := s.begins(c, c+2) // in ASCII each bracket closes two behind where it opens
		for more && ok {
			if c == '{' {
				if _, ok = s.key(); !ok {
					return false
				}
			}
			if !s.skip(depth + 1) {
				return false
			}
			more, ok = s.more(c + 2)
		}
		return ok
	case '"':
		_, ok := s.str()
		return ok
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

// word reads a literal.
func (s *scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || s.text[s.i:s.i+len(w)] != w {
		return s.expected(w)
	}
	s.i += len(w)
	return true
}
