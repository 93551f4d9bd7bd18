package main

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"heft/loader"
)

const model, samples = "../../testdata/digits", "../../testdata/digits/samples/test.safetensors"

// The score is what testdata/digits/README.md promises.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, model, samples); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n   . * @ @ * :  \n     - + *      \n       %        \n     - *        \nlooks like 7, is 7\n",
		"\n354 of 360 right\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}

func TestRunErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.safetensors")
	for _, test := range []struct {
		model, samples string
		want           error
	}{
		{missing, samples, fs.ErrNotExist},
		{model, missing, fs.ErrNotExist},
		{model, filepath.Join(model, "model-00001-of-00002.safetensors"), loader.ErrNotFound},
	} {
		if err := run(new(bytes.Buffer), test.model, test.samples); !errors.Is(err, test.want) {
			t.Errorf("run(%q, %q) = %v, want %v", test.model, test.samples, err, test.want)
		}
	}
}
