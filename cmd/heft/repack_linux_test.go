package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// What repack has written in shards is there after a power cut. Here the power
// goes when the disk's content is copied while it is mounted.
func TestRepackPowerCut(t *testing.T) {
	if emulated() {
		t.Skip("qemu-user does not mount")
	}
	top := t.TempDir()
	image := filepath.Join(top, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", image).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4: %v %s", err, out)
	}
	dir := mountLoop(t, image)
	afterCut := func() string {
		cut := filepath.Join(t.TempDir(), "cut")
		if out, err := exec.Command("cp", "--sparse=always", image, cut).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return filepath.Join(mountLoop(t, cut), "dst")
	}
	for i, size := range []string{"2M", "1M", "1M", "6M"} { // into a new directory, over other names, over the same, and one file
		version := "on"[i%2]
		src := filepath.Join(top, "src.safetensors")
		writeVersion(t, src, version, 1<<20)
		mustRepack(t, "--force", "--shard-size", size, "-o", filepath.Join(dir, "dst"), src)
		if got, err := versionOf(t, afterCut()); err != nil || got != version {
			t.Errorf("in shards of %s there is version %c, %v; want %c", size, got, err, version)
		}
	}
}

// mountLoop mounts a file system that is in a file.
func mountLoop(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}
