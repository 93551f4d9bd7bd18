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
	sorted  []int32   // places in tensors: those of a shard together, in the order of the index
	ends    []int32   // in sorted, of each shard
}

type placed struct {
	name  string
	shard int // place in Shards
}

// Lookup returns the place in Shards of the shard that holds the named tensor.
// It allocates nothing.
func (x *Index) Lookup(name string) (shard int, ok bool) {
	i, ok := x.names.find(name, func(i int) string { return x.tensors[i].name })
	if !ok {
		return 0, false
	}
	return x.tensors[i].shard, true
}

// Names yields the names of the tensors that a shard, by its place in Shards,
// holds, in the order of the index.
func (x *Index) Names(shard int) iter.Seq[string] {
	begin := int32(0)
	if shard > 0 {
		begin = x.ends[shard-1]
	}
	return func(yield func(string) bool) {
		for _, place := range x.sorted[begin:x.ends[shard]] {
			if !yield(x.tensors[place].name) {
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
	ok := s.index()
	if !s.utf8(ok) {
		return nil, &Error{Err: faultf(ErrIndex, "index is not UTF-8")}
	}
	if !ok {
		return nil, s.err
	}
	return s.finish(), nil
}

// readAll reads an index of at most maxIndex bytes.
func readAll(r io.Reader) ([]byte, error) {
	size := int64(0)
	if f, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
		if fi, err := f.Stat(); err == nil {
			size = fi.Size()
		}
	}
	const spare = 512 // for the end to be seen without growing
	b := rawBytes(int(min(max(size, 0), maxIndex) + spare))[:0]
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > maxIndex:
			return nil, &Error{Offset: maxIndex, Err: faultf(ErrIndex, "index of more than %d bytes", maxIndex)}
		case err == io.EOF:
			return b, nil
		case err != nil:
			return nil, fmt.Errorf("read index: %w", err)
		}
		if len(b) == cap(b) {
			b = slices.Grow(b, len(b))
		}
	}
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
	if !s.mapped { // at every one of many this would take quadratic time
		rest := s.b[s.i:]
		s.tensors = make([]placed, 0, min(estimate(rest, '\n'), len(rest)/minMapped)) // a tensor a line
	}
	s.mapped, s.tensors = true, s.tensors[:0]
	s.shards = map[string]int{} // clearing one that was large takes time each time
	last, shard := "", -1
	more, ok := s.begins('{', '}')
	for more && ok {
		name, found := s.str()
		end := s.i - 1
		if !found || !s.punct(':') {
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
		if more, ok = s.more('}'); more && s.next() == '"' {
			s.alike(s.text[end:s.i+1], shard)
		}
	}
	return ok
}

// alike reads the tensors that are in the same shard as the one before: whose
// names are followed by the same text, up to the quote before the next name. In
// most indexes that is nearly all.
func (s *indexScanner) alike(between string, shard int) {
	for {
		start := s.i + 1
		end, beyond := plain(s.b, start)
		if len(s.b)-end < len(between) || s.text[end:end+len(between)] != between {
			return
		}
		s.tensors = append(s.tensors, placed{s.text[start:end], shard})
		s.i, s.beyond = end+len(between)-1, s.beyond|beyond
	}
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
	x.sort()
	return x
}

// sort fills sorted and ends, by counting.
func (x *Index) sort() {
	next := make([]int32, len(x.Shards)+1)
	for _, t := range x.tensors {
		next[t.shard+1]++
	}
	for i := range x.Shards {
		next[i+1] += next[i]
	}
	x.sorted = make([]int32, len(x.tensors))
	for place, t := range x.tensors {
		x.sorted[next[t.shard]] = int32(place)
		next[t.shard]++
	}
	x.ends = next[:len(x.Shards)]
}
