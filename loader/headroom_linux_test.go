package loader

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"
	"testing/fstest"
)

// mount1 and mount2 are mounts that begin at a group, as mountinfo has them.
func mount1(at string) string {
	return "32 31 0:29 " + at + " /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
}

func mount2(at string) string {
	return "42 31 0:30 " + at + " /sys/fs/cgroup rw,nosuid,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
}

// group1 is the directory of a group of version 1, with numbers in MiB.
func group1(dir string, limit, use, inactive, active, dirty int64) map[string]string {
	const noLimit = 9223372036854771712
	bytes := int64(noLimit)
	if limit > 0 {
		bytes = limit << 20
	}
	return map[string]string{
		dir + "/memory.limit_in_bytes": fmt.Sprintln(bytes),
		dir + "/memory.usage_in_bytes": fmt.Sprintln(use << 20),
		// The rows without total_ leave out the groups within: they must not be used.
		dir + "/memory.stat": fmt.Sprintf("cache 1\ninactive_file 5000000000\nactive_file 5000000000\ndirty 1\nhierarchical_memory_limit 1\n"+
			"total_shmem 77\ntotal_inactive_file %d\ntotal_active_file %d\ntotal_dirty %d\ntotal_writeback 0\n", inactive<<20, active<<20, dirty<<20),
	}
}

// group2 is group1 of version 2, whose limits are words too.
func group2(dir, most, high string, use, inactive, active, dirty int64) map[string]string {
	files := map[string]string{
		dir + "/memory.current": fmt.Sprintln(use << 20),
		dir + "/memory.stat": fmt.Sprintf("anon 1\nfile 5000000000\nshmem 77\nfile_dirty %d\nfile_writeback 0\ninactive_file %d\nactive_file %d\nunevictable 5\n",
			dirty<<20, inactive<<20, active<<20),
	}
	for name, value := range map[string]string{"max": most, "high": high} {
		if value != "" {
			files[dir+"/memory."+name] = value + "\n"
		}
	}
	return files
}

