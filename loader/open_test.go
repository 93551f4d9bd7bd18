package loader

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"heft/format"
)

func TestOpenFile(t *testing.T) {
	ts := []tens{{"a", 100}, {"empty", 0}, {"b.weight", 70000}, {"c", 1}, {"none", 0}}
	path := write(t, t.TempDir(), "m.safetensors", encode(map[string]string{"format": "pt"}, ts...))
	bothBackends(t, func(t *testing.T, backend Option) {
		m := mustOpen(t, path, backend)
		var all []string
		for x, err := range m.All() {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, x.Name())
		}
		if want := []string{"a", "empty", "b.weight", "c", "none"}; !slices.Equal(all, want) || !slices.Equal(namesOf(m), want) {
			t.Errorf("All yields %q, Entries %q, want %q", all, namesOf(m), want)
		}
		for _, want := range ts {
			checkTensor(t, m, want)
		}
		for p, h := range m.Files() {
			if p != path || len(h.Tensors) != len(ts) {
				t.Errorf("Files yields %s with %d tensors", p, len(h.Tensors))
			}
		}
		if md := m.Metadata(); len(md) != 1 || md["format"] != "pt" {
			t.Errorf("Metadata is %v", md)
		}
		if err := m.Changed(); err != nil {
			t.Error(err)
		}
	})
}

