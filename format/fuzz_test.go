package format_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heft/format"
)

// FuzzRead holds that what is read can be written and read again the same, and that Check agrees with Read.
func FuzzRead(f *testing.F) {
	for _, line := range vectors(f, "headers.tsv") {
		if !strings.HasPrefix(line, "# ") {
			_, b := vectorFile(f, line)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := read(b)
		sound := true
		for e := range format.Check(bytes.NewReader(b), int64(len(b))) {
			sound = sound && e.Warning
		}
		if sound != (err == nil) {
			t.Fatalf("Read: %v, Check: %q", err, findings(b))
		}
		if err != nil {
			kindOf(t, err)
			return
		}
		header, err := h.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		back, err := read(append(header, b[h.DataOffset:]...))
		if err != nil {
			t.Fatal(err)
		}
		if moved := back.DataOffset - h.DataOffset; moved != 0 { // it was spelled shorter than the reference does
			for i := range back.Tensors {
				back.Tensors[i].Begin -= moved
				back.Tensors[i].End -= moved
			}
			back.DataOffset = h.DataOffset
		}
		if diff := cmp.Diff(h, back, headers); diff != "" {
			t.Errorf("(-read +written and read)\n%s", diff)
		}
	})
}

// FuzzReadIndex holds that an index can be read or gives an error of its kinds, and finds what it lists.
func FuzzReadIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"a.safetensors","b":"b.safetensors","a":"b.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../a.safetensors"}}`))
	f.Add([]byte("{\"weight_map\": {\n  \"a\": \"1.safetensors\",\n  \"b\": \"1.safetensors\",\n  \"c\": \"1.safetensors\",\n  \"d\": \"2.safetensors\",\n  \"é\": \"2.safetensors\",\n  \"a\": \"2.safetensors\"\n}}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := format.ReadIndex(bytes.NewReader(b))
		if err != nil {
			return
		}
		got := map[string]string{}
		for shard, file := range x.Shards {
			for name := range x.Names(shard) {
				if at, ok := x.Lookup(name); !ok || at != shard || strings.ContainsAny(file, `/\`) {
					t.Errorf("%q in %d: Lookup finds %d, %v", name, shard, at, ok)
				}
				got[name] = file
			}
		}
		var want struct {
			Map map[string]string `json:"weight_map"`
		}
		if bytes.Count(bytes.ToLower(b), []byte("map")) != 1 || bytes.ContainsRune(b, '\\') { // of several, encoding/json takes the sum
			return
		}
		if err := json.Unmarshal(b, &want); err != nil || !maps.Equal(got, want.Map) {
			t.Errorf("weight map %q, encoding/json has %q, %v", got, want.Map, err)
		}
	})
}
