package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"heft/format"
	"heft/loader"
	"heft/tensor"
)

const versionTensors = 6

// writeVersion writes a model of which all bytes are the version's. Each of its
// tensors has so many.
func writeVersion(t *testing.T, path string, version byte, size int) {
	t.Helper()
	var entries []format.Entry
	for i := range versionTensors {
		entries = append(entries, format.Entry{Name: fmt.Sprintf("t.%d", i), DType: tensor.U8, Shape: []int{size}})
	}
	h, err := format.NewHeader(nil, entries)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte{version}, size)
	if err := loader.WriteFile(path, h, func(string) (io.Reader, error) { return bytes.NewReader(data), nil }); err != nil {
		t.Fatal(err)
	}
}

// versionOf opens a directory and returns the version of the model in it. It
// fails if it is neither whole nor an error.
func versionOf(t *testing.T, dir string) (version byte, err error) {
	t.Helper()
	m, err := loader.Open(dir, loader.WithBackend(loader.BackendRead))
	if err != nil {
		return 0, err
	}
	defer m.Close()
	n := 0
	for x, err := range m.All() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 {
			version = x.Bytes()[0]
		}
		if bytes.Count(x.Bytes(), []byte{version}) != x.Len() {
			t.Errorf("%q is %.4q in a model of version %c", x.Name(), x.Bytes(), version)
		}
	}
	if n != versionTensors {
		t.Errorf("%d tensors of version %c, want %d", n, version, versionTensors)
	}
	return version, nil
}

// After each move that brings a new model in place of an old one, the directory
// has one of them, whole, or is an error, where that cannot be had.
func TestRepackMoves(t *testing.T) {
	top := t.TempDir()
	sources := map[byte]string{}
	for _, version := range []byte("on") {
		sources[version] = filepath.Join(top, string(version)+".safetensors")
		writeVersion(t, sources[version], version, 4)
	}
	kinds := map[string]string{"single": "24", "two": "12", "three": "8"}
	for _, old := range []string{"none", "single", "two", "three", "single and two", "two without an index", "two beside loose shards"} {
		for name, size := range kinds {
			t.Run(old+" to "+name, func(t *testing.T) {
				dir, stage := t.TempDir(), filepath.Join(t.TempDir(), "stage")
				if err := os.WriteFile(filepath.Join(dir, "config.json"), nil, 0o666); err != nil {
					t.Fatal(err)
				}
				for _, kind := range []string{"single", "two", "three"} {
					if strings.Contains(old, kind) {
						d := filepath.Join(t.TempDir(), kind)
						mustRepack(t, "--shard-size", kinds[kind], "-o", d, sources['o'])
						if err := os.CopyFS(dir, os.DirFS(d)); err != nil {
							t.Fatal(err)
						}
					}
				}
				if strings.Contains(old, "loose") { // as a killed one leaves of three
					for i := range 2 {
						if err := os.WriteFile(filepath.Join(dir, format.ShardName(i, 3)), nil, 0o666); err != nil {
							t.Fatal(err)
						}
					}
				}
				if strings.Contains(old, "without") {
					os.Remove(filepath.Join(dir, format.IndexName))
				}
				v := new(repack)
				if err := v.shardSize.Set(size); err != nil {
					t.Fatal(err)
				}
				p := planOf(t, v, sources['n'])
				mustRepack(t, "--shard-size", size, "-o", stage, sources['n'])
				bare := old == "none" || old == "two without an index"
				same, _, _ := strings.Cut(old, " beside")
				checkMoves(t, p, stage, dir, name != "single" && (bare || same == name))
			})
		}
	}
}

func mustRepack(t *testing.T, args ...string) {
	t.Helper()
	if _, err := runRepack(t, args...); err != nil {
		t.Fatal(err)
	}
}

