package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// headroom returns how many bytes of memory the process can still have, file
// cache that the kernel can reclaim included.
func headroom() (int64, error) { return headroomIn(os.DirFS("/")) }

// headroomIn is headroom of the system whose files are in root: what the kernel
// calls available, or less where a control group leaves less, be it the one of
// the process or one around it.
func headroomIn(root fs.FS) (int64, error) {
	available, ok := table(root, "proc/meminfo")["MemAvailable:"] // in KiB; Linux 3.14
	if !ok {
		return 0, fmt.Errorf("no MemAvailable in /proc/meminfo: %w", errors.ErrUnsupported)
	}
	least := available << 10
	for h, dir := range memoryGroups(root) {
		least = min(least, h.left(root, dir))
	}
	return max(0, least), nil
}

// hierarchy is a version of control groups: the words in which it tells about
// memory. What it tells of a group includes the groups within.
type hierarchy struct {
	fstype      string
	limits      []string // the files with a limit, or none or "max"
	use         string   // the file with the bytes in use
	reclaimable []string // rows of memory.stat: file cache, shared and locked memory not included
	busy        []string // of that, what must be written first
}

var hierarchies = []hierarchy{
	{"cgroup", []string{"memory.limit_in_bytes"}, "memory.usage_in_bytes",
		[]string{"total_inactive_file", "total_active_file"}, []string{"total_dirty", "total_writeback"}},
	{"cgroup2", []string{"memory.max", "memory.high"}, "memory.current",
		[]string{"inactive_file", "active_file"}, []string{"file_dirty", "file_writeback"}},
}

// left returns how many bytes the group in dir leaves.
func (h *hierarchy) left(root fs.FS, dir string) int64 {
	limit := int64(math.MaxInt64)
	for _, name := range h.limits {
		if n, err := number(root, path.Join(dir, name)); err == nil {
			limit = min(limit, n)
		}
	}
	used, err := number(root, path.Join(dir, h.use))
	if err != nil {
		return limit
	}
	stat, cache := table(root, path.Join(dir, "memory.stat")), int64(0)
	for _, row := range h.reclaimable {
		cache += stat[row]
	}
	for _, row := range h.busy {
		cache -= stat[row]
	}
	return limit - max(0, used-max(0, cache))
}

// memoryGroups yields the directory of each control group that may limit the
// memory of the process, innermost first.
func memoryGroups(root fs.FS) iter.Seq2[*hierarchy, string] {
	return func(yield func(*hierarchy, string) bool) {
		for line := range lines(root, "proc/self/cgroup") { // 4:memory:/a/b or, version 2, 0::/a/b
			_, line, _ = strings.Cut(line, ":")
			controllers, group, _ := strings.Cut(line, ":")
			h := &hierarchies[0]
			if controllers == "" {
				h = &hierarchies[1]
			} else if !hasOption(controllers, "memory") {
				continue
			}
			top, dir, ok := h.find(root, group)
			for ok && yield(h, dir) && dir != top {
				dir = path.Dir(dir)
			}
		}
	}
}

// find returns where the hierarchy is mounted and where in it the group is. In
// a container both may be parts of what the host sees: the mount begins at some
// group and the path is told from there or from the top. A group that is not to
// be seen from here is taken for the one that the mount begins at.
func (h *hierarchy) find(root fs.FS, group string) (top, dir string, ok bool) {
	for line := range lines(root, "proc/self/mountinfo") { // proc_pid_mountinfo(5)
		f := strings.Fields(line)
		i := slices.Index(f, "-")
		if i < 6 || len(f) < i+4 || f[i+1] != h.fstype || h.fstype == "cgroup" && !hasOption(f[i+3], "memory") {
			continue
		}
		begin := strings.TrimSuffix(f[3], "/") + "/"
		rel, _ := strings.CutPrefix(strings.TrimSuffix(group, "/")+"/", begin)
		top = path.Join(".", unescape.Replace(f[4])[1:])
		if rel = strings.TrimSuffix(rel, "/"); !fs.ValidPath(rel) { // "", one above the mount, or outside
			rel = "."
		}
		return top, path.Join(top, rel), true
	}
	return "", "", false
}

// unescape undoes what the kernel does to the paths of mounts.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func hasOption(list, option string) bool { return slices.Contains(strings.Split(list, ","), option) }

// lines yields the lines of a file, or nothing if it cannot be read.
func lines(root fs.FS, name string) iter.Seq[string] {
	b, _ := fs.ReadFile(root, name)
	return strings.SplitSeq(string(b), "\n")
}

// table reads a file of names and numbers. It leaves out what is something else.
func table(root fs.FS, name string) map[string]int64 {
	t := make(map[string]int64)
	for line := range lines(root, name) {
		if f := strings.Fields(line); len(f) >= 2 {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				t[f[0]] = n
			}
		}
	}
	return t
}

// number reads a file that holds a number.
func number(root fs.FS, name string) (int64, error) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}
