package loader

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"heft/format"
)

func TestWriteFileDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("heft-test", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, 0) })
	path := filepath.Join(dir, "m.safetensors")
	old, big := tens{"a", 300_000}, tens{"b", 3 << 20}
	if err := WriteFile(path, header(t, old), opener(old)); err != nil {
		t.Fatal(err)
	}
	m := mustOpen(t, write(t, t.TempDir(), "big.safetensors", encode(nil, big)), WithBackend(BackendRead))
	for name, open := range map[string]func(string) (io.Reader, error){
		"from memory":   opener(big),
		"by a buffer":   slowly([]tens{big}),
		"from a file":   func(name string) (io.Reader, error) { return m.Section(name) },
		"by the header": opener(),
	} {
		h := header(t, big)
		if name == "by the header" {
			var err error
			if h, err = h.Align(4 << 20); err != nil {
				t.Fatal(err)
			}
		}
		err := WriteFile(path, h, open)
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v, want ENOSPC", name, err)
		}
		checkPathError(t, err, "write", path, "no space left")
		checkFile(t, path, old)
		checkFiles(t, dir, "m.safetensors")
	}
}

// diskImage makes a file system in a file and mounts it.
func diskImage(t *testing.T, system string, args ...string) (image, dir string) {
	t.Helper()
	image = filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 320<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs."+system, append(args, image)...).CombinedOutput(); err != nil {
		t.Skipf("mkfs.%s: %v %s", system, err, out)
	}
	return image, mountImage(t, image, "loop")
}

// mountImage mounts a file system that is in a file.
func mountImage(t *testing.T, image, options string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-o", options, image, dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// What WriteFile has written is there after a power cut, and what it replaced
// is there if the power went before. Here the power goes when the disk's
// content is copied while it is mounted.
func TestWriteFilePowerCut(t *testing.T) {
	skipEmulated(t)
	for system, options := range map[string]string{"ext4": "loop", "xfs": "loop,nouuid"} {
		t.Run(system, func(t *testing.T) {
			image, dir := diskImage(t, system)
			afterCut := func() string {
				t.Helper()
				cut := filepath.Join(t.TempDir(), "cut")
				if out, err := exec.Command("cp", "--sparse=always", image, cut).CombinedOutput(); err != nil {
					t.Fatalf("%v %s", err, out)
				}
				return mountImage(t, cut, options)
			}
			old, next := tens{"a", 1 << 20}, tens{"b", 20 << 20}
			path := filepath.Join(dir, "m.safetensors")
			if err := WriteFile(path, header(t, old), opener(old)); err != nil {
				t.Fatal(err)
			}
			checkFile(t, filepath.Join(afterCut(), "m.safetensors"), old)
			if err := WriteFile(path, header(t, next), opener(next)); err != nil {
				t.Fatal(err)
			}
			checkFile(t, filepath.Join(afterCut(), "m.safetensors"), next)

			// The control: without syncing, the power cut must be seen to lose something.
			content := encode(nil, next)
			lost := write(t, dir, "control.tmp", content)
			if err := os.Rename(lost, filepath.Join(dir, "control")); err != nil {
				t.Fatal(err)
			}
			after := afterCut()
			if b, err := os.ReadFile(filepath.Join(after, "control")); err == nil && bytes.Equal(b, content) {
				t.Error("a file that was not synced survived: this test shows nothing")
			}
			checkFile(t, filepath.Join(after, "m.safetensors"), next)
		})
	}
}

// Where blocks can be shared and lie alike, they are; else the kernel copies.
func TestSectionShared(t *testing.T) {
	skipEmulated(t)
	for _, system := range []string{"btrfs", "xfs"} {
		t.Run(system, func(t *testing.T) {
			_, dir := diskImage(t, system)
			ts := []tens{{"a", 1 << 20}, {"b", 3<<20 + 17}, {"c", 5000}}
			src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
			if err := WriteFile(src, header(t, ts...), opener(ts...)); err != nil {
				t.Fatal(err)
			}
			m := mustOpen(t, src, WithBackend(BackendRead))
			for _, c := range []struct {
				align int64
				alike bool
			}{{1, true}, {512, false}} {
				h, err := header(t, ts...).Align(c.align)
				if err != nil {
					t.Fatal(err)
				}
				var sections []*Section
				err = WriteFile(dst, h, func(name string) (io.Reader, error) {
					s, err := m.Section(name)
					sections = append(sections, s)
					return s, err
				})
				if err != nil {
					t.Fatal(err)
				}
				checkFile(t, dst, ts...)
				for _, s := range sections {
					const block = 4096
					least := max(0, s.Size()-2*block) // all but what lies in blocks with something else
					if !c.alike {
						least = 0
					}
					moved := s.Size() // by the kernel
					if moved < copyLeast {
						least, moved = 0, 0
					}
					if s.Shared < least || (s.Shared > 0) != (least > 0) || s.Shared%block != 0 || s.Shared+s.Copied != moved {
						t.Errorf("data at %d: of %d bytes, %d shared and %d copied; want at least %d shared", h.DataOffset, s.Size(), s.Shared, s.Copied, least)
					}
				}
			}
		})
	}
}

// One tensor whose blocks lie otherwise in the new file does not keep the next
// from being shared.
func TestSectionSharedAfter(t *testing.T) {
	skipEmulated(t)
	_, dir := diskImage(t, "btrfs")
	const block = 4096
	aligned := func(ts ...tens) *format.Header {
		h, err := header(t, ts...).Align(block)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	a, b, c, d := tens{"a", 512}, tens{"b", 1 << 20}, tens{"c", block - 512}, tens{"d", 1 << 20}
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	if err := WriteFile(src, aligned(a, b, c, d), opener(a, b, c, d)); err != nil {
		t.Fatal(err)
	}
	m := mustOpen(t, src, WithBackend(BackendRead))
	sections := map[string]*Section{}
	err := WriteFile(dst, aligned(b, d), func(name string) (io.Reader, error) {
		s, err := m.Section(name)
		sections[name] = s
		return s, err
	})
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, dst, b, d)
	if n, k := sections["b"].Shared, sections["d"].Shared; n != 0 || k != 1<<20 {
		t.Errorf("of b %d bytes are shared, of d %d", n, k)
	}
}

// From one file system to another.
func TestSectionAcross(t *testing.T) {
	skipEmulated(t)
	_, dir := diskImage(t, "btrfs")
	x := tens{"a", 3_000_000}
	m := mustOpen(t, write(t, t.TempDir(), "src", encode(nil, x)), WithBackend(BackendRead))
	dst := filepath.Join(dir, "dst")
	if err := WriteFile(dst, header(t, x), func(name string) (io.Reader, error) { return m.Section(name) }); err != nil {
		t.Fatal(err)
	}
	checkFile(t, dst, x)
}
