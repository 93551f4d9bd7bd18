package format_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heft/format"
)

func TestReadIndex(t *testing.T) {
	x, err := format.ReadIndex(strings.NewReader(`{
  "metadata": {"total_size": 12345678901234567890, "note": {"a": [1, 2.5]}},
  "unknown": [[]],
  "weight_map": {
    "b": "model-00002-of-00002.safetensors",
    "a": "model-00001-of-00002.safetensors",
    "twice": "model-00001-of-00002.safetensors",
    "caf\u00e9": "model-00001-of-00002.safetensors",
    "twice": "model-00002-of-00002.safetensors"
  }
}
`))
	if err != nil {
		t.Fatal(err)
	}
	type tensor struct {
		Name  string
		Shard int
	}
	var got []tensor
	for shard := range x.Shards {
		for name := range x.Names(shard) {
			got = append(got, tensor{name, shard})
			if s, ok := x.Lookup(name); !ok || s != shard {
				t.Errorf("Lookup(%q) = %d, %v, want %d", name, s, ok, shard)
			}
		}
	}
	want := []tensor{{"a", 0}, {"café", 0}, {"b", 1}, {"twice", 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tensors (-want +got):\n%s", diff)
	}
	if _, ok := x.Lookup("c"); ok {
		t.Error("Lookup finds what is not there")
	}
	if diff := cmp.Diff([]string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}, x.Shards); diff != "" {
		t.Errorf("shards (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{
		"total_size": json.Number("12345678901234567890"),
		"note":       map[string]any{"a": []any{json.Number("1"), json.Number("2.5")}},
	}, x.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}

func TestReadIndexErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		kind error
		want string // in the message
	}{
		{``, format.ErrIndex, "text ends"},
		{`[]`, format.ErrIndex, `'[' where '{' should stand`},
		{`{}`, format.ErrIndex, "no weight_map"},
		{`{"weight_map": null}`, format.ErrIndex, `'{' should stand`},
		{`{"weight_map": {"a": 1}}`, format.ErrIndex, `tensor "a"`},
		{`{"weight_map": {}} x`, format.ErrIndex, "the end of the index"},
		{`{"metadata": [], "weight_map": {}}`, format.ErrIndex, "metadata is not an object"},
		{"{\"weight_map\": {\"\xff\": \"a.safetensors\"}}", format.ErrIndex, "not UTF-8"},
		{`{"weight_map": {"a": "../a.safetensors"}}`, format.ErrShardName, `"../a.safetensors"`},
		{`{"weight_map": {"a": "/etc/a.safetensors"}}`, format.ErrShardName, ""},
		{`{"weight_map": {"a": "sub/a.safetensors"}}`, format.ErrShardName, ""},
		{`{"weight_map": {"a": "sub\\a.safetensors"}}`, format.ErrShardName, ""},
		{`{"weight_map": {"a": "C:a.safetensors"}}`, format.ErrShardName, ""},
		{`{"weight_map": {"a": "a\u0000.safetensors"}}`, format.ErrShardName, `"a\x00.safetensors"`},
		{`{"weight_map": {"a": ""}}`, format.ErrShardName, ""},
		{`{"weight_map": {"a": ".."}}`, format.ErrShardName, ""},
		{`{"weight_map": {"a": "passwd"}}`, format.ErrShardName, ""},
		{`{"weight_map": {"a": "pytorch_model.bin"}}`, format.ErrShardName, ""},
	} {
		x, err := format.ReadIndex(strings.NewReader(c.text))
		var e *format.Error
		if !errors.Is(err, c.kind) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %v with %q", c.text, x, err, c.kind, c.want)
		}
	}
}

func TestReadIndexReaderFails(t *testing.T) {
	broken := errors.New("broken")
	if _, err := format.ReadIndex(io.MultiReader(strings.NewReader("{"), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func BenchmarkReadIndex(b *testing.B) {
	var text strings.Builder
	text.WriteString("{\n  \"metadata\": {\"total_size\": 1},\n  \"weight_map\": {\n")
	const n = 92_000
	for i := range n {
		sep := ",\n"
		if i == n-1 {
			sep = "\n"
		}
		fmt.Fprintf(&text, "    \"model.layers.%d.mlp.experts.%d.down_proj.weight\": \"model-%05d-of-000163.safetensors\"%s", i/1500, i%1500, i*163/n+1, sep)
	}
	text.WriteString("  }\n}\n")
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := format.ReadIndex(strings.NewReader(text.String())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/tensor")
}
