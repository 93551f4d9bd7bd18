package format

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// NewHeader returns the header that the reference gives a file with the given
// metadata and tensors: those of a higher DType first, within a type by name in
// bytewise order, back to back from DataOffset on, which is a multiple of 8.
// Begin and End of the tensors given are ignored; metadata may be nil. Both
// stay the caller's, but shapes are kept.
//
// What makes no readable file is an [*Error]: a tensor called __metadata__, two
// of one name, a negative dimension or text that is not UTF-8 ([ErrHeaderJSON],
// [ErrHeaderUTF8]), a size that is no number of bytes or too large
// ([ErrSubByte], [ErrOverflow]), more than 100 MB of header ([ErrHeaderTooLarge]).
func NewHeader(metadata map[string]string, tensors []Entry) (*Header, error) {
	h := &Header{Metadata: maps.Clone(metadata), Tensors: slices.Clone(tensors)}
	slices.SortFunc(h.Tensors, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.DType, a.DType), strings.Compare(a.Name, b.Name))
	})
	var end int64
	for i := range h.Tensors {
		e := &h.Tensors[i]
		size, err := entrySize(e)
		if err == nil && size > math.MaxInt64-maxHeader-lengthSize-end {
			err = faultf(ErrOverflow, "with %d bytes the file is larger than 2^63", size)
		}
		if err != nil {
			return nil, &Error{Tensor: e.Name, Err: err}
		}
		e.Begin, e.End = end, end+size
		end = e.End
	}
	if err := h.checkText(); err != nil {
		return nil, err
	}
	text := h.appendJSON(nil)
	if len(text) > maxHeader {
		return nil, &Error{Err: faultf(ErrHeaderTooLarge, "header of %d bytes, of at most %d", len(text), maxHeader)}
	}
	h.shift(lengthSize + int64(padded(len(text))))
	h.index()
	return h, nil
}

// entrySize returns how many bytes the type and the shape of an entry need.
func entrySize(e *Entry) (int64, error) {
	if !e.DType.Valid() {
		return 0, faultf(ErrHeaderJSON, "unknown dtype %v", e.DType)
	}
	n := uint64(1)
	for _, dim := range e.Shape {
		if dim < 0 {
			return 0, faultf(ErrHeaderJSON, "negative dimension %d", dim)
		}
		var hi uint64
		if hi, n = bits.Mul64(n, uint64(dim)); hi != 0 {
			return 0, flaw{kind: ErrOverflow}.describe(e)
		}
	}
	hi, n := bits.Mul64(n, uint64(e.DType.Bits()))
	switch {
	case hi != 0:
		return 0, flaw{kind: ErrOverflow}.describe(e)
	case n%8 != 0:
		return 0, flaw{kind: ErrSubByte}.describe(e)
	}
	return int64(n / 8), nil
}

// checkText refuses names and metadata with which the header could not be read back.
func (h *Header) checkText() error {
	at := func(i int) string { return h.Tensors[i].Name }
	names, duplicates := index(len(h.Tensors), at)
	for i := range h.Tensors {
		name := h.Tensors[i].Name
		switch last, _ := names.find(name, at); {
		case name == metadataKey:
			return &Error{Tensor: name, Err: faultf(ErrHeaderJSON, "the name is taken by the metadata")}
		case !utf8.ValidString(name):
			return &Error{Tensor: name, Err: faultf(ErrHeaderUTF8, "name is not UTF-8")}
		case duplicates && last != i:
			return &Error{Tensor: name, Err: faultf(ErrHeaderJSON, "two tensors have this name")}
		}
	}
	for key, value := range h.Metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return &Error{Err: faultf(ErrHeaderUTF8, "metadata %q is not UTF-8", key)}
		}
	}
	return nil
}

// padded rounds the length of JSON text up, so that the data begin at a multiple of 8.
func padded(n int) int { return (n + 7) &^ 7 }

