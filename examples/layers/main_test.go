package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"heft/loader"
)

const model = "../../testdata/digits"

// The layers are those of the network, and the checksums those of their bytes, read in another way.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, model); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3:\n%s", len(lines), &out)
	}
	m, err := loader.Open(model, loader.WithBackend(loader.BackendRead))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i, line := range lines {
		name, sum := fmt.Sprintf("layers.%d.", i), uint32(0)
		for x, err := range m.All() {
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(x.Name(), name) {
				sum = crc32.Update(sum, crc32.IEEETable, x.Bytes())
			}
		}
		want := fmt.Sprintf(`^%s +\d+\.\d MB +\d+ MB/s  crc32 %08x  +\d+\.\d MB of the model in memory$`, regexp.QuoteMeta(name), sum)
		if !regexp.MustCompile(want).MatchString(line) {
			t.Errorf("%q does not match %s", line, want)
		}
	}
}

func TestRunErrors(t *testing.T) {
	if err := run(new(bytes.Buffer), filepath.Join(t.TempDir(), "missing.safetensors")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want fs.ErrNotExist", err)
	}
}
