package format

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode"
)

// Check yields every departure of a file of the given size from the format:
// what [Read] refuses, and as warnings what readers accept but writers should
// not write. Unlike Read it goes on behind a departure where the text can still
// be read; an entry that makes no sense is left out of what follows. What r
// fails to read is an error, too.
func Check(r io.ReaderAt, size int64) iter.Seq[*Error] {
	return func(yield func(*Error) bool) {
		first := firstReads.Get().(*[firstRead]byte)
		defer firstReads.Put(first)
		b, text, err := readText(r, size, first[:])
		if err != nil {
			yield(asError(err))
			return
		}
		stopped := false
		_, last := parse(b, text, size, func(e *Error) bool {
			stopped = !yield(e)
			return !stopped
		})
		if last != nil && !stopped {
			yield(last)
		}
	}
}

func asError(err error) *Error {
	if e, ok := err.(*Error); ok {
		return e
	}
	return &Error{Err: err}
}

// depart notes a departure from the format and reports whether to go on.
func (p *parser) depart(e *Error) bool {
	if p.report == nil {
		p.err = e
		return false
	}
	return p.report(e)
}

// warn notes a departure that readers accept, at position pos of the text, and reports whether to go on.
func (p *parser) warn(pos int, tensor, format string, args ...any) bool {
	return p.report == nil || p.report(&Error{p.base + int64(pos), tensor, true, fmt.Errorf(format, args...)})
}

// checkName notes a name that stands twice or that people cannot read, and where it stands.
func (p *parser) checkName(pos int, name string) bool {
	if p.keys == nil {
		p.keys = map[string]int{}
	}
	_, twice := p.keys[name]
	p.keys[name] = pos
	switch {
	case name == metadataKey:
		return true
	case twice:
		return p.warn(pos, name, "the name stands twice; the last counts")
	case name == "":
		return p.warn(pos, name, "a tensor has an empty name")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return p.warn(pos, name, "the name has characters that do not print")
	}
	return true
}

// spelling notes how a header that can be read differs from what writers should write.
func (p *parser) spelling(h *Header) bool {
	if p.report == nil {
		return true
	}
	text := strings.TrimRight(p.text, " ")
	if text[0] != '{' && !p.warn(0, "", "white space before the header") {
		return false
	}
	if end := len(text) - 1; text[end] != '}' && !p.warn(end, "", "header is padded with other white space than spaces") {
		return false
	}
	if n := len(p.text); n%8 != 0 && !p.warn(0, "", "header of %d bytes is not padded to a multiple of 8", n) {
		return false
	}
	if !inFileOrder(h.Tensors) && !p.warn(0, "", "header lists tensors out of offset order") {
		return false
	}
	return p.alignment(h)
}

// alignment notes tensors that cannot be viewed in place, because their first element is not at a multiple of its size.
func (p *parser) alignment(h *Header) bool {
	for i := range h.Tensors {
		e := &h.Tensors[i]
		size := uint64(max(1, e.DType.Bits()/8))
		at := uint64(h.DataOffset) + uint64(e.Begin)
		if at%size != 0 && e.Begin != e.End && !p.warn(p.keys[e.Name], e.Name,
			"data at byte %d of the file is not aligned to the %d bytes of %v", at, size, e.DType) {
			return false
		}
	}
	return true
}

// Check yields what is wrong between an index and its shards: headers holds a
// header for each of x.Shards, nil for one that is missing or cannot be read.
// It opens nothing and does not look into the shards themselves.
func (x *Index) Check(headers []*Header) iter.Seq[*Error] {
	return func(yield func(*Error) bool) {
		for i, name := range x.Shards {
			if headers[i] == nil && !yield(&Error{Err: faultf(ErrIndex, "shard %q is missing or cannot be read", name)}) {
				return
			}
		}
		for _, t := range x.tensors {
			h := headers[t.shard]
			if h == nil {
				continue
			}
			if _, ok := h.Lookup(t.name); !ok && !yield(&Error{Tensor: t.name, Err: faultf(ErrIndex,
				"not in shard %q, where the index has it", x.Shards[t.shard])}) {
				return
			}
		}
		_ = x.checkShards(headers, yield) && x.checkSize(headers, yield)
	}
}

// checkShards notes tensors that the index does not have, or has elsewhere.
func (x *Index) checkShards(headers []*Header, yield func(*Error) bool) bool {
	for i, h := range headers {
		if h == nil {
			continue
		}
		for _, e := range h.Tensors {
			var err error
			switch shard, ok := x.Lookup(e.Name); {
			case !ok:
				err = fmt.Errorf("in shard %q but not in the index", x.Shards[i])
			case shard != i:
				err = fmt.Errorf("in shard %q too; the index has it in %q", x.Shards[i], x.Shards[shard])
			default:
				continue
			}
			if !yield(&Error{Offset: e.Begin, Tensor: e.Name, Warning: true, Err: err}) {
				return false
			}
		}
	}
	return true
}

// checkSize compares the index's total_size, which is advisory, to the bytes of its tensors.
func (x *Index) checkSize(headers []*Header, yield func(*Error) bool) bool {
	claimed, ok := x.Metadata["total_size"]
	if !ok {
		return true
	}
	var total int64
	for _, t := range x.tensors {
		if h := headers[t.shard]; h != nil {
			e, _ := h.Lookup(t.name)
			total += e.Size()
		}
	}
	if fmt.Sprint(claimed) == fmt.Sprint(total) || slices.Contains(headers, nil) {
		return true
	}
	return yield(&Error{Warning: true, Err: fmt.Errorf("total_size of the index is %v, but its tensors have %d bytes", claimed, total)})
}
