//go:build linux

// Command stream measures how a model passes through less memory than it has
// bytes: twice, layer by layer, in a memory control group of half its size. Each
// run is a process of its own. It needs root, to make the group.
//
//	go run ./paging/stream
//
// Beside it are O_DIRECT, which keeps nothing; touching a plain mapping, which
// leaves it to the kernel what goes; and reading the file into memory, which the
// kernel kills.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"heft/bench/paging/internal/lab"
	"heft/loader"
)

const (
	limit        = 1 << 30
	passes       = 2
	layerTensors = 6
)

// visit is what a process in the group is told, and tells.
type visit struct {
	Path, Variant, Group string

	Window   int64
	Resident []int64 // the most of the model, in each pass
	Read     []int64 // from the device, in each pass
}

var variants = map[string]func(*visit){
	"O_DIRECT, 4 threads": direct, "Stream": stream, "touching a mapping": touch, "reading into memory": read,
}

func main() {
	if arg := os.Getenv("HEFT_BENCH_VISIT"); arg != "" {
		var v visit
		lab.Check(json.Unmarshal([]byte(arg), &v))
		lab.Check(os.WriteFile(v.Group+"/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0))
		variants[v.Variant](&v)
		lab.Check(json.NewEncoder(os.Stdout).Encode(v))
		return
	}
	lab.Main(compare)
}

func compare(path string) {
	told := map[string][]visit{}
	variant := func(name string) *lab.Variant {
		return &lab.Variant{Name: name, Prepare: func() { lab.Cold(path) }, Run: func() {
			v, err := run(path, name)
			lab.Check(err)
			told[name] = append(told[name], v)
		}}
	}
	floor, heft, plain := variant("O_DIRECT, 4 threads"), variant("Stream"), variant("touching a mapping")
	lab.Compare(floor, heft, plain)
	fi, err := os.Stat(path)
	lab.Check(err)
	size := float64(fi.Size())
	fmt.Printf("%.0f MiB, %d passes, in a group of %d MiB:\n", size/(1<<20), passes, limit>>20)
	fmt.Println("                       GB/s  read a pass  resident at most  of O_DIRECT's speed")
	for _, v := range []*lab.Variant{floor, heft, plain} {
		var read, resident []float64
		for _, visit := range told[v.Name] {
			for pass := range passes {
				read = append(read, float64(visit.Read[pass])/size)
				resident = append(resident, float64(visit.Resident[pass])/(1<<20))
			}
		}
		fmt.Printf("  %-20s %5.2f %11.3fx %13.0f MiB  %s\n", v.Name, passes*size/1e9/v.Median(lab.Wall),
			lab.Median(read), most(resident), v.Speed(floor))
	}
	fmt.Printf("  the window was %d MiB\n", told["Stream"][0].Window>>20)
	lab.Cold(path)
	var exit *exec.ExitError
	if _, err := run(path, "reading into memory"); errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL {
		fmt.Println("  reading into memory: killed")
	} else {
		fmt.Println("  reading into memory: not killed:", err)
	}
}

func most(values []float64) (m float64) {
	for _, v := range values {
		m = max(m, v)
	}
	return m
}

// run runs a variant in a new group.
func run(path, variant string) (v visit, err error) {
	v = visit{Path: path, Variant: variant, Group: fmt.Sprintf("/sys/fs/cgroup/memory/heft-bench-%d", os.Getpid())}
	file := "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err != nil {
		v.Group, file = fmt.Sprintf("/sys/fs/cgroup/heft-bench-%d", os.Getpid()), "memory.max"
	}
	lab.Check(os.Mkdir(v.Group, 0o755))
	defer os.Remove(v.Group)
	if err := os.WriteFile(v.Group+"/"+file, []byte(strconv.Itoa(limit)), 0); err != nil {
		return v, err
	}
	arg, err := json.Marshal(v)
	lab.Check(err)
	exe, err := os.Executable()
	lab.Check(err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "HEFT_BENCH_VISIT="+string(arg))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(out, &v)
}

// pass counts what f has the device read.
func (v *visit) pass(f func() (resident int64)) {
	before := deviceBytes()
	v.Resident = append(v.Resident, f())
	v.Read = append(v.Read, deviceBytes()-before)
}

func direct(v *visit) {
	floor := lab.NewFloor(v.Path)
	for range passes {
		v.pass(func() int64 { floor.Read(floor.Whole()); return 0 })
	}
}

func touch(v *visit) {
	b := lab.Map(v.Path)
	for range passes {
		v.pass(func() int64 {
			lab.Touch(b, []lab.Extent{{Lo: 0, Hi: int64(len(b))}})
			return lab.Cached(v.Path)
		})
	}
}

func read(v *visit) {
	b, err := os.ReadFile(v.Path)
	lab.Check(err)
	fmt.Fprintln(os.Stderr, len(b))
}

func stream(v *visit) {
	m, err := loader.Open(v.Path)
	lab.Check(err)
	free, err := loader.Headroom()
	lab.Check(err)
	v.Window = free / 4
	var layers []*loader.Region
	var names []string
	for _, e := range m.Entries() {
		if names = append(names, e.Name); len(names) == layerTensors {
			layers, names = append(layers, region(m, names)), nil
		}
	}
	layers = append(layers, region(m, names))
	for range passes {
		v.pass(func() (most int64) {
			for r, err := range m.Stream(context.Background(), loader.StreamOptions{}, layers...) {
				lab.Check(err)
				for t, err := range r.All() {
					lab.Check(err)
					lab.Touch(t.Bytes(), []lab.Extent{{Lo: 0, Hi: int64(len(t.Bytes()))}})
				}
				most = max(most, lab.Cached(v.Path))
			}
			return most
		})
	}
}

func region(m *loader.Model, names []string) *loader.Region {
	r, err := m.Region(names...)
	lab.Check(err)
	return r
}

// deviceBytes returns how much this process has had a device read.
func deviceBytes() (n int64) {
	b, err := os.ReadFile("/proc/self/io")
	lab.Check(err)
	_, after, _ := strings.Cut(string(b), "\nread_bytes: ")
	_, err = fmt.Sscan(after, &n)
	lab.Check(err)
	return n
}
