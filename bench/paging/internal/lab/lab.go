//go:build linux

// Package lab is what the paging benchmarks share: the file they read, how it
// is made cold and proven to be, the floor they are held against, and how
// variants are compared.
//
// Variants take turns, so that what the machine does meanwhile meets all of
// them alike. Before each sample memory is touched and freed: a virtual machine
// whose host does not back memory yet is slow to touch it first.
package lab

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	dir    = flag.String("dir", "/var/tmp/heft-bench", "where the test file is made")
	mib    = flag.Int64("mib", 2048, "its size")
	keep   = flag.Bool("keep", false, "leave the test file for the next run")
	rounds = flag.Int("rounds", 9, "samples of each variant")
	memory = flag.Int64("touch", 3072, "MiB of memory to touch and free before each sample")
)

// TensorBytes is the size of each tensor of the test file.
const TensorBytes = 10 << 20

// exits are run when the program ends in any way but by SIGKILL.
var exits []func()

// Main runs a benchmark on a test file, and undoes at the end, also after a
// signal or a panic, what was done to the machine.
func Main(run func(path string)) {
	log.SetFlags(0)
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		undo()
		os.Exit(1)
	}()
	defer undo()
	path := testFile()
	if !*keep {
		exits = append(exits, func() { os.RemoveAll(*dir) })
	}
	run(path)
}

func undo() {
	for _, f := range slices.Backward(exits) {
		f()
	}
}

// Check ends the program, through Main, if err is not nil.
func Check(err error) {
	if err != nil {
		undo()
		log.Fatal(err)
	}
}

// testFile makes the file, of F32 tensors named t000 and on, unless it is there.
func testFile() string {
	Check(os.MkdirAll(*dir, 0o755))
	n := *mib << 20 / TensorBytes
	var h strings.Builder
	h.WriteString("{")
	for i := range n {
		fmt.Fprintf(&h, `"t%03d":{"dtype":"F32","shape":[%d],"data_offsets":[%d,%d]},`, i, TensorBytes/4, i*TensorBytes, (i+1)*TensorBytes)
	}
	header := strings.TrimSuffix(h.String(), ",") + "}"
	for len(header)%8 != 0 {
		header += " "
	}
	path := filepath.Join(*dir, "model.safetensors")
	if fi, err := os.Stat(path); err == nil && fi.Size() == 8+int64(len(header))+n*TensorBytes {
		return path
	}
	f, err := os.Create(path)
	Check(err)
	defer f.Close()
	word := make([]byte, 8)
	for i := range word {
		word[i] = byte(len(header) >> (8 * i))
	}
	_, err = f.WriteString(string(word) + header)
	Check(err)
	block := make([]byte, TensorBytes)
	for i := range n {
		for j := range block {
			block[j] = byte(int(i)*7 + j*13 + j>>9)
		}
		_, err = f.Write(block)
		Check(err)
	}
	Check(f.Sync())
	return path
}

// Drop takes the file out of the page cache and proves that it is gone.
func Drop(path string) {
	f, err := os.Open(path)
	Check(err)
	defer f.Close()
	Check(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	if n := cached(f); n != 0 {
		Check(fmt.Errorf("%s: %d bytes stay in the page cache", path, n))
	}
}

// Cached returns how many bytes of the file are in the page cache.
func Cached(path string) int64 {
	f, err := os.Open(path)
	Check(err)
	defer f.Close()
	return cached(f)
}

func cached(f *os.File) int64 {
	var c unix.Cachestat_t
	Check(unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &c, 0))
	return int64(c.Cache) * int64(os.Getpagesize())
}

