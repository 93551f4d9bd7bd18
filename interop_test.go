package heft_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"heft/loader"
	"heft/tensor"
)

// A reading is what a tensor looks like to a reader of files.
type reading struct {
	DType  string  `json:"dtype"`
	Shape  []int   `json:"shape"`
	SHA256 string  `json:"sha256"` // of the bytes
	Sum    float64 `json:"sum"`    // of the elements as float32, added one by one
}

// TestRealModels compares every tensor of real models with what Python's
// safetensors reads. HEFT_PYTHON is a Python that has the packages safetensors
// and ml_dtypes, HEFT_MODEL a safetensors file, the larger the better.
func TestRealModels(t *testing.T) {
	python, model := os.Getenv("HEFT_PYTHON"), os.Getenv("HEFT_MODEL")
	if python == "" || model == "" {
		t.Skip("HEFT_PYTHON and HEFT_MODEL do not name a Python with safetensors and a model")
	}
	for _, path := range []string{"testdata/digits", model} {
		m, err := loader.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		args := []string{"bench/reference/tensors.py"}
		for file := range m.Files() {
			args = append(args, file)
		}
		cmd := exec.Command(python, args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]reading
		if err := json.Unmarshal(out, &want); err != nil {
			t.Fatal(err)
		}
		got := map[string]reading{}
		err = m.Guard(func() error {
			for x, err := range m.All() {
				if err != nil {
					return err
				}
				sum := sha256.Sum256(x.Bytes())
				got[x.Name()] = reading{x.DType().String(), x.Shape(), hex.EncodeToString(sum[:]), sumOf(t, x)}
			}
			return nil
		})
		if err := errors.Join(err, m.Changed()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-Python +heft):\n%s", path, diff)
		}
		t.Logf("%s: %d tensors", path, len(got))
	}
}

// sumOf adds the elements of x: where they lie if they are float32 and this machine can, else converted.
func sumOf(t *testing.T, x tensor.Tensor) float64 {
	elements, err := tensor.Of[float32](x)
	if err != nil {
		if elements, err = tensor.AppendFloat32(nil, x); err != nil {
			t.Fatal(err)
		}
	}
	sum := 0.0
	for _, e := range elements {
		sum += float64(e)
	}
	return sum
}
