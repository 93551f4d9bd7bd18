package format

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"heft/tensor"
)

const (
	lengthSize    = 8           // the little-endian length of the JSON text, at the start of a file
	maxHeader     = 100_000_000 // the longest JSON text that the format allows
	firstRead     = 64 << 10    // what the first read asks for; most headers are shorter
	metadataKey   = "__metadata__"
	minTensorText = len(`"":["F4",[],[0,0]],`) // the least that an entry takes in a header
)

// Header is what stands before the data of a safetensors file. It must not be
// modified after [Read] or [NewHeader], and may then be used from any goroutine.
type Header struct {
	Metadata   map[string]string // the __metadata__ object; nil if absent, empty if {}
	Tensors    []Entry           // in file order: by Begin, then End; empty ones at one place as the header lists them
	DataOffset int64             // where the data begins: 8 bytes of length, then the JSON text with its padding

	names nameTable // places in Tensors
}

// Entry describes one tensor of a file.
type Entry struct {
	Name       string
	DType      tensor.DType
	Shape      []int // outermost dimension first; empty for a scalar; entries may share it
	Begin, End int64 // absolute offsets in the file: the data is [Begin, End)
}

// Size returns the number of bytes of data.
func (e Entry) Size() int64 { return e.End - e.Begin }

// Lookup returns the entry of the named tensor. It allocates nothing.
func (h *Header) Lookup(name string) (Entry, bool) {
	if i, ok := h.names.find(name, func(i int) string { return h.Tensors[i].Name }); ok {
		return h.Tensors[i], true
	}
	return Entry{}, false
}

// Read reads the header of a safetensors file of the given size in bytes, with
// at most two calls of r.ReadAt. It reads no data.
//
// A file that departs from the format gives an [*Error] of one of the kinds
// listed there; of several faults, the one that the reference reports. Other
// errors are r's. The header keeps its JSON text in memory: names and metadata
// are cut from it.
func Read(r io.ReaderAt, size int64) (*Header, error) {
	first := firstReads.Get().(*[firstRead]byte)
	defer firstReads.Put(first)
	b, text, err := readText(r, size, first[:])
	if err != nil {
		return nil, err
	}
	h, departure := parse(b, text, size, nil)
	if departure != nil {
		return nil, departure
	}
	return h, nil
}

var firstReads = sync.Pool{New: func() any { return new([firstRead]byte) }}

// readText reads the JSON text of a header, as bytes and as a string that stays
// when first is used again. Text that is not longer than first is read into it.
func readText(r io.ReaderAt, size int64, first []byte) (b []byte, text string, err error) {
	first = first[:min(int64(len(first)), max(size, 0))]
	if err := readFull(r, first, 0); err != nil {
		return nil, "", err
	}
	n, err := textLength(first, size)
	if err != nil {
		return nil, "", err
	}
	if read := first[lengthSize:]; n <= len(read) {
		b = read[:n]
		return b, string(b), nil
	}
	b = rawBytes(n)
	read := copy(b, first[lengthSize:])
	if err := readFull(r, b[read:], int64(len(first))); err != nil {
		return nil, "", err
	}
	return b, asString(b), nil
}

// textLength checks the length of the JSON text, which a file of the given size begins with.
func textLength(first []byte, size int64) (int, error) {
	if len(first) < lengthSize {
		return 0, &Error{Offset: size, Err: faultf(ErrHeaderTooSmall, "%d bytes are no safetensors file: the length of the header takes 8", size)}
	}
	n := binary.LittleEndian.Uint64(first)
	if n > maxHeader {
		return 0, &Error{Err: faultf(ErrHeaderTooLarge, "header of %d bytes, of at most %d", n, maxHeader)}
	}
	if int64(n) > size-lengthSize {
		return 0, &Error{Err: faultf(ErrHeaderLength, "header of %d bytes in a file with %d after the length", n, size-lengthSize)}
	}
	return int(n), nil
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == io.EOF || err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read header at byte %d: %w", off+int64(n), err)
}

// parse reads the JSON text of a header and checks it against the size of its
// file. Without report it stops at the first departure from the format, and
// looks for no warnings. With report, departures go there, and parse goes on as
// long as report returns true and the text can be read; it returns the
// departure behind which it could not.
func parse(b []byte, text string, size int64, report func(*Error) bool) (*Header, *Error) {
	p := &parser{scanner: scanner{b: b, text: text, base: lengthSize, kind: ErrHeaderJSON}, report: report, arena: []int{}}
	p.nameAt = func(i int) string { return p.tensors[i].Name }
	if report != nil && !p.utf8(false) { // before it hears of anything else
		return nil, p.notUTF8()
	}
	ok := p.header()
	if !p.utf8(ok) { // which counts before what else is wrong
		return nil, p.notUTF8()
	}
	if !ok {
		return nil, p.err
	}
	h := &Header{Metadata: p.metadata, Tensors: p.tensors, DataOffset: lengthSize + int64(len(b)), names: p.names}
	if !p.spelling(h) {
		return nil, nil
	}
	if p.duplicates || !inFileOrder(h.Tensors) {
		h.index()
	}
	if !p.layout(h.Tensors, h.DataOffset, uint64(size-h.DataOffset)) {
		return nil, p.err
	}
	return h, nil
}

// index fills the table of names and puts the tensors into file order. Of
// several tensors with one name the last in the text stays, as in the reference.
func (h *Header) index() {
	name := func(e *Entry) string { return e.Name }
	h.Tensors, h.names = unique(h.Tensors, name)
	if !inFileOrder(h.Tensors) {
		slices.SortStableFunc(h.Tensors, func(a, b Entry) int { return fileOrder(&a, &b) })
		_, h.names = unique(h.Tensors, name)
	}
}

// fileOrder compares entries by their offsets, which before the layout is checked are any unsigned numbers.
func fileOrder(a, b *Entry) int {
	if c := cmp.Compare(uint64(a.Begin), uint64(b.Begin)); c != 0 {
		return c
	}
	return cmp.Compare(uint64(a.End), uint64(b.End))
}

// inFileOrder reports whether the entries are in file order. (slices.IsSortedFunc would copy each of them twice.)
func inFileOrder(list []Entry) bool {
	for i := 1; i < len(list); i++ {
		if fileOrder(&list[i-1], &list[i]) > 0 {
			return false
		}
	}
	return true
}
