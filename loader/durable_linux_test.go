package loader

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What was written to views and synced is there after a power cut: the disk's
// content is copied while it is mounted, and the copy holds it. The control
// shows that without Sync it would not.
func TestDurableSync(t *testing.T) {
	skipEmulated(t)
	for _, test := range []struct {
		system, options  string
		trials, controls int
	}{
		{"ext4", "loop", 80, 8},
		{"xfs", "loop,nouuid", 20, 2},
	} {
		t.Run(test.system, func(t *testing.T) {
			image, dir := diskImage(t, test.system)
			ts := []tens{{"a", 5000}, {"b", 1 << 20}, {"c", 70_000}, {"sparse", 1 << 20}}
			content := encode(nil, ts...)
			path := write(t, dir, "m.safetensors", content[:len(content)-1<<20])
			if err := os.Truncate(path, int64(len(content))); err != nil { // the last tensor is a hole
				t.Fatal(err)
			}
			m, err := Open(path, WithMode(ReadWrite))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			r := rand.New(rand.NewPCG(6, 6))
			// scribble writes to a tensor here and there.
			scribble := func(name string) {
				b := bytesOf(t, m, name)
				for range 1 + r.IntN(20) {
					lo := r.IntN(len(b))
					for i := lo; i < min(len(b), lo+r.IntN(10_000)); i++ {
						b[i] = byte(r.Uint32())
					}
				}
			}
			// afterCut returns what the disk would hold had the power gone now.
			afterCut := func(t *testing.T) []byte {
				cut := filepath.Join(t.TempDir(), "cut")
				if out, err := exec.Command("cp", "--sparse=always", image, cut).CombinedOutput(); err != nil {
					t.Fatalf("%v %s", err, out)
				}
				after, err := os.ReadFile(filepath.Join(mountImage(t, cut, test.options), "m.safetensors"))
				if err != nil {
					t.Fatal(err)
				}
				return after
			}
			now := func() []byte { return m.files[0].data }
			for i := range test.trials {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					name := ts[r.IntN(len(ts))].name
					scribble(name)
					err := m.Sync
					if i%2 == 1 {
						err = mustRegion(t, m, name).Sync
					}
					if err := err(); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(afterCut(t), now()) {
						t.Error("what was synced is lost")
					}
				})
			}
			lost := 0
			for i := range test.controls {
				t.Run(fmt.Sprint("control ", i), func(t *testing.T) {
					scribble("b")
					if !bytes.Equal(afterCut(t), now()) {
						lost++
					}
					if err := m.Sync(); err != nil {
						t.Fatal(err)
					}
				})
			}
			if lost == 0 {
				t.Error("nothing is lost without Sync: this test shows nothing")
			}
		})
	}
}

func init() {
	children["write until the disk is full"] = func(path string) {
		m, err := Open(path, WithMode(ReadWrite))
		must(err)
		defer m.Close()
		a, err := m.Tensor("a")
		must(err)
		written := 0
		err = m.Guard(func() error {
			for b := a.Bytes(); written < len(b); written += 4096 {
				b[written] = 'x'
			}
			return nil
		})
		var fault *FaultError
		fmt.Println(errors.As(err, &fault), err)
		fmt.Println(fault.Offset-m.files[0].header.Tensors[0].Begin-int64(written), m.Sync(), m.Close())
		f, err := os.Open(path)
		must(err)
		b := make([]byte, 1)
		for i := 0; i < written; i += 4096 {
			if _, err := f.ReadAt(b, m.files[0].header.Tensors[0].Begin+int64(i)); err != nil || b[0] != 'x' {
				fmt.Println("lost:", i, err)
				return
			}
		}
		fmt.Println("kept")
	}
}

// Where a disk has no room for a page written to, that is an error with its
// place, and what was written before is there.
func TestDurableDiskFull(t *testing.T) {
	skipEmulated(t)
	const size = 500 << 20 // more than any of the disks
	for _, system := range []string{"ext4", "xfs", "tmpfs"} {
		t.Run(system, func(t *testing.T) {
			var dir string
			if system == "tmpfs" {
				dir = mounted(t, "tmpfs", "tmpfs", "size=4m")
			} else {
				_, dir = diskImage(t, system)
				fill(t, dir, 8<<20)
			}
			path := sparseIn(t, dir, size)
			out, err := runChild(t, "write until the disk is full", path)
			first, rest, _ := strings.Cut(out, "\n")
			if err != nil || !strings.HasPrefix(first, `true read `+path+`: tensor "a": offset `) || rest != "0 <nil> <nil>\nkept\n" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// fill leaves about so many bytes free on a file system.
func fill(t testing.TB, dir string, free uint64) {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(s.Bavail*uint64(s.Bsize)-free)); err != nil {
		t.Fatal(err)
	}
}
