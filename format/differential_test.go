package format_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"heft/format"
	"heft/tensor"
)

// startDifferential returns a source of files, how many to try, and a way to
// the reference program in the given mode and to the Python package. The
// environment says with what:
//
//	HEFT_REFERENCE  the program that bench/reference builds
//	HEFT_PYTHON     a Python that has the package safetensors
//	HEFT_MUTANTS    the number of files; 100000 if unset
//	HEFT_SEED       the seed of an earlier run, to repeat it
func startDifferential(t *testing.T, mode string) (m *mutator, n int, rust, py *peer) {
	reference, python := os.Getenv("HEFT_REFERENCE"), os.Getenv("HEFT_PYTHON")
	if reference == "" || python == "" {
		t.Skip("HEFT_REFERENCE and HEFT_PYTHON do not name the reference program and a Python with safetensors")
	}
	seed := envInt(t, "HEFT_SEED", time.Now().UnixNano())
	n = int(envInt(t, "HEFT_MUTANTS", 100_000))
	t.Logf("HEFT_MUTANTS=%d HEFT_SEED=%d", n, seed)
	m = &mutator{Rand: rand.New(rand.NewPCG(uint64(seed), 0)), corpus: corpus(t)}
	return m, n, startPeer(t, reference, mode), startPeer(t, python, "../bench/reference/verdict.py")
}

func envInt(t *testing.T, name string, otherwise int64) int64 {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestDifferentialRead reads files that are nearly right, or quite, and asks
// the reference implementation about each: Read must give its verdict, its kind
// of error, the tensor it names, and on acceptance everything that it found.
// The reference's Python package must give the same verdict.
func TestDifferentialRead(t *testing.T) {
	m, n, rust, py := startDifferential(t, "read")
	d := &differ{t: t, rust: rust, seen: map[string]int{}}
	for n > 0 && !t.Failed() {
		files := make([][]byte, min(n, 1000))
		for i := range files {
			files[i] = m.file()
		}
		verdicts := py.ask(files...)
		for i, reply := range rust.ask(files...) {
			d.compare(files[i], reply, string(verdicts[i]))
		}
		n -= len(files)
	}
	for _, what := range slices.Sorted(maps.Keys(d.seen)) {
		t.Logf("%8d %s", d.seen[what], what)
	}
	for _, k := range kinds {
		if d.seen[k.name] == 0 {
			t.Errorf("no mutant was %s", k.name)
		}
	}
}

// TestDifferentialWrite has the reference write what NewHeader and Encode
// write: the bytes must be the same, and the Python package must read them.
func TestDifferentialWrite(t *testing.T) {
	m, n, rust, py := startDifferential(t, "write")
	for range n / 50 {
		c := m.contents()
		question, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		got, want := encode(t, c), rust.ask(question)[0]
		if !bytes.Equal(got, want) {
			t.Fatalf("%s\nEncode writes    %q\nreference writes %q", question, got, want)
		}
		if verdict := py.ask(got)[0]; string(verdict) != "accept" {
			t.Fatalf("Python does not read %q", got)
		}
	}
}

// Contents are what a file is made of.
type contents struct {
	Metadata map[string]string `json:"metadata"`
	Tensors  []tensorContents  `json:"tensors"`
}

type tensorContents struct {
	Name  string       `json:"name"`
	DType tensor.DType `json:"dtype"`
	Shape []int        `json:"shape"`
	Data  string       `json:"data"` // in hex
}

func encode(t *testing.T, c contents) []byte {
	var entries []format.Entry
	data := map[string]string{}
	for _, x := range c.Tensors {
		entries = append(entries, format.Entry{Name: x.Name, DType: x.DType, Shape: x.Shape})
		data[x.Name] = x.Data
	}
	h, err := format.NewHeader(c.Metadata, entries)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	err = format.Encode(&file, h, func(name string) (io.Reader, error) {
		return hex.NewDecoder(strings.NewReader(data[name])), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// An answer is what a reader says of a file: why it is rejected, or what it holds.
type answer struct {
	Kind      string            `json:"kind"` // "" if accepted
	Tensor    *string           `json:"tensor"`
	Metadata  map[string]string `json:"metadata"`
	DataStart int64             `json:"data_start"`
	Tensors   []tensorAnswer    `json:"tensors"` // by begin, end and name
}

type tensorAnswer struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []uint64 `json:"shape"`
	Begin int64    `json:"begin"`
	End   int64    `json:"end"`
}

func (a answer) String() string {
	text, _ := json.Marshal(a) // cannot fail: nothing but strings and integers
	return string(text)
}

// ours returns the answer of this package.
func ours(t *testing.T, file []byte) answer {
	h, err := read(file)
	if err != nil {
		a := answer{Kind: kindOf(t, err)}
		var e *format.Error
		if !errors.As(err, &e) {
			t.Errorf("%v is no format.Error", err)
		} else if a.Kind == "InvalidOffset" {
			a.Tensor = &e.Tensor
		}
		return a
	}
	a := answer{Metadata: h.Metadata, DataStart: h.DataOffset, Tensors: make([]tensorAnswer, len(h.Tensors))}
	for i, e := range h.Tensors {
		shape := make([]uint64, len(e.Shape))
		for i, dim := range e.Shape {
			shape[i] = uint64(dim)
		}
		a.Tensors[i] = tensorAnswer{e.Name, e.DType.String(), shape, e.Begin - h.DataOffset, e.End - h.DataOffset}
	}
	slices.SortFunc(a.Tensors, func(a, b tensorAnswer) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End), cmp.Compare(a.Name, b.Name))
	})
	return a
}