func TestOpenWithoutData(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"empty.safetensors":    encode(nil),
		"metadata.safetensors": encode(map[string]string{"a": "b"}),
		"shape0.safetensors":   encode(nil, tens{"x", 0}),
	} {
		m := mustOpen(t, write(t, dir, name, content))
		err := m.Guard(func() error {
			for _, err := range m.All() {
				if err != nil {
					return err
				}
			}
			return m.Changed()
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if m.files[0].data != nil {
			t.Errorf("%s: is mapped", name)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	good := encode(nil, tens{"a", 1000})
	for _, test := range []struct {
		name    string
		content []byte // nil: there is no such file
		kind    error
		words   string
		opts    []Option
	}{
		{"missing.safetensors", nil, fs.ErrNotExist, "", nil},
		{"missing.index.json", nil, fs.ErrNotExist, "", nil},
		{"zero.safetensors", []byte{}, format.ErrHeaderTooSmall, "", nil},
		{"cut.safetensors", good[:len(good)-7], format.ErrTruncated, "7", nil},
		{"long.safetensors", append(good[:len(good):len(good)], 1, 2), format.ErrTrailing, "2", nil},
		{"text.safetensors", []byte("version https://git-lfs.github.com/spec/v1\n"), nil, "header", nil},
		{"bad.index.json", []byte("{}"), nil, "weight_map", nil},
		{"mode.safetensors", good, errors.ErrUnsupported, "Mode(9)", []Option{WithMode(9)}},
		{"backend.safetensors", good, errors.ErrUnsupported, "Backend(9)", []Option{WithBackend(9)}},
		{"write.safetensors", good, errors.ErrUnsupported, "ReadWrite with BackendRead", []Option{WithMode(ReadWrite), WithBackend(BackendRead)}},
		{"both.safetensors", good, errors.ErrUnsupported, "CopyOnWrite with BackendRead", []Option{WithMode(CopyOnWrite), WithBackend(BackendRead)}},
	} {
		path := filepath.Join(dir, test.name)
		if test.content != nil {
			write(t, dir, test.name, test.content)
		}
		m, err := Open(path, test.opts...)
		if err == nil {
			m.Close()
			t.Errorf("%s: opens", test.name)
			continue
		}
		checkPathError(t, err, "open", path, test.words)
		if test.kind != nil && !errors.Is(err, test.kind) {
			t.Errorf("%v: does not match %v", err, test.kind)
		}
	}
	if _, err := OpenFiles(nil); err == nil {
		t.Error("OpenFiles opens no files")
	}
}

func TestOpenDirectory(t *testing.T) {
	const index, shard = ".index.json", ".safetensors"
	for _, test := range []struct {
		files string // of the directory; each file holds a tensor of its name, an index those of the file before it
		want  string // the tensors of the model
		err   string
	}{
		{"model.safetensors z.safetensors model.safetensors.index.json", "model.safetensors", ""},
		{"a.safetensors model.safetensors.index.json z.safetensors", "a.safetensors", ""},
		{"a.safetensors diffusion_pytorch_model.safetensors.index.json z.safetensors", "a.safetensors", ""},
		{"a.safetensors adapter_model.safetensors.index.json z.safetensors", "a.safetensors", ""},
		{"a.safetensors model.fp16.safetensors.index.json z.safetensors", "a.safetensors", ""},
		{"a.safetensors a.safetensors.index.json z.safetensors model.safetensors.index.json", "z.safetensors", ""},
		{"a.safetensors a.safetensors.index.json z.safetensors z.safetensors.index.json", "", "a.safetensors.index.json, z.safetensors.index.json"},
		{"b.safetensors a.safetensors ._c.safetensors .d.safetensors.heft-1 notes.txt other.json", "a.safetensors b.safetensors", ""},
		{"only.safetensors", "only.safetensors", ""},
		{"notes.txt", "", "no .safetensors files"},
		{"", "", "no .safetensors files"},
	} {
		dir := t.TempDir()
		last := ""
		for _, name := range strings.Fields(test.files) {
			if strings.HasSuffix(name, index) {
				writeIndex(t, dir, name, last, last)
				continue
			}
			write(t, dir, name, encode(nil, tens{name, 10}))
			last = name
		}
		if err := os.Mkdir(filepath.Join(dir, "sub"+shard), 0o755); err != nil {
			t.Fatal(err)
		}
		m, err := Open(dir)
		if err != nil {
			if test.err == "" {
				t.Errorf("%s: %v", test.files, err)
				continue
			}
			checkPathError(t, err, "open", dir, test.err)
			continue
		}
		if got := strings.Join(namesOf(m), " "); got != test.want || test.err != "" {
			t.Errorf("%s: got %s, want %s", test.files, got, test.want)
		}
		for _, name := range namesOf(m) {
			checkTensor(t, m, tens{name, 10})
		}
		m.Close()
	}
}

// A link to nowhere in a hub cache is a download that did not finish.
func TestOpenDirectoryDanglingLink(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "other.safetensors", encode(nil, tens{"x", 1}))
	path := filepath.Join(dir, "model.safetensors")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), path); err != nil {
		t.Skip(err)
	}
	_, err := Open(dir)
	checkPathError(t, err, "open", path, "")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestOpenFiles(t *testing.T) {
	dir := t.TempDir()
	z := write(t, dir, "z.safetensors", encode(nil, tens{"z", 10}))
	a := write(t, dir, "a.safetensors", encode(nil, tens{"a", 10}))
	twice := write(t, dir, "twice.safetensors", encode(nil, tens{"y", 1}, tens{"a", 10}))
	m, err := OpenFiles([]string{z, a})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := namesOf(m); !slices.Equal(got, []string{"z", "a"}) {
		t.Errorf("tensors are %q", got)
	}
	_, err = OpenFiles([]string{z, a, twice})
	checkPathError(t, err, "open", twice, fmt.Sprintf("tensor %q is also in %s", "a", a))
}

// The quirks of sharded checkpoints that are met in the wild.
func TestShards(t *testing.T) {
	const index = "model.safetensors.index.json"
	shards := map[string][]tens{
		"s1.safetensors": {{"a", 10}, {"both", 10}},
		"s2.safetensors": {{"b", 20}, {"both", 20}, {"extra", 5}},
	}
	for _, test := range []struct {
		name  string
		pairs []string
		want  []tens // in order
		lacks []string
		file  string // of the error
		err   string
		kind  error
	}{
		{name: "as it should be", pairs: []string{"b", "s2.safetensors", "a", "s1.safetensors"},
			want: []tens{{"a", 10}, {"b", 20}}},
		{name: "tensor in two shards: the index decides", pairs: []string{"a", "s1.safetensors", "both", "s2.safetensors"},
			want: []tens{{"a", 10}, {"both", 20}}},
		{name: "tensor that the index does not name", pairs: []string{"b", "s2.safetensors"},
			want: []tens{{"b", 20}}, lacks: []string{"extra", "both", "a"}},
		{name: "no tensors", want: nil, lacks: []string{"a"}},
		{name: "shard missing", pairs: []string{"a", "s1.safetensors", "x", "s3.safetensors", "y", "s4.safetensors"},
			file: "s3.safetensors", err: "2 of the 3 shards that " + index + " names are missing", kind: fs.ErrNotExist},
		{name: "shard lacks tensor", pairs: []string{"a", "s1.safetensors", "extra", "s1.safetensors"},
			file: "s1.safetensors", err: `tensor "extra": no such tensor, though ` + index + ` places it here`, kind: ErrNotFound},
		{name: "shard broken before one that is missing", pairs: []string{"a", "s1.safetensors", "x", "cut.safetensors", "y", "s4.safetensors"},
			file: "cut.safetensors", kind: format.ErrTruncated},
		{name: "shard cut", pairs: []string{"a", "s1.safetensors", "x", "cut.safetensors"},
			file: "cut.safetensors", kind: format.ErrTruncated},
		{name: "shard elsewhere", pairs: []string{"a", "../outside.safetensors"},
			file: index, err: "../outside.safetensors", kind: format.ErrShardName},
		{name: "absolute shard", pairs: []string{"a", "/etc/passwd.safetensors"},
			file: index, kind: format.ErrShardName},
		{name: "shard on a drive", pairs: []string{"a", "c:x.safetensors"},
			file: index, kind: format.ErrShardName},
		{name: "shard that is no safetensors", pairs: []string{"a", "passwd"},
			file: index, kind: format.ErrShardName},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "model")
			os.Mkdir(dir, 0o755)
			for name, ts := range shards {
				write(t, dir, name, encode(nil, ts...))
			}
			write(t, dir, "cut.safetensors", bytes.TrimSuffix(encode(nil, tens{"x", 1}), []byte{pattern("x", 0)}))
			write(t, dir, "../outside.safetensors", encode(nil, tens{"a", 10}))
			path := writeIndex(t, dir, index, test.pairs...)
			m, err := Open(path)
			if test.file != "" {
				if err == nil {
					m.Close()
					t.Fatal("opens")
				}
				checkPathError(t, err, "open", filepath.Join(dir, test.file), test.err)
				if !errors.Is(err, test.kind) {
					t.Errorf("%v: does not match %v", err, test.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			var names []string
			for _, want := range test.want {
				checkTensor(t, m, want)
				names = append(names, want.name)
			}
			if got := namesOf(m); !slices.Equal(got, names) {
				t.Errorf("Entries yields %q, want %q", got, names)
			}
			all, err := m.Module("")
			if err != nil || len(all.tensors) != len(names) {
				t.Errorf("the whole model is %d tensors, %v; want %d", len(all.tensors), err, len(names))
			}
			for _, name := range test.lacks {
				if _, err := m.Tensor(name); !errors.Is(err, ErrNotFound) {
					t.Errorf("Tensor(%q): %v", name, err)
				}
			}
		})
	}
}

// An index that is replaced while its shards are opened is found out. (That
// nobody then sees shards of two models is held with the command that replaces them.)
func TestOpenUnreplaced(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "model.safetensors.index.json", []byte("{}"))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unreplaced(path, f); err != nil {
		t.Error(err)
	}
	if runtime.GOOS == "windows" {
		return // which does not replace what is open
	}
	if err := os.Rename(write(t, dir, "next", []byte("{}")), path); err != nil {
		t.Fatal(err)
	}
	if err := unreplaced(path, f); !errors.Is(err, ErrChanged) {
		t.Errorf("replaced: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := unreplaced(path, f); !errors.Is(err, ErrChanged) {
		t.Errorf("removed: %v", err)
	}
}

// Hub caches are links from the names of a snapshot to blobs.
func TestOpenSymlinks(t *testing.T) {
	dir := t.TempDir()
	blobs, snapshot := filepath.Join(dir, "blobs"), filepath.Join(dir, "snapshot")
	os.Mkdir(blobs, 0o755)
	os.Mkdir(snapshot, 0o755)
	write(t, blobs, "1234", encode(nil, tens{"a", 10}))
	writeIndex(t, blobs, "5678", "a", "model-1.safetensors")
	for name, blob := range map[string]string{"model-1.safetensors": "1234", "model.safetensors.index.json": "5678"} {
		if err := os.Symlink(filepath.Join("..", "blobs", blob), filepath.Join(snapshot, name)); err != nil {
			t.Skip(err)
		}
	}
	checkTensor(t, mustOpen(t, snapshot), tens{"a", 10})
	checkTensor(t, mustOpen(t, filepath.Join(snapshot, "model-1.safetensors")), tens{"a", 10})
}

func TestMetadata(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		files []map[string]string
		want  map[string]string
	}{
		{[]map[string]string{nil}, nil},
		{[]map[string]string{{}}, map[string]string{}},
		{[]map[string]string{{"a": "1"}, {"a": "1", "b": "2"}}, map[string]string{"a": "1"}},
		{[]map[string]string{{"a": "1", "b": "2"}, {"a": "2", "b": "2"}, {"b": "2"}}, map[string]string{"b": "2"}},
		{[]map[string]string{{"a": "1"}, nil}, nil},
		{[]map[string]string{nil, {"a": "1"}}, nil},
	} {
		var paths []string
		for i, md := range test.files {
			paths = append(paths, write(t, dir, fmt.Sprint(i), encode(md, tens{fmt.Sprint(i), 1})))
		}
		m, err := OpenFiles(paths)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Metadata(); fmt.Sprint(got) != fmt.Sprint(test.want) || (got == nil) != (test.want == nil) {
			t.Errorf("%v: got %v, want %v", test.files, got, test.want)
		}
		clear(m.Metadata()) // the caller's
		if got := m.Metadata(); len(got) != len(test.want) {
			t.Errorf("%v: the caller's map is the model's", test.files)
		}
		m.Close()
	}
}