// MarshalBinary returns the bytes of a file up to its data: the length, the JSON
// text as the reference spells it, metadata keys sorted, and spaces up to
// DataOffset. For a header from [NewHeader] that is what the reference writes.
//
// A header that was read keeps its DataOffset where the text fits; text that
// was spelled shorter than the reference does is padded to a multiple of 8, and
// the data move up.
func (h *Header) MarshalBinary() ([]byte, error) {
	b := h.appendJSON(make([]byte, lengthSize, max(lengthSize, h.DataOffset)))
	n := padded(len(b))
	if int64(len(b)) <= h.DataOffset {
		n = int(h.DataOffset)
	}
	for len(b) < n {
		b = append(b, ' ')
	}
	if len(b) > lengthSize+maxHeader {
		return nil, &Error{Err: faultf(ErrHeaderTooLarge, "header of %d bytes, of at most %d", len(b)-lengthSize, maxHeader)}
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-lengthSize))
	return b, nil
}

// appendJSON appends the JSON text, without padding.
func (h *Header) appendJSON(b []byte) []byte {
	separator := byte('{')
	if h.Metadata != nil {
		b = append(b, `{"`+metadataKey+`":`...)
		inner := byte('{')
		for _, key := range slices.Sorted(maps.Keys(h.Metadata)) {
			b = appendString(append(b, inner), key)
			b = appendString(append(b, ':'), h.Metadata[key])
			inner = ','
		}
		if inner == '{' {
			b = append(b, '{')
		}
		b = append(b, '}')
		separator = ','
	}
	for i := range h.Tensors {
		b = h.Tensors[i].appendJSON(append(b, separator), h.DataOffset)
		separator = ','
	}
	if separator == '{' {
		b = append(b, '{')
	}
	return append(b, '}')
}

func (e *Entry) appendJSON(b []byte, dataOffset int64) []byte {
	b = appendString(b, e.Name)
	b = append(b, `:{"dtype":"`...)
	b = append(b, e.DType.String()...)
	b = append(b, `","shape":[`...)
	for i, dim := range e.Shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(dim), 10)
	}
	b = append(b, `],"data_offsets":[`...)
	b = strconv.AppendInt(b, e.Begin-dataOffset, 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, e.End-dataOffset, 10)
	return append(b, `]}`...)
}

// appendString appends a JSON string with no more escapes than JSON demands, as
// the reference does. (encoding/json escapes <, >, & and two line separators, too.)
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			b = appendEscape(b, c)
		} else {
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// appendEscape appends the escape of a character that cannot stand in a JSON string.
func appendEscape(b []byte, c byte) []byte {
	const short = "btn\x00fr" // the escapes of 8 to 13; 11 has none
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c >= 8 && c <= 13 && c != 11:
		return append(b, '\\', short[c-8])
	}
	return fmt.Appendf(b, `\u%04x`, c)
}

// Align returns h with its data moved up to the next multiple of n, a power of
// two; data that is at one stays. Spaces behind the JSON text fill the room, so
// that [Header.MarshalBinary] and [Encode] keep to it and every reader accepts
// it. Tensors follow each other without gaps: only the first is sure to be aligned.
//
// The error is [ErrHeaderTooLarge], as an [*Error], where the header would
// become longer than 100 MB. An n that is no power of two panics.
func (h *Header) Align(n int64) (*Header, error) {
	if n <= 0 || n&(n-1) != 0 {
		panic(fmt.Sprintf("format: alignment of %d, which is no power of two", n))
	}
	up := -h.DataOffset & (n - 1)
	if up > lengthSize+maxHeader-h.DataOffset {
		return nil, &Error{Err: faultf(ErrHeaderTooLarge, "data aligned to %d bytes need a longer header than the %d allowed", n, maxHeader)}
	}
	moved := *h
	moved.Tensors = slices.Clone(h.Tensors)
	moved.shift(up)
	return &moved, nil
}

// shift moves the data up by some bytes.
func (h *Header) shift(up int64) {
	h.DataOffset += up
	for i := range h.Tensors {
		h.Tensors[i].Begin += up
		h.Tensors[i].End += up
	}
}
