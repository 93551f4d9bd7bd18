package format

import (
	"errors"
	"io"
	"iter"

	"heft/tensor"
)

// Header is what stands before the data of a safetensors file. It must not be
// modified after [Read] or [NewHeader], and may then be used from any goroutine.
type Header struct {
	Metadata   map[string]string // the __metadata__ object; nil if absent, empty if {}
	Tensors    []Entry           // in file order: by Begin, then End
	DataOffset int64             // where the data begins: 8 bytes of length, then the JSON text with its padding
}

// Entry describes one tensor of a file.
type Entry struct {
	Name       string
	DType      tensor.DType
	Shape      []int // outermost dimension first; empty for a scalar
	Begin, End int64 // absolute offsets in the file: the data is [Begin, End)
}

// Size returns the number of bytes of data.
func (e Entry) Size() int64 { return e.End - e.Begin }

var errTODO = errors.New("format: not written yet")

// Read stub.
func Read(r io.ReaderAt, size int64) (*Header, error) { return nil, errTODO }

// Lookup stub.
func (h *Header) Lookup(name string) (Entry, bool) { return Entry{}, false }

// Check stub.
func Check(r io.ReaderAt, size int64) iter.Seq[*Error] { return func(func(*Error) bool) {} }

// Index is what model.safetensors.index.json says: which shard holds which tensor.
type Index struct {
	Metadata map[string]any // stub
	Shards   []string       // the distinct file names of the weight map, in natural order
}

// ReadIndex stub.
func ReadIndex(r io.Reader) (*Index, error) { return nil, errTODO }

// Len returns the number of tensors in the weight map.
func (x *Index) Len() int { return 0 }

// Lookup returns the place in Shards of the shard that holds the named tensor.
func (x *Index) Lookup(name string) (shard int, ok bool) { return 0, false }

// All yields each tensor's name and the place in Shards of its shard, in the order of the file.
func (x *Index) All() iter.Seq2[string, int] { return func(func(string, int) bool) {} }
