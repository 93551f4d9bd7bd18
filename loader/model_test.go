package loader

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"heft/tensor"
)

func TestNotFound(t *testing.T) {
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 1}))
	m := mustOpen(t, path)
	_, err := m.Tensor("b\x1b[31m")
	checkPathError(t, err, "tensor", path, `"b\x1b[31m": no such tensor`)
	if _, rerr := m.Region("a", "b"); !errors.Is(err, ErrNotFound) || !errors.Is(rerr, ErrNotFound) {
		t.Errorf("%v, %v: do not match ErrNotFound", err, rerr)
	}
}

func TestTensorAllocatesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "1.safetensors", encode(nil, tens{"a", 100}, tens{"b", 5}))
	write(t, dir, "2.safetensors", encode(nil, tens{"c", 100}))
	index := writeIndex(t, dir, "model.safetensors.index.json", "a", "1.safetensors", "c", "2.safetensors")
	for _, path := range []string{filepath.Join(dir, "1.safetensors"), index} {
		bothBackends(t, func(t *testing.T, backend Option) {
			m := mustOpen(t, path, backend)
			if _, err := m.Tensor("a"); err != nil { // the Read backend reads once
				t.Fatal(err)
			}
			var x tensor.Tensor
			if n := testing.AllocsPerRun(100, func() { x, _ = m.Tensor("a") }); n != 0 || x.Len() != 100 {
				t.Errorf("%s: %v allocations for %d elements", path, n, x.Len())
			}
		})
	}
}

func TestClosed(t *testing.T) {
	path := write(t, t.TempDir(), "m.safetensors", encode(map[string]string{"a": "b"}, tens{"a", 1}, tens{"b", 2}))
	bothBackends(t, func(t *testing.T, backend Option) {
		m := mustOpen(t, path, backend)
		r, err := m.Region("a")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := m.files[0].f.Stat(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("the file is still open: %v", err)
		}
		all := func(seq func(func(tensor.Tensor, error) bool)) (err error) {
			n := 0
			for _, err = range seq {
				n++
			}
			if n != 1 {
				t.Errorf("a closed model yields %d times", n)
			}
			return err
		}
		second := func(_ any, err error) error { return err }
		for name, err := range map[string]error{
			"Tensor":          second(m.Tensor("a")),
			"Tensor, unknown": second(m.Tensor("z")),
			"All":             all(m.All()),
			"Region":          second(m.Region("a")),
			"Region, empty":   second(m.Region()),
			"Module":          second(m.Module("")),
			"Guard":           m.Guard(func() error { t.Error("Guard calls"); return nil }),
			"Changed":         m.Changed(),
			"Sync":            m.Sync(),
			"Region.All":      all(r.All()),
			"Prefetch":        r.Prefetch(context.Background()),
			"Resident":        second(r.Resident()),
			"Evict":           second(r.Evict()),
			"Advise":          r.Advise(Normal),
		} {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s: %v, want fs.ErrClosed", name, err)
			}
			var pe *fs.PathError
			if !errors.As(err, &pe) || pe.Path != path {
				t.Errorf("%s: %v does not name the model", name, err)
			}
		}
		if len(namesOf(m)) != 2 || len(m.Metadata()) != 1 || r.Size() != 1 {
			t.Error("what touches no data does not answer after Close")
		}
	})
}

func TestChanged(t *testing.T) {
	old := time.Now().Add(-time.Hour)
	for _, test := range []struct {
		name   string
		change func(path string) error
		words  string
	}{
		{"truncated", func(p string) error { return os.Truncate(p, 90) }, "and is 90"},
		{"grown", func(p string) error { return os.Truncate(p, 9000) }, "and is 9000"},
		{"modified", func(p string) error {
			f, err := os.OpenFile(p, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("x"), 80)
			return err
		}, "modified"},
		{"modified, time put back", func(p string) error {
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			content[len(content)-1]++
			return errors.Join(os.WriteFile(p, content, 0), os.Chtimes(p, old, old))
		}, "status"},
		{"truncated and grown again, time put back", func(p string) error {
			fi, err := os.Stat(p)
			if err != nil {
				return err
			}
			return errors.Join(os.Truncate(p, 90), os.Truncate(p, fi.Size()), os.Chtimes(p, old, old))
		}, "status"},
		{"replaced", func(p string) error {
			return errors.Join(os.WriteFile(p+"2", encode(nil, tens{"a", 100}), 0o644), os.Rename(p+"2", p))
		}, "status"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 100}))
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			m := mustOpen(t, path)
			if err := m.Changed(); err != nil {
				t.Fatal(err)
			}
			tick := 20 * time.Millisecond // of the clock that stamps files
			if emulated() {
				tick = 1100 * time.Millisecond // qemu-user drops fractions of seconds
			}
			time.Sleep(tick)
			if err := test.change(path); err != nil {
				t.Fatal(err)
			}
			err := m.Changed()
			if !errors.Is(err, ErrChanged) {
				t.Fatalf("got %v", err)
			}
			checkPathError(t, err, "stat", path, test.words)
		})
	}
}
