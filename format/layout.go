package format

import (
	"fmt"
	"math"
)

// layout checks that the tensors, which are in file order, fill the data
// section of the given number of bytes without holes or overlaps, and that each
// has the size that its type and shape need. Their offsets are then those in the
// file, in which the data begin at start. It returns whether to go on.
func (p *parser) layout(tensors []Entry, start int64, data uint64) bool {
	var covered uint64 // the data up to here belongs to a tensor
	var last string    // the tensor that ends there
	for i := range tensors {
		e := &tensors[i]
		if begin, end := uint64(e.Begin), uint64(e.End); begin != covered || end < begin {
			if !p.departTensor(e, misplaced(begin, end, covered, last)) {
				return false
			}
		}
		if p.flaws != nil {
			if f, ok := p.flaws[e.Name]; ok && f.kind != errDimension && !p.departTensor(e, f.describe(e)) {
				return false
			}
		}
		if uint64(e.End) > covered {
			covered, last = uint64(e.End), e.Name
		}
		e.Begin, e.End = e.Begin+start, e.End+start
	}
	return p.coverage(covered, data) && p.dimensions(tensors)
}

func (p *parser) departTensor(e *Entry, err error) bool {
	return p.depart(&Error{Offset: p.position(e.Name), Tensor: e.Name, Err: err})
}

// misplaced says what is wrong with a tensor's offsets, where the tensors before it end with last at covered.
func misplaced(begin, end, covered uint64, last string) error {
	switch {
	case end < begin:
		return faultf(ErrOffsets, "data_offsets [%d, %d] end before they begin", begin, end)
	case begin > covered:
		return faultf(ErrOffsets, "data_offsets [%d, %d] leave a hole of %d bytes from %d on", begin, end, begin-covered, covered)
	case begin == end:
		return faultf(ErrOffsets, "data_offsets [%d, %d] are inside %s", begin, end, quote(last))
	}
	return faultf(ErrOffsets, "data_offsets [%d, %d] overlap %s by %d bytes", begin, end, quote(last), min(covered, end)-begin)
}

// describe says in words what is wrong with a tensor's size.
func (f flaw) describe(e *Entry) error {
	switch f.kind {
	case ErrOverflow:
		return faultf(ErrOverflow, "%v %v takes 2^64 bits or more", e.DType, dims(e.Shape))
	case ErrSubByte:
		return faultf(ErrSubByte, "%v %v does not fill whole bytes", e.DType, dims(e.Shape))
	}
	return faultf(ErrSize, "data_offsets [%d, %d] hold %d bytes but %v %v needs %d",
		uint64(e.Begin), uint64(e.End), uint64(e.End-e.Begin), e.DType, dims(e.Shape), f.need)
}

// dims prints a shape, at most eight of its dimensions.
func dims(shape []int) string {
	if len(shape) > 8 {
		return fmt.Sprintf("[%d dimensions]", len(shape))
	}
	unsigned := make([]uint, len(shape))
	for i, d := range shape {
		unsigned[i] = uint(d)
	}
	return fmt.Sprint(unsigned)
}

// coverage compares the end of the last tensor to the length of the data section.
func (p *parser) coverage(covered, data uint64) bool {
	size := p.base + int64(len(p.b)) + int64(data)
	switch {
	case covered > data:
		return p.depart(&Error{Offset: size, Err: faultf(ErrTruncated,
			"%d bytes are missing: the tensors take %d, the file has %d", covered-data, covered, data)})
	case covered < data:
		return p.depart(&Error{Offset: size - int64(data-covered), Err: faultf(ErrTrailing,
			"%d bytes at the end of the file belong to no tensor", data-covered)})
	}
	return true
}

// dimensions refuses what the reference accepts but a []int cannot hold. Only empty tensors have such dimensions.
func (p *parser) dimensions(tensors []Entry) bool {
	if len(p.flaws) == 0 {
		return true
	}
	for i := range tensors {
		e := &tensors[i]
		if p.flaws[e.Name].kind == errDimension && !p.departTensor(e, faultf(ErrOverflow,
			"a dimension is larger than %d, the largest int", math.MaxInt)) {
			return false
		}
	}
	return true
}

// position returns where in the file the name of a tensor stands; the last time, if it does several times.
func (p *parser) position(name string) int64 {
	if p.keys != nil {
		return p.base + int64(p.keys[name])
	}
	s, last := p.scanner, 0
	s.i = 0
	more, ok := s.begins('{', '}')
	for more && ok {
		s.next()
		at := s.i
		if key, _ := s.key(); key == name {
			last = at
		}
		s.skip(2)
		more, ok = s.more('}')
	}
	return p.base + int64(last)
}
