// Command header compares reading headers with the reference implementation,
// the Rust crate safetensors: format.Read and one Lookup beside
// SafeTensors::deserialize, and Lookup beside SafeTensors::tensor, on the same
// bytes in memory.
//
//	(cd reference && cargo build --release)
//	HEFT_REFERENCE=reference/target/release/reference go run ./header
//
// Rounds alternate between the two; it prints medians of nine rounds, each the
// median of several runs, and the median of the nine ratios.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"heft/format"
	"heft/tensor"
)

const rounds = 9

func main() {
	log.SetFlags(0)
	dir, err := os.MkdirTemp("", "heft-header-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	fmt.Println("TENSORS  TASK           HEFT   REFERENCE  RATIO")
	for _, n := range []int{300, 10_000, 100_000} {
		path := filepath.Join(dir, "model.safetensors")
		if err := compare(path, n); err != nil {
			log.Fatal(err)
		}
	}
}

// compare prints the two rows of a file with n tensors, which it makes at path.
func compare(path string, n int) error {
	file, names, err := makeFile(n)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return err
	}
	ref, err := startReference(path)
	if err != nil {
		return err
	}
	defer ref.stop()
	runs := max(3, 100_000/n)
	lookup := names[n/2]
	read := func() (float64, error) {
		return median(runs, func() error {
			h, err := format.Read(bytes.NewReader(file), int64(len(file)))
			if err == nil {
				if _, ok := h.Lookup(lookup); !ok {
					err = fmt.Errorf("%q not found", lookup)
				}
			}
			return err
		})
	}
	row(n, "read", n, read, func() (float64, error) { return ref.ask("deserialize", runs) })

	h, err := format.Read(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return err
	}
	all := func() (float64, error) {
		return median(runs, func() error {
			for _, name := range names {
				if _, ok := h.Lookup(name); !ok {
					return fmt.Errorf("%q not found", name)
				}
			}
			return nil
		})
	}
	// The reference's answer is for one name already.
	one := func() (float64, error) { return ref.ask("tensor", runs) }
	row(n, "lookup", 1, func() (float64, error) { ns, err := all(); return ns / float64(n), err }, one)
	return nil
}

// row alternates between the two, and prints nanoseconds a tensor and the ratio.
func row(n int, task string, per int, heft, reference func() (float64, error)) {
	var a, b, ratios []float64
	for range rounds {
		ours, err := heft()
		if err != nil {
			log.Fatal(err)
		}
		theirs, err := reference()
		if err != nil {
			log.Fatal(err)
		}
		a, b, ratios = append(a, ours), append(b, theirs), append(ratios, theirs/ours)
	}
	fmt.Printf("%7d  %-6s  %8.1f ns  %8.1f ns  %4.1fx (%.1f to %.1f)\n", n, task, mid(a)/float64(per), mid(b)/float64(per),
		mid(ratios), slices.Min(ratios), slices.Max(ratios))
}

func mid(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

func median(runs int, f func() error) (float64, error) {
	var times []float64
	for range runs {
		runtime.GC() // the garbage of the run before, as the reference frees its own with the clock stopped
		start := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		times = append(times, float64(time.Since(start)))
	}
	return mid(times), nil
}

// makeFile returns a file with n small tensors named as in a mixture of experts, and the names in bytewise order.
func makeFile(n int) (file []byte, names []string, err error) {
	var entries []format.Entry
	for i := range n {
		name := fmt.Sprintf("model.layers.%d.mlp.experts.%d.down_proj.weight", i/256, i%256)
		entries = append(entries, format.Entry{Name: name, DType: tensor.F8E4M3, Shape: []int{4, 4}})
		names = append(names, name)
	}
	h, err := format.NewHeader(map[string]string{"format": "pt"}, entries)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	zeros := make([]byte, 16)
	err = format.Encode(&b, h, func(string) (io.Reader, error) { return bytes.NewReader(zeros), nil })
	slices.Sort(names)
	return b.Bytes(), names, err
}

// reference is the cargo program beside this one, with the file in its memory.
type reference struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startReference(path string) (*reference, error) {
	program := os.Getenv("HEFT_REFERENCE")
	if program == "" {
		return nil, fmt.Errorf("set HEFT_REFERENCE to the program that cargo built in reference")
	}
	r := &reference{cmd: exec.Command(program, "time", path)}
	r.cmd.Stderr = os.Stderr
	var err error
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.out = bufio.NewReader(out)
	return r, r.cmd.Start()
}

// ask returns nanoseconds, the median of so many runs of a task.
func (r *reference) ask(task string, runs int) (float64, error) {
	question := fmt.Sprintf("%s %d", task, runs)
	message := binary.LittleEndian.AppendUint64(nil, uint64(len(question)))
	if _, err := r.in.Write(append(message, question...)); err != nil {
		return 0, err
	}
	var length [8]byte
	if _, err := io.ReadFull(r.out, length[:]); err != nil {
		return 0, err
	}
	answer := make([]byte, binary.LittleEndian.Uint64(length[:]))
	if _, err := io.ReadFull(r.out, answer); err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(answer), 64)
}

func (r *reference) stop() {
	r.in.Close()
	r.cmd.Wait()
}