func TestHeadroom(t *testing.T) {
	const v1, v2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"
	for _, test := range []struct {
		name          string
		mounts, group string
		trees         []map[string]string
		want          int64 // MiB, of the 16 GiB that the machine has available
	}{
		{name: "no groups", want: 16384},
		{name: "v1 without a limit", mounts: mount1("/"), group: "4:memory:/a",
			trees: []map[string]string{group1(v1+"/a", 0, 300, 100, 100, 0), group1(v1, 0, 9000, 0, 0, 0)}, want: 16384},
		{name: "v1", mounts: mount1("/"), group: "9:name=systemd:/x\n4:cpu,memory:/a/b",
			trees: []map[string]string{group1(v1+"/a/b", 1000, 600, 300, 200, 50)}, want: 1000 - (600 - 450)},
		{name: "v1, a group around it leaves less", mounts: mount1("/"), group: "4:memory:/a/b",
			trees: []map[string]string{group1(v1+"/a/b", 1000, 100, 0, 0, 0), group1(v1+"/a", 1200, 1100, 20, 10, 0)}, want: 130},
		{name: "v1, another controller's path", mounts: mount1("/"), group: "4:cpu:/a\n5:memory:/b",
			trees: []map[string]string{group1(v1+"/a", 10, 0, 0, 0, 0), group1(v1+"/b", 50, 0, 0, 0, 0)}, want: 50},
		{name: "v1 in a container that sees its own group", mounts: mount1("/docker/abc"), group: "4:memory:/docker/abc",
			trees: []map[string]string{group1(v1, 700, 100, 0, 0, 0)}, want: 600},
		{name: "v1 in a group within that container", mounts: mount1("/docker/abc"), group: "4:memory:/docker/abc/d",
			trees: []map[string]string{group1(v1, 700, 100, 0, 0, 0), group1(v1+"/d", 300, 50, 0, 0, 0)}, want: 250},
		{name: "a group beside the mount's", mounts: mount1("/docker/abc"), group: "4:memory:/docker/abcd",
			trees: []map[string]string{group1(v1, 700, 100, 0, 0, 0), group1(v1+"/d", 1, 0, 0, 0, 0)}, want: 600},
		{name: "v2 in a namespace of its own", mounts: mount2("/"), group: "0::/",
			trees: []map[string]string{group2(v2, "524288000", "max", 400, 100, 200, 0)}, want: 400},
		{name: "v2, on the host", mounts: mount2("/"), group: "0::/user.slice/app.scope",
			trees: []map[string]string{
				group2(v2+"/user.slice/app.scope", "max", "max", 500, 0, 0, 0),
				group2(v2+"/user.slice", "2097152000", "", 900, 300, 100, 20),
			}, want: 2000 - (900 - 380)},
		{name: "v2, high is less than max", mounts: mount2("/"), group: "0::/a",
			trees: []map[string]string{group2(v2+"/a", "2097152000", "1048576000", 900, 100, 0, 0)}, want: 200},
		{name: "v2, used above high", mounts: mount2("/"), group: "0::/a",
			trees: []map[string]string{group2(v2+"/a", "max", "104857600", 900, 100, 0, 0)}, want: 0},
		{name: "v2, a path above the namespace", mounts: mount2("/"), group: "0::/../../a",
			trees: []map[string]string{group2("sys/a", "1", "1", 0, 0, 0, 0), group2(v2, "104857600", "", 0, 0, 0, 0)}, want: 100},
		{name: "v2, a group that was removed", mounts: mount2("/"), group: "0::/a/b (deleted)",
			trees: []map[string]string{group2(v2+"/a", "104857600", "", 1, 0, 0, 0)}, want: 99},
		{name: "v2 beside v1", mounts: mount1("/") + mount2("/"), group: "4:memory:/a\n0::/",
			trees: []map[string]string{group1(v1+"/a", 300, 0, 0, 0, 0)}, want: 300},
		{name: "v2, more dirty than cached", mounts: mount2("/"), group: "0::/a",
			trees: []map[string]string{group2(v2+"/a", "104857600", "", 60, 10, 0, 30)}, want: 40},
		{name: "no use told", mounts: mount2("/"), group: "0::/a",
			trees: []map[string]string{{v2 + "/a/memory.max": "104857600\n"}}, want: 100},
		{name: "not mounted", group: "4:memory:/a\n0::/b",
			trees: []map[string]string{group1(v1+"/a", 300, 0, 0, 0, 0)}, want: 16384},
		{name: "nonsense", mounts: "a b - c\n" + mount2("/"), group: "\n:\n0::\nx",
			trees: []map[string]string{{v2 + "/memory.max": "", v2 + "/memory.current": "-", v2 + "/memory.stat": "inactive_file\n\nx y z\n"}}, want: 16384},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{
				"proc/meminfo":        "MemTotal:       24684096 kB\nMemFree:         1000000 kB\nMemAvailable:   16777216 kB\n",
				"proc/self/cgroup":    test.group + "\n",
				"proc/self/mountinfo": "22 27 0:21 / /proc rw - proc proc rw\n31 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" + test.mounts,
			}
			for _, tree := range test.trees {
				maps.Copy(files, tree)
			}
			root := make(fstest.MapFS)
			for name, content := range files {
				root[name] = &fstest.MapFile{Data: []byte(content)}
			}
			n, err := headroomIn(root)
			if n != test.want<<20 || err != nil {
				t.Errorf("%d bytes (%d MiB), %v; want %d MiB", n, n>>20, err, test.want)
			}
		})
	}
}

func TestHeadroomErrors(t *testing.T) {
	for _, meminfo := range []string{"", "MemTotal: 5 kB\nMemFree: 3 kB\n", "MemAvailable: many kB\n"} {
		root := fstest.MapFS{"proc/meminfo": &fstest.MapFile{Data: []byte(meminfo)}}
		if n, err := headroomIn(root); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%q: %d bytes, %v; want errors.ErrUnsupported", meminfo, n, err)
		}
	}
}

// A mount point with a space, as mountinfo writes it.
func TestHeadroomEscapedMount(t *testing.T) {
	root := fstest.MapFS{
		"proc/meminfo":            &fstest.MapFile{Data: []byte("MemAvailable: 16777216 kB\n")},
		"proc/self/cgroup":        &fstest.MapFile{Data: []byte("0::/a\n")},
		"proc/self/mountinfo":     &fstest.MapFile{Data: []byte(`42 31 0:30 / /my\040groups\134 rw - cgroup2 none rw` + "\n")},
		`my groups\/a/memory.max`: &fstest.MapFile{Data: []byte("4096\n")},
	}
	if n, err := headroomIn(root); n != 4096 || err != nil {
		t.Errorf("%d, %v; want 4096", n, err)
	}
}

// What this system tells is at most its memory, and something.
func TestHeadroomHere(t *testing.T) {
	n, err := headroom()
	total := table(os.DirFS("/"), "proc/meminfo")["MemTotal:"] << 10
	if err != nil || n <= 0 || n > total {
		t.Errorf("%d of %d bytes, %v", n, total, err)
	}
}
