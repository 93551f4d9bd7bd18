package format

import (
	"math"
	"math/bits"
	"slices"

	"heft/tensor"
)

// tensor reads the value of a tensor's entry.
func (p *parser) tensor(name string) bool {
	start, e := p.i, p.room()
	e.Name = name
	if !p.entry(e) {
		if p.err != nil {
			p.err.Tensor = name
		}
		return p.report != nil && p.err != nil && p.recover(start)
	}
	p.add(e)
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

// room returns where the next tensor goes.
func (p *parser) room() *Entry {
	n := len(p.tensors)
	if n == cap(p.tensors) {
		p.grow()
	}
	return &p.tensors[:n+1][n]
}

// grow makes room for more tensors: at first for one a brace, which is how
// entries are written; if that was not enough, for as many as the rest of the text
// can hold, so that lists are copied once.
func (p *parser) grow() {
	rest := len(p.b) - p.i
	n := rest
	if p.tensors == nil {
		n = estimate(p.b[p.i:], '{')
	}
	p.tensors = slices.Grow(p.tensors, min(n, rest/minTensorText)+1)
	p.names = newNameTable(cap(p.tensors))
	for i := range p.tensors {
		p.names.add(p.tensors[i].Name, i, p.nameAt)
	}
}

// add adds the tensor in the place that room has returned, of the shape read last.
func (p *parser) add(e *Entry) {
	n := len(p.tensors)
	p.tensors = p.tensors[:n+1]
	p.duplicates = p.names.add(e.Name, n, p.nameAt) || p.duplicates
	if f := p.last.flaw(e); f.kind != nil {
		if p.flaws == nil {
			p.flaws = map[string]flaw{}
		}
		p.flaws[e.Name] = f
	} else if p.flaws != nil {
		delete(p.flaws, e.Name) // an earlier tensor of this name had one
	}
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
	f := 0
	more, ok := p.begins('{', '}')
	for more && ok {
		at := p.i
		key, found := p.key()
		if !found {
			return false
		}
		f = slices.Index(fieldNames[:], key)
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
	if !ok {
		return false
	}
	if f := slices.Index(seen[:], false); f >= 0 {
		return p.fail(p.i-1, "no %s", fieldNames[f])
	}
	if f == offsetsField { // the last one
		p.learn(e)
	}
	return true
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
	d, err := tensor.ParseDType(name)
	if err != nil {
		return 0, p.fail(at, "unknown dtype %s", quote(name))
	}
	return d, true
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

func (p *parser) beginShape() { p.shapeStart, p.last = len(p.arena), noDimensions }

// dimension adds a dimension to the shape begun last. Behind it are left bytes of text.
func (p *parser) dimension(dim uint64, left int) {
	p.last.times(dim)
	if len(p.arena) == cap(p.arena) {
		p.growArena(left)
	}
	p.arena = append(p.arena, int(dim))
}

// growArena starts a new arena, twice as large, with the shape begun last. It is
// not larger than the shapes in the rest of the text can be, of which a dimension
// takes two bytes. (Tensors of one kind share a shape.)
func (p *parser) growArena(left int) {
	begun := p.arena[p.shapeStart:]
	n := max(2*cap(p.arena), 64)
	p.arena = append(make([]int, 0, min(n, len(begun)+left/2+1)), begun...)
	p.shapeStart = 0
}

func (p *parser) endShape() []int { return p.arena[p.shapeStart:len(p.arena):len(p.arena)] }

// offsets reads an array of two offsets.
func (p *parser) offsets() (begin, end int64, ok bool) {
	if !p.punct('[') {
		return 0, 0, false
	}
	p.next()
	p.offsetsAt = p.i
	b, ok := p.uint()
	if !ok || !p.punct(',') {
		return 0, 0, false
	}
	e, ok := p.uint()
	return int64(b), int64(e), ok && p.punct(']')
}

// product is what the dimensions of a shape come to.
type product struct {
	elements uint64 // from left to right
	overflow bool   // it is 2^64 or more
	wide     bool   // one of the dimensions does not fit an int
}

var noDimensions = product{elements: 1}

func (p *product) times(dim uint64) {
	hi, lo := bits.Mul64(p.elements, dim)
	p.elements, p.overflow, p.wide = lo, p.overflow || hi != 0, p.wide || dim > math.MaxInt
}

// flaw compares the shape of an entry, which comes to p, to its offsets. The order is the reference's.
func (p product) flaw(e *Entry) flaw {
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
