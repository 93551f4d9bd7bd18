package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxIndex         = 100_000_000 // the longest index that is read; those of the largest checkpoints have some 10 MB
	maxIndexMetadata = 1 << 20     // the longest metadata in it, which take many times their length in memory
)

var (
	// ErrIndex is the kind of an index that is not what it should be.
	ErrIndex = errors.New("index is not what it should be")
	// ErrShardName is the kind of a shard name in an index that is not the name
	// of a .safetensors file beside it.
	ErrShardName = errors.New("not the name of a .safetensors file beside the index")
)

// minMapped is the least that a tensor takes in a weight map.
const minMapped = len(`"":"a.safetensors",`)

// Index is what the index of a sharded checkpoint says, a file like
// model.safetensors.index.json: which shard holds which tensor. It must not be
// modified, and may be used from any goroutine.
type Index struct {
	Metadata map[string]any // the index's own, as [json.Decoder] decodes it with UseNumber; nil if absent
	Shards   []string       // the file names of the shards, sorted; each is local and has no separator

	tensors []placed
	names   nameTable // places in tensors
}

type placed struct {
	name  string
	shard int // place in Shards
}

// Len returns the number of tensors.
func (x *Index) Len() int { return len(x.tensors) }

// Lookup returns the place in Shards of the shard that holds the named tensor.
// It allocates nothing.
func (x *Index) Lookup(name string) (shard int, ok bool) {
	i, ok := x.names.find(name, func(i int) string { return x.tensors[i].name })
	if !ok {
		return 0, false
	}
	return x.tensors[i].shard, true
}

// All yields each tensor's name and the place in Shards of its shard, in the order of the index.
func (x *Index) All() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for _, t := range x.tensors {
			if !yield(t.name, t.shard) {
				return
			}
		}
	}
}

// ReadIndex reads an index. Shards must be names of .safetensors files in the
// same directory: a path, or a name that could leave the directory on any
// operating system, is [ErrShardName]. What else departs from the form is
// [ErrIndex]; both come as an [*Error]. Of several mentions of a tensor the last
// counts. Other errors are r's.
func ReadIndex(r io.Reader) (*Index, error) {
	text, err := readAll(r)
	if err != nil {
		return nil, err
	}
	s := &indexScanner{scanner: scanner{b: text, text: asString(text), kind: ErrIndex}, shards: map[string]int{}}
	if !utf8.Valid(text) {
		return nil, &Error{Err: faultf(ErrIndex, "index is not UTF-8")}
	}
	if !s.index() {
		return nil, s.err
	}
	return s.finish(), nil
}

// readAll reads an index of at most maxIndex bytes.
func readAll(r io.Reader) ([]byte, error) {
	var buf bytes.Buffer
	if f, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
		if fi, err := f.Stat(); err == nil && fi.Size() < maxIndex {
			buf.Grow(int(fi.Size()) + bytes.MinRead)
		}
	}
	if _, err := buf.ReadFrom(io.LimitReader(r, maxIndex+1)); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	if buf.Len() > maxIndex {
		return nil, &Error{Offset: maxIndex, Err: faultf(ErrIndex, "index of more than %d bytes", maxIndex)}
	}
	return buf.Bytes(), nil
}

// indexScanner reads the JSON text of an index.
type indexScanner struct {
	scanner
	metadata map[string]any
	mapped   bool // there is a weight_map
	tensors  []placed
	shards   map[string]int // in the order of their appearance
}

func (s *indexScanner) index() bool {
	more, ok := s.begins('{', '}')
	for more && ok {
		key, found := s.key()
		if !found {
			return false
		}
		switch key {
		case "metadata":
			ok = s.readMetadata()
		case "weight_map":
			ok = s.weightMap()
		default:
			ok = s.skip(2)
		}
		if ok {
			more, ok = s.more('}')
		}
	}
	switch {
	case !ok:
		return false
	case s.next() != 0 || s.i < len(s.b):
		return s.expected("the end of the index")
	case !s.mapped:
		return s.fail(0, "index has no weight_map")
	}
	return true
}

func (s *indexScanner) readMetadata() bool {
	s.metadata = nil
	s.next()
	start := s.i
	if !s.skip(2) {
		return false
	}
	if n := s.i - start; n > maxIndexMetadata {
		return s.fail(start, "metadata of %d bytes, of at most %d", n, maxIndexMetadata)
	}
	d := json.NewDecoder(bytes.NewReader(s.b[start:s.i]))
	d.UseNumber()
	if err := d.Decode(&s.metadata); err != nil {
		return s.fail(start, "metadata is not an object")
	}
	return true
}

func (s *indexScanner) weightMap() bool {
	if !s.mapped { // counting at every one of many would take quadratic time
		rest := s.b[s.i:]
		s.tensors = make([]placed, 0, min(bytes.Count(rest, []byte{'\n'}), len(rest)/minMapped)) // a tensor a line
	}
	s.mapped, s.tensors = true, s.tensors[:0]
	clear(s.shards)
	last, shard := "", -1
	more, ok := s.begins('{', '}')
	for more && ok {
		name, found := s.key()
		if !found {
			return false
		}
		s.next()
		at := s.i
		file, found := s.str()
		if !found {
			s.err.Tensor = name
			return false
		}
		if file != last || shard < 0 {
			if last, shard = file, s.shard(file); shard < 0 {
				s.err = &Error{int64(at), name, false, faultf(ErrShardName, "shard %s is %v", quote(file), ErrShardName)}
				return false
			}
		}
		s.tensors = append(s.tensors, placed{name, shard})
		more, ok = s.more('}')
	}
	return ok
}

// shard returns the number of a shard, -1 if its name is not allowed.
func (s *indexScanner) shard(file string) int {
	n, ok := s.shards[file]
	if !ok {
		if !isShardName(file) {
			return -1
		}
		n = len(s.shards)
		s.shards[file] = n
	}
	return n
}

// isShardName reports whether a name stays in its directory on every operating
// system: an index may have been made to be read elsewhere.
func isShardName(name string) bool {
	drive := len(name) > 1 && name[1] == ':'
	return strings.HasSuffix(name, ".safetensors") && !drive &&
		!strings.ContainsAny(name, "/\\\x00") && filepath.IsLocal(name)
}

// finish numbers the shards in the order of their names.
func (s *indexScanner) finish() *Index {
	x := &Index{Metadata: s.metadata, Shards: make([]string, 0, len(s.shards))}
	for file := range s.shards {
		x.Shards = append(x.Shards, file)
	}
	slices.Sort(x.Shards)
	sorted := make([]int, len(x.Shards))
	for i, file := range x.Shards {
		sorted[s.shards[file]] = i
	}
	for i := range s.tensors {
		s.tensors[i].shard = sorted[s.tensors[i].shard]
	}
	x.tensors, x.names = unique(s.tensors, func(t *placed) string { return t.name })
	return x
}
