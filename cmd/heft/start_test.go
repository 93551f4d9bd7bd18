package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"heft/format"
	"heft/tensor"
)

// BenchmarkInspect runs the command, from start to exit, on a model of 300
// tensors in 4 shards, beside a command that does nothing with a model.
func BenchmarkInspect(b *testing.B) {
	dir := b.TempDir()
	heft := filepath.Join(dir, "heft")
	if out, err := exec.Command("go", "build", "-o", heft, ".").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	model := filepath.Join(dir, "model")
	if err := os.Mkdir(model, 0o777); err != nil {
		b.Fatal(err)
	}
	makeShards(b, model, 4, 75)
	for _, args := range [][]string{{"inspect", model}, {"tree", model}, {"version"}} {
		b.Run(args[0], func(b *testing.B) {
			for b.Loop() {
				if out, err := exec.Command(heft, args...).CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
			}
		})
	}
}

// makeShards writes an index and shards with so many tensors each, their data sparse.
func makeShards(b *testing.B, dir string, shards, each int) {
	var index []string
	for s := range shards {
		var entries []format.Entry
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", s+1, shards)
		for i := range each {
			tensorName := fmt.Sprintf("model.layers.%d.mlp.%d.weight", s, i)
			entries = append(entries, format.Entry{Name: tensorName, DType: tensor.BF16, Shape: []int{1024, 1024}})
			index = append(index, fmt.Sprintf("%q: %q", tensorName, name))
		}
		h, err := format.NewHeader(nil, entries)
		if err != nil {
			b.Fatal(err)
		}
		head, err := h.MarshalBinary()
		if err != nil {
			b.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, head, 0o666); err != nil {
			b.Fatal(err)
		}
		if err := os.Truncate(path, h.Tensors[each-1].End); err != nil {
			b.Fatal(err)
		}
	}
	text := "{\"weight_map\": {\n" + strings.Join(index, ",\n") + "}}\n"
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(text), 0o666); err != nil {
		b.Fatal(err)
	}
}
