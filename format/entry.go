package format

import (
	"bytes"
	"math"
	"math/bits"
	"slices"

	"heft/tensor"
)

// tensor reads the value of a tensor's entry.
func (p *parser) tensor(name string) bool {
	if len(p.tensors) == cap(p.tensors) {
		p.grow()
	}
	start, n := p.i, len(p.tensors)
	p.tensors = p.tensors[:n+1]
	e := &p.tensors[n]
	e.Name = name
	if !p.canonical(e) && !p.entry(e) {
		p.tensors = p.tensors[:n]
		if p.err != nil {
			p.err.Tensor = name
		}
		return p.report != nil && p.err != nil && p.recover(start)
	}
	if f := p.flaw(e); f.kind != nil {
		if p.flaws == nil {
			p.flaws = map[string]flaw{}
		}
		p.flaws[name] = f
	} else if p.flaws != nil {
		delete(p.flaws, name) // an earlier tensor of this name had one
	}
	return true
}

// recover reads the value at start, whatever it is, after reading it as an
// entry has failed, and reports whether to go on without the tensor.
func (p *parser) recover(start int) bool {
	err := p.err
	p.i, p.err = start, nil
	if !p.skip(2) {
		p.err = err // it was no JSON, and nothing behind it can be read
		return false
	}
	return p.depart(err)
}

// grow makes room for as many more tensors as the rest of the text can hold;
// at first for one a brace, which is how entries are written.
func (p *parser) grow() {
	n := (len(p.b)-p.i)/minTensorText + 1
	if p.tensors == nil {
		n = min(n, bytes.Count(p.b[p.i:], []byte("{"))+1)
	}
	p.tensors = slices.Grow(p.tensors, n)
}

// canonical reads an entry that is spelled as writers spell it: fields in order,
// no white space, no escapes. This is most of the time that headers take, and
// three times as fast as entry, which reads anything; where the text differs
// canonical leaves it to entry, position and all.
func (p *parser) canonical(e *Entry) bool {
	b, ok := cutLiteral(p.b[p.i:], `{"dtype":"`)
	if !ok {
		return false
	}
	n, d := len(p.dtypeName), p.dtype
	if n == 0 || len(b) <= n || b[n] != '"' || string(b[:n]) != p.dtypeName { // another type than the last tensor's
		if n = bytes.IndexByte(b[:min(len(b), longDType)], '"'); n < 0 {
			return false
		}
		if d, ok = p.dtypeNamed(p.text[len(p.b)-len(b):][:n]); !ok {
			return false
		}
	}
	if b, ok = cutLiteral(b[n:], `","shape":[`); !ok {
		return false
	}
	p.beginShape()
	for first := true; len(b) > 0 && b[0] != ']'; first = false {
		if !first {
			if b[0] != ',' {
				return false
			}
			b = b[1:]
		}
		dim, n, ok := leadingUint(b)
		if !ok || n == 0 || n > 1 && b[0] == '0' {
			return false
		}
		b = b[n:]
		p.dimension(dim, len(b))
	}
	if b, ok = cutLiteral(b, `],"data_offsets"`); !ok {
		return false
	} else if b, ok = cutLiteral(b, `:[`); !ok { // up to 16 bytes are compared without a call
		return false
	}
	begin, n, ok := leadingUint(b)
	if !ok || n == 0 || n > 1 && b[0] == '0' || len(b) == n || b[n] != ',' {
		return false
	}
	b = b[n+1:]
	end, n, ok := leadingUint(b)
	if !ok || n == 0 || n > 1 && b[0] == '0' {
		return false
	}
	if b, ok = cutLiteral(b[n:], "]}"); !ok {
		return false
	}
	p.i = len(p.b) - len(b)
	e.DType, e.Shape, e.Begin, e.End = d, p.endShape(), int64(begin), int64(end)
	return true
}

// cutLiteral returns b without the literal that it begins with.
func cutLiteral(b []byte, literal string) ([]byte, bool) {
	if len(b) < len(literal) || string(b[:len(literal)]) != literal {
		return b, false
	}
	return b[len(literal):], true
}

// The fields of an entry, in the order that its positional form has.
const (
	dtypeField = iota
	shapeField
	offsetsField
	fieldCount
)

var fieldNames = [fieldCount]string{"dtype", "shape", "data_offsets"}

// entry reads what describes a tensor: an object, or the three values as an
// array, which the reference reads as well though nobody writes it.
func (p *parser) entry(e *Entry) bool {
	switch p.next() {
	case '{':
		return p.fields(e)
	case '[':
		if !p.warn(p.i, e.Name, "entry is an array: few readers but the reference read it") {
			return false
		}
		p.i++
		for f := range fieldCount {
			if f > 0 && !p.punct(',') || !p.field(f, e) {
				return false
			}
		}
		return p.punct(']')
	}
	return p.expected("a tensor's entry, an object,")
}

