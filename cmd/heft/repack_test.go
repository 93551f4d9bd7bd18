package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"heft/format"
	"heft/loader"
	"heft/tensor"
)

// randomModel writes a file with a tensor of each type, of several chunks and a
// bit. Its floats are finite, and fit every type.
func randomModel(t *testing.T, path string) {
	t.Helper()
	const rows, columns = 3, chunkElements + 8
	r := rand.New(rand.NewPCG(1, 2))
	var entries []format.Entry
	data := map[string][]byte{}
	for d := tensor.DType(1); d.Valid(); d++ {
		e := format.Entry{Name: "w." + d.String(), DType: d, Shape: []int{rows, columns}}
		b := make([]byte, rows*columns*d.Bits()/8)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if castable(d) {
			values := make([]float32, rows*columns)
			for i := range values {
				values[i] = float32(r.NormFloat64())
			}
			if c, err := tensor.AppendCast(nil, d, values, false); err == nil {
				b = c
			}
		}
		entries, data[e.Name] = append(entries, e), b
	}
	h, err := format.NewHeader(map[string]string{"format": "pt"}, entries)
	if err != nil {
		t.Fatal(err)
	}
	err = loader.WriteFile(path, h, func(name string) (io.Reader, error) { return bytes.NewReader(data[name]), nil })
	if err != nil {
		t.Fatal(err)
	}
}

// runRepack runs the verb and returns what it says.
func runRepack(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var said bytes.Buffer
	c := &cli{out: bufio.NewWriter(io.Discard), err: &said}
	v := new(repack)
	f := c.flagSet(&verb{name: "repack"}, v)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	err := v.run(c, f.Args())
	return said.String(), err
}

// read returns all tensors of a model.
func readModel(t *testing.T, path string) map[string]tensor.Tensor {
	t.Helper()
	m, err := loader.Open(path, loader.WithBackend(loader.BackendRead))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	all := map[string]tensor.Tensor{}
	for x, err := range m.All() {
		if err != nil {
			t.Fatal(err)
		}
		all[x.Name()] = x
	}
	return all
}

// Every type, to every type that there is to cast to: each tensor is what
// converting it whole would make of it, or stays.
func TestRepackCast(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "src.safetensors")
	randomModel(t, src)
	before := readModel(t, src)
	for _, to := range []tensor.DType{0, tensor.F32, tensor.BF16, tensor.F16, tensor.F8E4M3, tensor.F8E5M2} {
		dst := filepath.Join(dir, to.String()+".safetensors")
		args := []string{"-o", dst, src}
		if to != 0 {
			args = append(args, "--cast", to.String(), "--saturate") // of FNUZ, a few are larger than F8_E4M3 can be
		}
		if _, err := runRepack(t, args...); err != nil {
			t.Fatal(err)
		}
		after := readModel(t, dst)
		if len(after) != len(before) {
			t.Fatalf("%v: %d tensors of %d", to, len(after), len(before))
		}
		for name, x := range before {
			d, want := x.DType(), x.Bytes()
			if to != 0 && castable(d) && d != to {
				values, err := tensor.AppendFloat32(nil, x)
				if err != nil {
					t.Fatal(err)
				}
				if want, err = tensor.AppendCast(nil, to, values, true); err != nil {
					t.Fatal(err)
				}
				d = to
			}
			if got := after[name]; got.DType() != d || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%v: %s is %v, and is not what %v becomes", to, name, got.DType(), x.DType())
			}
		}
	}
	plain, err := os.ReadFile(filepath.Join(dir, "DType(0).safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if original, err := os.ReadFile(src); err != nil || !bytes.Equal(plain, original) {
		t.Errorf("unchanged, the file has other bytes, %v", err)
	}
}

func TestRepackOverflow(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src.safetensors"), filepath.Join(dir, "dst")
	values := make([]float32, 3*chunkElements)
	const at = 2*chunkElements + 17
	values[at] = 70_000
	data, err := tensor.AppendCast(nil, tensor.F32, values, false)
	if err != nil {
		t.Fatal(err)
	}
	h, err := format.NewHeader(nil, []format.Entry{{Name: "w", DType: tensor.F32, Shape: []int{len(values)}}})
	if err != nil {
		t.Fatal(err)
	}
	open := func(string) (io.Reader, error) { return bytes.NewReader(data), nil }
	if err := loader.WriteFile(src, h, open); err != nil {
		t.Fatal(err)
	}
	_, err = runRepack(t, "--cast", "F16", "-o", dst, src)
	var f *failure
	want := `tensor "w": value too large for F16: element 262161 is 70000`
	if !errors.Is(err, tensor.ErrOverflow) || !strings.Contains(err.Error(), want) || !errors.As(err, &f) || !strings.Contains(f.hint, "--saturate") {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := os.Stat(dst); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("DST: %v", err)
	}
	if _, err := runRepack(t, "--cast", "F16", "--saturate", "-o", dst, src); err != nil {
		t.Fatal(err)
	}
	got, err := tensor.AppendFloat32(nil, readModel(t, dst)["w"])
	if err != nil || got[at] != 65504 {
		t.Errorf("saturated: %v, %v", got[at], err)
	}
	_, err = runRepack(t, "--cast", "F16", "--shard-size", "1M", "-o", dst+"s", src)
	if !errors.Is(err, tensor.ErrOverflow) {
		t.Error(err)
	}
	if _, err := os.Stat(dst + "s"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory of shards that failed: %v", err)
	}
}

