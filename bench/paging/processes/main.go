//go:build linux

// Command processes measures what it costs that four processes load the same
// file: their memory, what the device reads, and the time beside that of one.
//
//	go run ./paging/processes
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"heft/bench/paging/internal/lab"
	"heft/loader"
)

const processes = 4

func main() {
	if path := os.Getenv("HEFT_BENCH_CHILD"); path != "" {
		child(path)
		return
	}
	lab.Main(compare)
}

// child loads the model at a line of input, tells what that cost, and ends with its input.
func child(path string) {
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	in.Scan()
	m, err := loader.Open(path)
	lab.Check(err)
	r, err := m.Module("")
	lab.Check(err)
	lab.Check(r.Prefetch(context.Background()))
	fmt.Println("loaded")
	for in.Scan() {
		fmt.Println(memory("Pss"), memory("Private_Clean")+memory("Private_Dirty"), number("/proc/self/io", "read_bytes"))
	}
}

// memory returns a number of this process, in bytes.
func memory(field string) int64 { return number("/proc/self/smaps_rollup", field) << 10 }

func number(file, field string) int64 {
	b, err := os.ReadFile(file)
	lab.Check(err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			lab.Check(err)
			return n
		}
	}
	lab.Check(fmt.Errorf("%s: no %s", file, field))
	return 0
}

// team is some processes that have not begun yet.
type team struct {
	in  []io.WriteCloser
	out []*bufio.Reader
	cmd []*exec.Cmd
}

func start(path string, n int) *team {
	t := new(team)
	for range n {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "HEFT_BENCH_CHILD="+path)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		lab.Check(err)
		out, err := cmd.StdoutPipe()
		lab.Check(err)
		lab.Check(cmd.Start())
		t.in, t.out, t.cmd = append(t.in, in), append(t.out, bufio.NewReader(out)), append(t.cmd, cmd)
	}
	t.hear()
	return t
}

// say tells all of them to go on.
func (t *team) say() {
	for _, in := range t.in {
		_, err := io.WriteString(in, "\n")
		lab.Check(err)
	}
}

// hear returns a line from each.
func (t *team) hear() (lines []string) {
	for _, out := range t.out {
		line, err := out.ReadString('\n')
		lab.Check(err)
		lines = append(lines, line)
	}
	return lines
}

// sum asks what they cost, ends them, and returns PSS and device reads of all
// and the largest private memory of one, in bytes.
func (t *team) sum() (pss, private, read float64) {
	t.say()
	for _, line := range t.hear() {
		var p, own, r float64
		_, err := fmt.Sscan(line, &p, &own, &r)
		lab.Check(err)
		pss, private, read = pss+p, max(private, own), read+r
	}
	for i, in := range t.in {
		in.Close()
		lab.Check(t.cmd[i].Wait())
	}
	return pss, private, read
}

func compare(path string) {
	fi, err := os.Stat(path)
	lab.Check(err)
	size := float64(fi.Size())
	var now *team
	var pss, private, read []float64
	variant := func(n int) *lab.Variant {
		return &lab.Variant{
			Prepare: func() {
				if now != nil {
					p, own, r := now.sum()
					if len(now.cmd) == processes {
						pss, private, read = append(pss, p/size), append(private, own), append(read, r/size)
					}
				}
				lab.Cold(path)
				now = start(path, n)
			},
			Run: func() { now.say(); now.hear() },
		}
	}
	four, one := variant(processes), variant(1)
	lab.Compare(four, one)
	now.sum()
	fmt.Printf("%d processes, cold, %.0f MiB:\n", processes, size/(1<<20))
	fmt.Printf("  speed beside one process   %s\n", four.Speed(one))
	fmt.Printf("  PSS of all / file          %.3f\n", lab.Median(pss))
	fmt.Printf("  device reads / file        %.3f\n", lab.Median(read))
	fmt.Printf("  private memory of one      %.1f MiB at most\n", lab.Median(private)/(1<<20))
}
