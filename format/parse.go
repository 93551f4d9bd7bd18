package format

import (
	"errors"
	"unicode/utf8"
)

// parser reads the JSON text of a header: this file knows what a header says.
type parser struct {
	scanner
	report func(*Error) bool // gets each departure from the format and says whether to go on; nil: stop at the first

	hasMetadata bool
	metadata    map[string]string
	tensors     []Entry   // in the order of the text; offsets relative to the data, any unsigned numbers
	names       nameTable // places in tensors; it has room for as many as they have
	nameAt      func(int) string
	duplicates  bool            // some of them have one name
	flaws       map[string]flaw // what is wrong with a tensor's size, by name; it counts once the offsets have been found right
	arena       []int           // shapes are cut from it

	kinds      kinds
	nameEnd    int         // where the quote behind the last name is
	offsetsAt  int         // where the last offsets are
	end        spelledUint // the last end of a tensor that familiar has read
	shapeStart int         // where in the arena the shape begun last begins
	last       product     // of the shape read last

	keys map[string]int // with report: where in the text each name stands
}

// flaw is what is wrong with the size of a tensor.
type flaw struct {
	kind error
	need uint64 // bytes that type and shape need, for ErrSize
}

// errDimension is the flaw that only this package sees: a dimension does not
// fit an int. It counts, as ErrOverflow, once the reference accepts the file.
var errDimension = errors.New("dimension too large")

// notUTF8 says where text is not UTF-8 that is not.
func (p *parser) notUTF8() *Error {
	for i := 0; ; {
		r, n := utf8.DecodeRune(p.b[i:])
		if r == utf8.RuneError && n == 1 {
			return &Error{Offset: p.base + int64(i), Err: faultf(ErrHeaderUTF8, "header is not UTF-8: byte %#02x at %d", p.b[i], p.base+int64(i))}
		}
		i += n
	}
}

// header reads the whole text.
func (p *parser) header() bool {
	more, ok := p.begins('{', '}')
	for more && ok {
		if !p.familiar() {
			ok = p.member()
		}
		if ok {
			more, ok = p.more('}')
		}
	}
	if ok && (p.next() != 0 || p.i < len(p.b)) {
		return p.expected("the end of the header")
	}
	return ok
}

// member reads a tensor or the metadata.
func (p *parser) member() bool {
	p.next()
	start := p.i
	name, ok := p.str()
	p.nameEnd = p.i - 1
	switch {
	case !ok, !p.punct(':'), p.report != nil && !p.checkName(start, name):
		return false
	case name == metadataKey:
		return p.readMetadata()
	}
	return p.tensor(name)
}

// readMetadata reads the value of __metadata__: null, or an object of strings.
func (p *parser) readMetadata() bool {
	if p.hasMetadata {
		return p.fail(p.i, "%s stands twice", metadataKey)
	}
	p.hasMetadata = true
	if p.next() == 'n' {
		return p.word("null") && p.warn(p.i, "", "%s is null", metadataKey)
	}
	p.metadata = make(map[string]string, p.members())
	more, ok := p.begins('{', '}')
	for more && ok {
		start := p.i
		key, found := p.key()
		if !found {
			return false
		}
		value, found := p.str()
		if !found {
			return false
		}
		if _, twice := p.metadata[key]; twice && p.report != nil && !p.warn(start, "", "metadata key %s stands twice; the last counts", quote(key)) {
			return false
		}
		p.metadata[key] = value
		more, ok = p.more('}')
	}
	return ok
}

// members counts the members of the object at the position, so that a map of
// them need not grow: growing takes several times the memory of many short ones.
func (p *parser) members() (n int) {
	s := p.scanner
	more, ok := s.begins('{', '}')
	for more && ok {
		n++
		if _, ok = s.key(); ok && s.skip(2) {
			more, ok = s.more('}')
		} else {
			break
		}
	}
	return n
}