// A differ compares answers and counts what it has seen.
type differ struct {
	t           *testing.T
	rust        *peer
	seen        map[string]int
	differences int
}

func (d *differ) compare(file, reply []byte, verdict string) {
	got, want := ours(d.t, file), decode(d.t, reply)
	d.seen[cmp.Or(want.Kind, "accepted")]++
	if accepted := want.Kind == ""; accepted != (verdict == "accept") {
		d.t.Errorf("Rust says %v, Python says %s\n%x", want, verdict, file)
	}
	switch {
	case reflect.DeepEqual(got, want):
	case got.Kind == "ValidationOverflow" && want.Kind == "" && slices.ContainsFunc(want.Tensors, tensorAnswer.tooLarge):
		d.seen["departure: a dimension does not fit an int"]++
	case d.undecided(file, got):
		d.seen["departure: the reference answers by hash order"]++
	default:
		d.t.Errorf("Read says %v\nreference %v\n%q\n%x", got, want, file, file)
		if d.differences++; d.differences == 20 {
			d.t.FailNow()
		}
	}
}

func decode(t *testing.T, reply []byte) answer {
	var a answer
	if err := json.Unmarshal(reply, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (t tensorAnswer) tooLarge() bool {
	return slices.ContainsFunc(t.Shape, func(dim uint64) bool { return dim > math.MaxInt })
}

// undecided reports whether the reference, asked often enough, gives the
// answer got as well: its hash table orders tensors with equal offsets
// differently every time.
func (d *differ) undecided(file []byte, got answer) bool {
	for _, reply := range d.rust.ask(slices.Repeat([][]byte{file}, 100)...) {
		if reflect.DeepEqual(decode(d.t, reply), got) {
			return true
		}
	}
	return false
}

// A peer is a program that answers questions, as those in bench/reference do.
type peer struct {
	t  *testing.T
	in io.Writer
	r  *bufio.Reader
}

func startPeer(t *testing.T, name string, args ...string) *peer {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	return &peer{t, in, bufio.NewReader(out)}
}

// ask returns the answer to each question.
func (p *peer) ask(questions ...[]byte) [][]byte {
	wrote := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(p.in)
		for _, q := range questions {
			w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(q))))
			w.Write(q)
		}
		wrote <- w.Flush()
	}()
	answers := make([][]byte, len(questions))
	for i := range answers {
		var length [8]byte
		if _, err := io.ReadFull(p.r, length[:]); err != nil {
			p.t.Fatal(err)
		}
		answers[i] = make([]byte, binary.LittleEndian.Uint64(length[:]))
		if _, err := io.ReadFull(p.r, answers[i]); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := <-wrote; err != nil {
		p.t.Fatal(err)
	}
	return answers
}
