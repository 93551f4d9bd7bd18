// Command write compares writing with the reference implementation: the Rust
// crate safetensors and its Python package.
//
//	cargo build --release --manifest-path write/peer/Cargo.toml
//	HEFT_PYTHON=python3 go run ./write DIR
//
// DIR is on the file system to write to; it needs room for 8 GiB. There are
// three comparisons, each over models of 2 GiB in 512 tensors of F32:
//
//   - heft repack without changes, beside loading and saving in Python;
//   - heft repack --cast BF16, beside reading the same bytes and writing half as many;
//   - saving what is in memory, to the page cache and to the disk.
//
// What heft repack and the last of these write is on the disk in the end; what
// Python writes, in the page cache. Sources are in the page cache. Rounds alternate
// between all; medians of seven, and the median, least and largest of the ratios
// to the first of each comparison.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"heft/format"
	"heft/loader"
	"heft/tensor"
)

const (
	rounds     = 7
	tensorSize = 4 << 20
	tensors    = 512
	different  = 64 // in memory
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: write DIR")
	}
	dir, err := os.MkdirTemp(os.Args[1], "heft-write-")
	if err != nil {
		log.Fatal(err)
	}
	err = compare(dir)
	os.RemoveAll(dir)
	if err != nil {
		log.Fatal(err)
	}
}

// A sample is one way to do a task: it writes to path and returns seconds.
type sample struct {
	name string
	run  func(path string) (float64, error)
}

func compare(dir string) error {
	rust, err := startPeer("write/peer/target/release/peer")
	if err != nil {
		return err
	}
	python, err := startPeer(os.Getenv("HEFT_PYTHON"), "write/peer.py")
	if err != nil {
		return err
	}
	source, heft := filepath.Join(dir, "source.safetensors"), filepath.Join(dir, "heft")
	if _, err := python.ask(1, source); err != nil {
		return err
	}
	if out, err := exec.Command("go", "build", "-C", "..", "-o", heft, "./cmd/heft").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	loadAndSave := func(i int) func(string) (float64, error) {
		return func(path string) (float64, error) { return python.ask(i, source+" "+path) }
	}
	save := func(p *peer, i int) func(string) (float64, error) {
		return func(path string) (float64, error) { return p.ask(i, path) }
	}
	out := filepath.Join(dir, "out.safetensors")
	err = row("repack 2 GiB unchanged", out, []sample{
		{"heft repack", repack(heft, source)},
		{"Python load, save", loadAndSave(0)},
		{"... and fsync", loadAndSave(1)},
	})
	if err != nil {
		return err
	}
	err = row("cast 2 GiB to BF16", out, []sample{
		{"heft repack --cast", repack(heft, "--cast", "BF16", source)},
		{"read, write, fsync", halve(source)},
	})
	if err != nil {
		return err
	}
	model, err := newModel() // only now: processes are born with the memory of their parent on their account
	if err != nil {
		return err
	}
	err = row("save 2 GiB to the page cache", out, []sample{
		{"format.Encode", model.encode},
		{"Rust", save(rust, 0)},
		{"Python", save(python, 0)},
	})
	if err != nil {
		return err
	}
	return row("save 2 GiB to the disk", out, []sample{
		{"loader.WriteFile", model.writeFile},
		{"Rust", save(rust, 1)},
		{"Python", save(python, 1)},
	})
}

// row measures one task in rounds and prints how long each way takes.
func row(task, path string, by []sample) error {
	times := make([][]float64, len(by))
	for range rounds {
		for i, s := range by {
			os.Remove(path)
			syscall.Sync() // nobody pays for what another wrote
			t, err := s.run(path)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			times[i] = append(times[i], t)
		}
	}
	fmt.Println(task)
	for i, s := range by {
		var ratios []float64
		for r := range rounds {
			ratios = append(ratios, times[i][r]/times[0][r])
		}
		fmt.Printf("  %-20s %5.2f s  %5.2fx (%.2f to %.2f)\n", s.name, mid(times[i]), mid(ratios), slices.Min(ratios), slices.Max(ratios))
	}
	if most > 0 {
		fmt.Printf("  at most %d MiB resident in heft\n", most>>20)
		most = 0
	}
	return nil
}

func mid(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// memory is a model in memory.
type memory struct {
	header *format.Header
	data   map[string][]byte
}

func newModel() (*memory, error) {
	all := make([]byte, different*tensorSize)
	for i := range all {
		all[i] = byte(uint64(i) * 2_654_435_761 >> 11)
	}
	m := &memory{data: map[string][]byte{}}
	var entries []format.Entry
	for i := range tensors {
		name := fmt.Sprintf("layers.%d.weight", i)
		entries = append(entries, format.Entry{Name: name, DType: tensor.F32, Shape: []int{1024, 1024}})
		m.data[name] = all[i%different*tensorSize:][:tensorSize]
	}
	// What is random would have NaNs and infinities, which casts treat apart.
	for i := 3; i < len(all); i += 4 {
		all[i] = all[i]&0x80 | 0x3c
	}
	var err error
	m.header, err = format.NewHeader(nil, entries)
	return m, err
}

func (m *memory) open(name string) (io.Reader, error) { return bytes.NewReader(m.data[name]), nil }

func (m *memory) encode(path string) (float64, error) {
	start := time.Now()
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	err = format.Encode(f, m.header, m.open)
	return time.Since(start).Seconds(), err
}

func (m *memory) writeFile(path string) (float64, error) {
	start := time.Now()
	err := loader.WriteFile(path, m.header, m.open)
	return time.Since(start).Seconds(), err
}

// most is the most memory that a heft repack of the task has had resident.
var most int64

// repack returns a sample of heft repack with the arguments.
func repack(heft string, args ...string) func(path string) (float64, error) {
	return func(path string) (float64, error) {
		cmd := exec.Command(heft, append([]string{"repack", "-q", "-o", path}, args...)...)
		cmd.Stderr = os.Stderr
		start := time.Now()
		err := cmd.Run()
		if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			most = max(most, u.Maxrss<<10)
		}
		return time.Since(start).Seconds(), err
	}
}

// halve returns a sample that reads a file and writes every other part of it.
func halve(source string) func(path string) (float64, error) {
	return func(path string) (float64, error) {
		start := time.Now()
		from, err := os.Open(source)
		if err != nil {
			return 0, err
		}
		defer from.Close()
		to, err := os.Create(path)
		if err != nil {
			return 0, err
		}
		defer to.Close()
		buf := make([]byte, 256<<10)
		for {
			n, err := from.Read(buf)
			if err == io.EOF {
				break
			}
			if err == nil {
				_, err = to.Write(buf[:n/2])
			}
			if err != nil {
				return 0, err
			}
		}
		err = to.Sync()
		return time.Since(start).Seconds(), err
	}
}

// A peer is another program that saves models.
type peer struct {
	in  io.Writer
	out *bufio.Reader
}

func startPeer(name string, args ...string) (*peer, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &peer{in, bufio.NewReader(out)}, cmd.Start() // it ends when its input does
}

// ask has the peer save, and returns the i-th of the times that it answers with.
func (p *peer) ask(i int, line string) (float64, error) {
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		return 0, err
	}
	answer, err := p.out.ReadString('\n')
	if err != nil {
		return 0, err
	}
	var times [2]float64
	if _, err := fmt.Sscan(strings.TrimSpace(answer), &times[0], &times[1]); err != nil {
		return 0, err
	}
	return times[i] / 1e9, nil
}
