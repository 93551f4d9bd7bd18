package format

import (
	"io"
	"iter"
)

// Check stub.
func Check(r io.ReaderAt, size int64) iter.Seq[*Error] { return func(func(*Error) bool) {} }

// Index is what model.safetensors.index.json says: which shard holds which tensor.
type Index struct {
	Metadata map[string]any // stub
	Shards   []string       // the distinct file names of the weight map, in natural order
}

// ReadIndex stub.
func ReadIndex(r io.Reader) (*Index, error) { return nil, io.EOF }

// Len returns the number of tensors in the weight map.
func (x *Index) Len() int { return 0 }

// Lookup returns the place in Shards of the shard that holds the named tensor.
func (x *Index) Lookup(name string) (shard int, ok bool) { return 0, false }

// All yields each tensor's name and the place in Shards of its shard, in the order of the file.
func (x *Index) All() iter.Seq2[string, int] { return func(func(string, int) bool) {} }
