//go:build (386 || amd64 || arm64) && !purego

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"heft/loader"
)

func TestRun(t *testing.T) {
	const file = "model-00001-of-00002.safetensors" // the shard that holds the tensor
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../testdata/digits")); err != nil {
		t.Fatal(err)
	}
	read := func() []byte {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	before := read()
	const want = "sum 2.99999, scaled 5.99997\n"
	for _, write := range []bool{false, true} {
		var out bytes.Buffer
		if err := run(&out, write, dir, "layers.0.bias", 2); err != nil || out.String() != want {
			t.Errorf("write %v: %v, %q, want %q", write, err, &out, want)
		}
		if changed := !bytes.Equal(read(), before); changed != write {
			t.Errorf("write %v: the file has changed: %v", write, changed)
		}
	}
	if err := run(new(bytes.Buffer), true, dir, "layers.0.bias", 0.5); err != nil || !bytes.Equal(read(), before) {
		t.Errorf("scaled back it is not what it was, %v", err)
	}
	if err := run(new(bytes.Buffer), true, dir, "no such", 2); !errors.Is(err, loader.ErrNotFound) {
		t.Errorf("no such tensor: %v", err)
	}
}