func (p *parser) fields(e *Entry) bool {
	var seen [fieldCount]bool
	more, ok := p.begins('{', '}')
	for more && ok {
		at := p.i
		key, found := p.key()
		if !found {
			return false
		}
		f := slices.Index(fieldNames[:], key)
		switch {
		case f < 0:
			ok = p.skip(3) && (p.report == nil || p.warn(at, e.Name, "unknown field %s", quote(key)))
		case seen[f]:
			return p.fail(at, "%s stands twice", key)
		default:
			seen[f] = true
			ok = p.field(f, e)
		}
		if ok {
			more, ok = p.more('}')
		}
	}
	if ok {
		if f := slices.Index(seen[:], false); f >= 0 {
			return p.fail(p.i-1, "no %s", fieldNames[f])
		}
	}
	return ok
}

// field reads the value of one of the fields.
func (p *parser) field(f int, e *Entry) (ok bool) {
	switch f {
	case dtypeField:
		e.DType, ok = p.readDType(e.Name)
	case shapeField:
		e.Shape, ok = p.shape()
	default:
		e.Begin, e.End, ok = p.offsets()
	}
	return ok
}

// readDType reads the name of an element type, or {"NAME": null}, which the reference reads as well.
func (p *parser) readDType(of string) (tensor.DType, bool) {
	if p.next() == '{' {
		p.i++
		at := p.i
		name, ok := p.key()
		p.next()
		if !ok || !p.word("null") || !p.punct('}') ||
			!p.warn(at, of, "dtype is an object: few readers but the reference read it") {
			return 0, false
		}
		return p.parseDType(at, name)
	}
	at := p.i
	name, ok := p.str()
	if !ok {
		return 0, false
	}
	return p.parseDType(at, name)
}

func (p *parser) parseDType(at int, name string) (tensor.DType, bool) {
	d, ok := p.dtypeNamed(name)
	if !ok {
		return 0, p.fail(at, "unknown dtype %s", quote(name))
	}
	return d, true
}

// longDType is longer than the name of any element type and its quote.
const longDType = 16

// dtypeNamed returns the element type of a name. Most tensors have the type of the one before.
func (p *parser) dtypeNamed(name string) (tensor.DType, bool) {
	if name != p.dtypeName || p.dtype == 0 {
		d, err := tensor.ParseDType(name)
		if err != nil {
			return 0, false
		}
		p.dtype, p.dtypeName = d, name
	}
	return p.dtype, true
}

// shape reads an array of dimensions.
func (p *parser) shape() ([]int, bool) {
	p.beginShape()
	more, ok := p.begins('[', ']')
	for more && ok {
		dim, found := p.uint()
		if !found {
			return nil, false
		}
		p.dimension(dim, len(p.b)-p.i)
		more, ok = p.more(']')
	}
	return p.endShape(), ok
}

func (p *parser) beginShape() {
	p.shapeStart = len(p.arena)
	p.elements, p.overflow, p.wide = 1, false, false
}

// dimension adds a dimension to the shape begun last. Behind it are left bytes of text.
func (p *parser) dimension(dim uint64, left int) {
	p.wide = p.wide || dim > math.MaxInt
	hi, lo := bits.Mul64(p.elements, dim)
	p.elements, p.overflow = lo, p.overflow || hi != 0
	if len(p.arena) == cap(p.arena) {
		p.growArena(left)
	}
	p.arena = append(p.arena, int(dim))
}

// growArena starts a new arena with the shape begun last. A dimension takes two bytes of text or more.
func (p *parser) growArena(left int) {
	begun := p.arena[p.shapeStart:]
	n := max(2*cap(p.tensors), 2*len(begun), 64)
	p.arena = append(make([]int, 0, min(n, len(begun)+left/2+1)), begun...)
	p.shapeStart = 0
}

func (p *parser) endShape() []int { return p.arena[p.shapeStart:len(p.arena):len(p.arena)] }

// offsets reads an array of two offsets.
func (p *parser) offsets() (begin, end int64, ok bool) {
	if !p.punct('[') {
		return 0, 0, false
	}
	b, ok := p.uint()
	if !ok || !p.punct(',') {
		return 0, 0, false
	}
	e, ok := p.uint()
	return int64(b), int64(e), ok && p.punct(']')
}

// flaw compares the shape, which has just been read, to the offsets. The order is the reference's.
func (p *parser) flaw(e *Entry) flaw {
	hi, nbits := bits.Mul64(p.elements, uint64(e.DType.Bits()))
	switch {
	case p.overflow || hi != 0:
		return flaw{kind: ErrOverflow}
	case nbits%8 != 0:
		return flaw{kind: ErrSubByte}
	case uint64(e.End-e.Begin) != nbits/8:
		return flaw{kind: ErrSize, need: nbits / 8}
	case p.wide:
		return flaw{kind: errDimension}
	}
	return flaw{}
}