// planOf returns what v would write from a model.
func planOf(t *testing.T, v *repack, src string) *plan {
	t.Helper()
	l, _, err := open([]string{src})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	p, err := v.plan(l, l.tensors)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func checkMoves(t *testing.T, p *plan, stage, dir string, gap bool) {
	old, err := modelFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := byte('o')
	for i, m := range p.moves(stage, dir, old) {
		if err := os.Rename(m.from, m.to); err != nil {
			t.Fatal(err)
		}
		version, err := versionOf(t, dir)
		switch {
		case err != nil && !gap:
			t.Errorf("move %d, %v: %v", i, m, err)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			t.Errorf("move %d, %v: %v, want what says that a shard is missing", i, m, err)
		case err == nil && seen == 'n' && version == 'o':
			t.Errorf("move %d, %v: the old model is back", i, m)
		case err == nil:
			seen = version
		}
	}
	if version, err := versionOf(t, dir); err != nil || version != 'n' {
		t.Errorf("in the end there is version %c, %v", version, err)
	}
	names, err := modelFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(p.names()))
	if !slices.Equal(names, want) {
		t.Errorf("in the end there are %q, want %q", names, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err != nil {
		t.Error(err)
	}
}

// Whoever opens a model while it is replaced, again and again, by one in files
// of the same names gets one of them or an error.
func TestRepackReaders(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not replace files that are open")
	}
	top := t.TempDir()
	dst := filepath.Join(top, "dst")
	var sources []string
	for _, version := range []byte("on") {
		sources = append(sources, filepath.Join(top, string(version)+".safetensors"))
		writeVersion(t, sources[len(sources)-1], version, 4)
	}
	write := func(i int) error {
		_, err := runRepack(t, "--force", "--shard-size", "8", "-o", dst, sources[i%2])
		return err
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for i := range 100 {
			if err := write(i); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	outcomes := map[string]int{}
	for {
		select {
		case err := <-ended:
			t.Log(outcomes)
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		version, err := versionOf(t, dst)
		switch {
		case errors.Is(err, loader.ErrChanged):
			outcomes["changed"]++
		case errors.Is(err, fs.ErrNotExist):
			outcomes["missing"]++
		case err != nil:
			t.Error(err)
		default:
			outcomes[string(version)]++
		}
	}
}

// Killed at any moment, it leaves one of two models of which no files have the
// same name, and what it leaves besides goes with the next.
func TestRepackKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("directories are not locked there")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	trials, longest := 100, 60*time.Millisecond
	if testing.Short() || emulated() {
		trials, longest = 10, 600*time.Millisecond // qemu-user takes its time to start
	}
	top := t.TempDir()
	dst := filepath.Join(top, "dst")
	args := map[byte][]string{}
	for version, size := range map[byte]string{'o': "1M", 'n': "2M"} {
		src := filepath.Join(top, string(version)+".safetensors")
		writeVersion(t, src, version, 1<<20)
		args[version] = []string{"--force", "--shard-size", size, "-o", dst, src}
	}
	mustRepack(t, args['o']...)
	now, left := byte('o'), 0
	for range trials {
		next := 'o' + 'n' - now
		cmd := exec.Command(exe, append([]string{"repack"}, args[next]...)...)
		cmd.Args[0] = "heft" // as which TestMain then runs it
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(longest))
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := os.Stat(filepath.Join(dst, staging)); err == nil {
			left++
		}
		if now, err = versionOf(t, dst); err != nil || t.Failed() {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d that were killed left something", left, trials)
	if left == 0 && !emulated() {
		t.Error("none was killed at work")
	}
	mustRepack(t, args['n']...)
	var names []string
	entries, err := os.ReadDir(dst)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{format.ShardName(0, 3), format.ShardName(1, 3), format.ShardName(2, 3), format.IndexName}
	if !slices.Equal(names, want) {
		t.Errorf("%q, %v; want %q", names, err, want)
	}
}

// While one is at work, its files stay and another is refused.
func TestStageLocked(t *testing.T) {
	dir := t.TempDir()
	stage, done, err := newStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(stage); err != nil || fi.Mode().Perm() != 0o700 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", fi.Mode(), err) // what is in it may replace what is private
	}
	file := filepath.Join(stage, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := newStage(dir); err == nil || !strings.Contains(err.Error(), "another repack") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	done()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
	if _, done, err = newStage(dir); err != nil {
		t.Fatal(err)
	}
	done()
}

// Shards have the permissions of the model that they replace.
func TestRepackShardsMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no permissions as here")
	}
	top := t.TempDir()
	src, dst := filepath.Join(top, "n.safetensors"), filepath.Join(top, "dst")
	writeVersion(t, src, 'n', 4)
	mustRepack(t, "--shard-size", "12", "-o", dst, src)
	old, err := modelFiles(dst)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range old {
		if err := os.Chmod(filepath.Join(dst, name), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	given := os.Chown(filepath.Join(dst, old[0]), 1234, 2345) == nil // only root may
	for _, size := range []string{"8", "12", "24"} {
		mustRepack(t, "--force", "--shard-size", size, "-o", dst, src)
		names, err := modelFiles(dst)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			fi, err := os.Stat(filepath.Join(dst, name))
			if err != nil || fi.Mode() != 0o640 {
				t.Errorf("%s: %v, %v", name, fi.Mode(), err)
			}
			if s := fmt.Sprintf("%+v", fi.Sys()); given && !strings.Contains(s, "Uid:1234 Gid:2345") {
				t.Errorf("%s: %s", name, s)
			}
		}
	}
}
