package format_test

import (
	"bytes"
	stdcmp "cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heft/format"
)

// kinds maps the reference's errors to this package's, in order of precedence.
var kinds = []struct {
	name string
	err  error
}{
	{"HeaderTooSmall", format.ErrHeaderTooSmall},
	{"HeaderTooLarge", format.ErrHeaderTooLarge},
	{"InvalidHeaderLength", format.ErrHeaderLength},
	{"InvalidHeader", format.ErrHeaderUTF8},
	{"InvalidHeaderDeserialization", format.ErrHeaderJSON},
	{"InvalidOffset", format.ErrOffsets},
	{"ValidationOverflow", format.ErrOverflow},
	{"MisalignedSlice", format.ErrSubByte},
	{"TensorInvalidInfo", format.ErrSize},
	{"MetadataIncompleteBuffer", format.ErrCoverage},
}

// kindOf returns the reference's name for an error, which must match exactly one kind.
func kindOf(t testing.TB, err error) string {
	t.Helper()
	found := ""
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			if found != "" {
				t.Errorf("%v is both %s and %s", err, found, k.name)
			}
			found = k.name
		}
	}
	if found == "" {
		t.Errorf("%v is of no kind", err)
	}
	return found
}

func read(file []byte) (*format.Header, error) {
	return format.Read(bytes.NewReader(file), int64(len(file)))
}

// vectors returns the lines of a file of conformance vectors.
func vectors(t testing.TB, name string) []string {
	t.Helper()
	text, err := os.ReadFile("../testdata/conformance/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// hugeDimension tells the files that the reference reads and this package refuses: a dimension does not fit an int.
func hugeDimension(shapes ...[]json.Number) bool {
	return slices.ContainsFunc(shapes, func(shape []json.Number) bool {
		return slices.ContainsFunc(shape, func(dim json.Number) bool {
			_, err := strconv.Atoi(dim.String())
			return err != nil
		})
	})
}

func ints(shape []json.Number) []int {
	out := make([]int, len(shape))
	for i, dim := range shape {
		out[i], _ = strconv.Atoi(dim.String())
	}
	return out
}

type dump struct {
	Name      string
	Metadata  map[string]string
	DataStart int64 `json:"data_start"`
	Tensors   []struct {
		Name       string
		DType      string
		Shape      []json.Number
		Begin, End json.Number
	}
}

func (d dump) huge() bool {
	for _, t := range d.Tensors {
		if hugeDimension(t.Shape) {
			return true
		}
	}
	return false
}

func dumps(t testing.TB) map[string]dump {
	t.Helper()
	all := map[string]dump{}
	for _, line := range vectors(t, "dumps.jsonl") {
		var d dump
		dec := json.NewDecoder(strings.NewReader(line))
		dec.UseNumber()
		if err := dec.Decode(&d); err != nil {
			t.Fatal(err)
		}
		all[d.Name] = d
	}
	return all
}

// TestConformance holds Read to the reference's verdicts, kinds and contents.
func TestConformance(t *testing.T) {
	dumps := dumps(t)
	seen := 0
	for _, line := range vectors(t, "headers.tsv") {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		name, file := vectorFile(t, line)
		row := strings.Split(line, "\t")
		verdict, kind, offender := row[1], row[2], row[3]
		seen++
		t.Run(name, func(t *testing.T) {
			h, err := read(file)
			switch {
			case verdict == "accept":
				d, ok := dumps[name]
				if !ok {
					t.Fatal("no dump")
				}
				if d.huge() {
					if !errors.Is(err, format.ErrOverflow) {
						t.Fatalf("dimension too large for an int: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				compareDump(t, h, d)
			case err == nil:
				t.Fatalf("accepted, the reference says %s", kind)
			default:
				if got := kindOf(t, err); got != kind {
					t.Errorf("%s, the reference says %s: %v", got, kind, err)
				}
				checkOffender(t, err, offender)
			}
		})
	}
	if seen < 160 {
		t.Errorf("only %d vectors", seen)
	}
}

// vectorFile returns the name and the file of a line of headers.tsv.
func vectorFile(t testing.TB, line string) (string, []byte) {
	t.Helper()
	row := strings.Split(line, "\t")
	if len(row) != 5 {
		t.Fatalf("%d columns: %q", len(row), line)
	}
	file, err := hex.DecodeString(row[4])
	if err != nil {
		t.Fatal(err)
	}
	return row[0], file
}

// checkOffender compares the tensor that an error names with the reference's: a JSON string, or an array of which any is right.
func checkOffender(t *testing.T, err error, offender string) {
	t.Helper()
	if offender == "-" {
		return
	}
	var names []string
	if json.Unmarshal([]byte(offender), &names) != nil {
		names = make([]string, 1)
		if err := json.Unmarshal([]byte(offender), &names[0]); err != nil {
			t.Fatal(err)
		}
	}
	var e *format.Error
	if !errors.As(err, &e) || !slices.Contains(names, e.Tensor) {
		t.Errorf("names %q, want one of %q", e.Tensor, names)
	}
}

func compareDump(t *testing.T, h *format.Header, d dump) {
	t.Helper()
	if diff := cmp.Diff(d.Metadata, h.Metadata); diff != "" {
		t.Errorf("metadata (-reference +heft):\n%s", diff)
	}
	if h.DataOffset != d.DataStart {
		t.Errorf("data from %d on, want %d", h.DataOffset, d.DataStart)
	}
	if len(h.Tensors) != len(d.Tensors) {
		t.Fatalf("%d tensors, want %d", len(h.Tensors), len(d.Tensors))
	}
	tensors := slices.Clone(h.Tensors) // the order among empty ones at one place means nothing
	slices.SortFunc(tensors, func(a, b format.Entry) int {
		return stdcmp.Or(stdcmp.Compare(a.Begin, b.Begin), stdcmp.Compare(a.End, b.End), strings.Compare(a.Name, b.Name))
	})
	for i, want := range d.Tensors {
		got := tensors[i]
		shape := ints(want.Shape)
		begin, _ := want.Begin.Int64()
		end, _ := want.End.Int64()
		if diff := cmp.Diff(format.Entry{Name: want.Name, Shape: shape, Begin: begin + d.DataStart, End: end + d.DataStart, DType: got.DType}, got); diff != "" {
			t.Errorf("tensor %d (-reference +heft):\n%s", i, diff)
		}
		if got.DType.String() != want.DType {
			t.Errorf("tensor %q is %v, want %v", want.Name, got.DType, want.DType)
		}
		if e, ok := h.Lookup(want.Name); !ok || e.Begin != got.Begin || e.Name != want.Name {
			t.Errorf("Lookup(%q) = %v, %v", want.Name, e, ok)
		}
	}
	if e, ok := h.Lookup("no such tensor"); ok {
		t.Errorf("Lookup finds %v", e)
	}
}