// TouchMemory touches and frees memory, in huge pages, as the page cache takes it.
func TouchMemory() {
	if *memory == 0 {
		return
	}
	b, err := unix.Mmap(-1, 0, int(*memory<<20), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	Check(err)
	Check(unix.Madvise(b, unix.MADV_HUGEPAGE))
	Check(unix.Madvise(b, unix.MADV_POPULATE_WRITE))
	Check(unix.Munmap(b))
}

// Cold prepares a sample that begins with nothing in the page cache. Memory is
// touched after the file has gone, so that its pages too are whole again.
func Cold(path string) {
	Drop(path)
	TouchMemory()
	Drop(path)
}

// A Variant is one of the things compared. Only Run is measured.
type Variant struct {
	Name    string
	Prepare func()
	Run     func()
	Samples []Sample
}

// Sample is what one run cost.
type Sample struct {
	Wall, CPU time.Duration
	Read      int64 // bytes that this process had a device read
}

// Compare runs the variants in turn and sets their samples.
func Compare(variants ...*Variant) {
	for range *rounds {
		for _, v := range variants {
			if v.Prepare != nil {
				v.Prepare()
			}
			v.Sample()
		}
	}
}

// Sample runs the variant and adds what it cost to its samples.
func (v *Variant) Sample() {
	cpu, read, began := cpuTime(), deviceBytes(), time.Now()
	v.Run()
	wall := time.Since(began)
	v.Samples = append(v.Samples, Sample{wall, cpuTime() - cpu, deviceBytes() - read})
}

// Median returns the middle one of what f says of the samples.
func (v *Variant) Median(f func(Sample) float64) float64 {
	return Median(v.each(f))
}

func (v *Variant) each(f func(Sample) float64) (all []float64) {
	for _, s := range v.Samples {
		all = append(all, f(s))
	}
	return all
}

// Wall, CPU and Read are what is asked of samples: seconds, seconds, bytes.
func Wall(s Sample) float64 { return s.Wall.Seconds() }
func CPU(s Sample) float64  { return s.CPU.Seconds() }
func Read(s Sample) float64 { return float64(s.Read) }

// Speed returns how fast v is beside the floor: the median of the ratios and the
// least and greatest of them. Each sample is held against those of the floor
// before and after it, since the speed of a shared machine drifts.
func (v *Variant) Speed(floor *Variant) string {
	var ratios []float64
	for i := range v.Samples {
		around := floor.Samples[i:min(i+2, len(floor.Samples))]
		var wall float64
		for _, s := range around {
			wall += Wall(s) / float64(len(around))
		}
		ratios = append(ratios, wall/Wall(v.Samples[i]))
	}
	return fmt.Sprintf("%.3f (%.3f to %.3f)", Median(ratios), slices.Min(ratios), slices.Max(ratios))
}

// Median returns the middle one of values.
func Median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

func cpuTime() time.Duration {
	var u unix.Rusage
	Check(unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func deviceBytes() int64 {
	b, err := os.ReadFile("/proc/self/io")
	Check(err)
	for line := range strings.Lines(string(b)) {
		if s, ok := strings.CutPrefix(line, "read_bytes: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			Check(err)
			return n
		}
	}
	Check(errors.New("/proc/self/io: no read_bytes"))
	return 0
}

// readAheadFile returns the file that sets the read-ahead of the device of path.
func readAheadFile(path string) string {
	var s unix.Stat_t
	Check(unix.Stat(path, &s))
	device := fmt.Sprintf("/sys/dev/block/%d:%d/", unix.Major(s.Dev), unix.Minor(s.Dev))
	if _, err := os.Stat(device + "partition"); err == nil {
		device += "../"
	}
	return device + "queue/read_ahead_kb"
}

// WithReadAhead calls f under the machine's own read_ahead_kb, and, with the
// right to set it, under 128, the value of a machine that nobody has tuned.
func WithReadAhead(path string, f func(kb string)) {
	name := readAheadFile(path)
	b, err := os.ReadFile(name)
	Check(err)
	own := strings.TrimSpace(string(b))
	f(own)
	const stock = "128"
	if own == stock {
		return
	}
	if err := os.WriteFile(name, []byte(stock), 0); err != nil {
		fmt.Printf("under %s: not measured: %v\n", stock, err)
		return
	}
	restore := func() { os.WriteFile(name, []byte(own), 0) }
	exits = append(exits, restore)
	defer restore()
	f(stock)
}