// A conversion that ends early gives back what it has, and leaves nobody behind.
func TestConversionCloses(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src.safetensors")
	randomModel(t, src)
	model, err := loader.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	ctx, cancel := context.WithCancel(context.Background())
	m := &mover{ctx: ctx, model: model, free: newScratch()}
	s := source{cast: tensor.BF16}
	s.Name, s.DType, s.params = "w.F32", tensor.F32, 3*(chunkElements+8)
	start := func() *conversion {
		section, err := model.Section(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		return m.convert(section, s)
	}
	for _, n := range []int{0, 1, 2*chunkElements - 1, 2*chunkElements + 1, 6 * chunkElements} {
		c := start()
		if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if len(m.free) != cap(m.free) {
			t.Errorf("after %d bytes, %d of %d scratches are free", n, len(m.free), cap(m.free))
		}
	}
	c := start()
	cancel()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	c.Close()
	if len(m.free) != cap(m.free) {
		t.Errorf("canceled, %d of %d scratches are free", len(m.free), cap(m.free))
	}
}

// Whatever files a real model is put into, its tensors stay what they are, and
// the file that is merged again is the one there was. HEFT_MODEL is a
// safetensors file.
func TestRepackRealModels(t *testing.T) {
	models := []string{"../../testdata/digits"}
	if path := os.Getenv("HEFT_MODEL"); path != "" {
		models = append(models, path)
	}
	for _, src := range models {
		dir := t.TempDir()
		in := func(name string) string { return filepath.Join(dir, name) }
		mustRepack(t, "-o", in("merged"), src)
		mustRepack(t, "-o", in("again"), in("merged"))
		mustRepack(t, "-o", in("aligned"), "--align", "4K", in("merged"))
		mustRepack(t, "-o", in("shards"), "--shard-size", "20K", in("merged"))
		mustRepack(t, "-o", in("from shards"), in("shards"))
		mustRepack(t, "-o", in("wide"), "--cast", "F32", in("merged"))
		want := readModel(t, src)
		for _, name := range []string{"merged", "aligned", "shards"} {
			got := readModel(t, in(name))
			if len(got) != len(want) {
				t.Errorf("%s, %s: %d tensors, want %d", src, name, len(got), len(want))
			}
			for tensor, x := range want {
				y := got[tensor]
				if y.DType() != x.DType() || !slices.Equal(y.Shape(), x.Shape()) || !bytes.Equal(y.Bytes(), x.Bytes()) {
					t.Errorf("%s, %s: %q is other than it was", src, name, tensor)
				}
			}
		}
		for name, x := range readModel(t, in("wide")) {
			before, err1 := tensor.AppendFloat32(nil, want[name])
			after, err2 := tensor.AppendFloat32(nil, x)
			if err1 != nil || err2 != nil || !slices.EqualFunc(before, after, sameBits) {
				t.Errorf("%s: %q has other values in %v, %v, %v", src, name, x.DType(), err1, err2)
			}
		}
		merged, err := os.ReadFile(in("merged"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"again", "from shards"} {
			if b, err := os.ReadFile(in(name)); err != nil || !bytes.Equal(b, merged) {
				t.Errorf("%s: %s has other bytes, %v", src, name, err)
			}
		}
	}
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

// However large a tensor is, little memory goes to it.
func TestRepackMemory(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src.safetensors"), filepath.Join(dir, "dst.safetensors")
	h, err := format.NewHeader(nil, []format.Entry{{Name: "w", DType: tensor.F32, Shape: []int{24 << 20}}})
	if err != nil {
		t.Fatal(err)
	}
	head, err := h.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(src, head, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(src, h.Tensors[0].End); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"--cast", "BF16"}, {"--cast", "F8_E5M2", "--shard-size", "1K"}} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		mustRepack(t, append(args, "-o", dst, src)...)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 24<<20 {
			t.Errorf("%v: %d bytes in memory for %d", args, n, h.Tensors[0].Size())
		}
		if err := os.RemoveAll(dst); err != nil {
			t.Fatal(err)
		}
	}
}

// What is read must be what was opened.
func TestRepackChanged(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src.safetensors")
	randomModel(t, src)
	model, err := loader.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	if err := os.Truncate(src, 1<<20); err != nil {
		t.Fatal(err)
	}
	m := &mover{ctx: context.Background(), model: model, free: newScratch()}
	for name, d := range map[string]tensor.DType{"w.BOOL": tensor.U8, "w.F32": tensor.F32, "w.F64": tensor.F32} {
		s := source{cast: tensor.BF16}
		s.Name, s.DType, s.params = name, d, 8
		section, err := model.Section(name)
		if err != nil {
			t.Fatal(err)
		}
		c := m.convert(section, s)
		var fault *loader.FaultError
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, loader.ErrChanged) && !errors.As(err, &fault) {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
}

func TestCastFlag(t *testing.T) {
	for name, want := range map[string]tensor.DType{"bf16": tensor.BF16, "F8_E4M3": tensor.F8E4M3, "F32": tensor.F32} {
		var f castFlag
		if err := f.Set(name); err != nil || tensor.DType(f) != want {
			t.Errorf("%s: %v, %v", name, f.String(), err)
		}
	}
	for _, name := range []string{"", "F64", "I8", "float32", "BF16,F16"} {
		var f castFlag
		if err := f.Set(name); err == nil {
			t.Errorf("%s is taken for %v", name, f.String())
		}
	}
}

// A renaming takes whole names, and modules.
func TestRenaming(t *testing.T) {
	rules, err := parseRenames([]string{"a.b=x", "m.=", "h.0.=h.1.", "h.=g."})
	if err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]string{
		"a.b": "x", "a.bc": "a.bc", "a.b.c": "a.b.c", "m.w": "w", "m": "m", "h.0.w": "h.1.w", "h.1.w": "g.1.w", "mh.0.w": "mh.0.w",
	} {
		if got := rules.apply(old); got != want {
			t.Errorf("%q becomes %q, want %q", old, got, want)
		}
	}
	if err := rules.unused(nil); err != nil {
		t.Error(err)
	}
}
