package format

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
)

// Split divides tensors, in their order, into shards of at most limit bytes of
// data, as the hub's library does: a shard ends where the next tensor would not
// fit, and a tensor that is larger than the limit has a shard of its own, before
// the one that is being filled. Without tensors there is one empty shard.
//
// Errors are those of [NewHeader] about the size of a tensor.
func Split(tensors []Entry, limit int64) ([][]Entry, error) {
	var shards [][]Entry
	var filling []Entry
	var filled int64
	for _, e := range tensors {
		size, err := entrySize(&e)
		if err != nil {
			return nil, &Error{Tensor: e.Name, Err: err}
		}
		if size > limit {
			shards = append(shards, []Entry{e})
			continue
		}
		if filled > limit-size {
			shards = append(shards, filling)
			filling, filled = nil, 0
		}
		filling = append(filling, e)
		filled += size
	}
	if filling != nil || shards == nil {
		shards = append(shards, filling)
	}
	return shards, nil
}

// IndexName is what the hub calls the index of a model in several shards.
const IndexName = "model.safetensors.index.json"

// ShardName returns what the hub calls the i-th of n shards, from 0:
// model-00001-of-00002.safetensors, or model.safetensors if it is the only one.
func ShardName(i, n int) string {
	if n == 1 {
		return "model.safetensors"
	}
	return fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n)
}

// MarshalIndex returns the index of a model in shards, the tensors of each in
// the order given, as the hub's library writes it: total_size, which is the
// bytes of all tensors, then the metadata, then the weight map; two spaces a
// level, and escapes for all but ASCII. Metadata may be nil; its keys are
// sorted, and a total_size among them is left out.
//
// Errors are those of [NewHeader] about the size of a tensor.
func MarshalIndex(metadata map[string]string, shards [][]Entry) ([]byte, error) {
	var total int64
	weights := []byte("{")
	for i, tensors := range shards {
		for _, e := range tensors {
			size, err := entrySize(&e)
			if err == nil && size > math.MaxInt64-total {
				err = faultf(ErrOverflow, "with %d bytes the model is larger than 2^63", size)
			}
			if err != nil {
				return nil, &Error{Tensor: e.Name, Err: err}
			}
			total += size
			weights = appendMember(weights, e.Name, appendASCII(nil, ShardName(i, len(shards))))
		}
	}
	meta := appendMember([]byte("{"), "total_size", strconv.AppendInt(nil, total, 10))
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		if key != "total_size" {
			meta = appendMember(meta, key, appendASCII(nil, metadata[key]))
		}
	}
	b := append([]byte("{\n  \"metadata\": "), closeObject(meta)...)
	b = append(b, ",\n  \"weight_map\": "...)
	return append(append(b, closeObject(weights)...), "\n}"...), nil
}

// appendMember appends a member to an object of the second level.
func appendMember(b []byte, key string, value []byte) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = appendASCII(append(b, "\n    "...), key)
	return append(append(b, ": "...), value...)
}

func closeObject(b []byte) []byte {
	if len(b) > 1 {
		b = append(b, "\n  "...)
	}
	return append(b, '}')
}

// appendASCII appends a JSON string in which all but printable ASCII is escaped, as in Python.
func appendASCII(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r < ' ' || r == '"' || r == '\\':
			b = appendEscape(b, byte(r))
		case r <= '~':
			b = append(b, byte(r))
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				b = fmt.Appendf(b, `\u%04x`, unit)
			}
		}
	}
	return append(b, '"')
}
