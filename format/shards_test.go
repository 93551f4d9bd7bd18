package format_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heft/format"
	"heft/tensor"
)

type split struct {
	Name     string
	Tensors  [][2]any // name and size
	Limit    int64
	Metadata map[string]string
	Shards   []shard
	Index    *string
}

type shard struct {
	File    string
	Tensors []string
}

// TestSplitAsHub divides tensors and writes the index as the hub's library does.
func TestSplitAsHub(t *testing.T) {
	text, err := os.ReadFile("testdata/shards.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var c split
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		t.Run(c.Name, func(t *testing.T) {
			var entries []format.Entry
			for _, x := range c.Tensors {
				entries = append(entries, format.Entry{Name: x[0].(string), DType: tensor.U8, Shape: []int{int(x[1].(float64))}})
			}
			shards, err := format.Split(entries, c.Limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []shard
			for i, tensors := range shards {
				s := shard{File: format.ShardName(i, len(shards))}
				for _, e := range tensors {
					s.Tensors = append(s.Tensors, e.Name)
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(c.Shards, got); diff != "" {
				t.Errorf("shards (-hub +here):\n%s", diff)
			}
			if c.Index == nil {
				return
			}
			index, err := format.MarshalIndex(c.Metadata, shards)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(*c.Index, string(index)); diff != "" {
				t.Errorf("index (-hub +here):\n%s", diff)
			}
			checkIndex(t, index, shards)
		})
	}
}

// checkIndex reads an index back.
func checkIndex(t *testing.T, text []byte, shards [][]format.Entry) {
	t.Helper()
	x, err := format.ReadIndex(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for i, tensors := range shards {
		for _, e := range tensors {
			if place, ok := x.Lookup(e.Name); !ok || x.Shards[place] != format.ShardName(i, len(shards)) {
				t.Errorf("%q is in shard %d, %t", e.Name, place, ok)
			}
		}
		if n := len(slices.Collect(x.Names(i))); n != len(tensors) {
			t.Errorf("%d tensors in shard %d, want %d", n, i, len(tensors))
		}
	}
}

func TestMarshalIndexEmpty(t *testing.T) {
	shards, err := format.Split(nil, 1)
	if err != nil || len(shards) != 1 || len(shards[0]) != 0 {
		t.Fatalf("%v, %v", shards, err)
	}
	const want = "{\n  \"metadata\": {\n    \"total_size\": 0\n  },\n  \"weight_map\": {}\n}"
	got, err := format.MarshalIndex(map[string]string{"total_size": "17"}, shards)
	if err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func TestSplitErrors(t *testing.T) {
	huge := format.Entry{Name: "a", DType: tensor.U8, Shape: []int{1 << 30, 1 << 30}} // 2^60 bytes
	for _, c := range []struct {
		tensors []format.Entry
		kind    error
	}{
		{[]format.Entry{{Name: "a"}}, format.ErrHeaderJSON},
		{[]format.Entry{{Name: "a", DType: tensor.U8, Shape: []int{-1}}}, format.ErrHeaderJSON},
		{[]format.Entry{{Name: "a", DType: tensor.F4, Shape: []int{3}}}, format.ErrSubByte},
		{[]format.Entry{{Name: "a", DType: tensor.U64, Shape: []int{math.MaxInt, math.MaxInt, math.MaxInt}}}, format.ErrOverflow},
	} {
		var e *format.Error
		if shards, err := format.Split(c.tensors, 1); !errors.Is(err, c.kind) || !errors.As(err, &e) || e.Tensor != "a" {
			t.Errorf("Split: %v, %v; want %v", shards, err, c.kind)
		}
		if index, err := format.MarshalIndex(nil, [][]format.Entry{c.tensors}); !errors.Is(err, c.kind) || !errors.As(err, &e) || e.Tensor != "a" {
			t.Errorf("MarshalIndex: %s, %v; want %v", index, err, c.kind)
		}
	}
	eight := []format.Entry{huge, huge, huge, huge, huge, huge, huge, huge}
	if _, err := format.MarshalIndex(nil, [][]format.Entry{eight}); !errors.Is(err, format.ErrOverflow) {
		t.Errorf("2^63 bytes: %v", err)
	}
}
