package format_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"heft/format"
	"heft/tensor"
)

type written struct {
	Name     string
	Metadata map[string]string
	Tensors  []struct {
		Name, DType string
		Shape       []json.Number
		Data        string
	}
	File string
}

// TestEncodeAsReference writes what the reference was given and compares the files byte for byte.
func TestEncodeAsReference(t *testing.T) {
	for _, line := range vectors(t, "writer.jsonl") {
		var v written
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		t.Run(v.Name, func(t *testing.T) {
			var entries []format.Entry
			data := map[string][]byte{}
			for _, x := range v.Tensors {
				d, err := tensor.ParseDType(x.DType)
				if err != nil {
					t.Fatal(err)
				}
				if hugeDimension(x.Shape) {
					return // on 32-bit machines
				}
				entries = append(entries, format.Entry{Name: x.Name, DType: d, Shape: ints(x.Shape)})
				data[x.Name], err = hex.DecodeString(x.Data)
				if err != nil {
					t.Fatal(err)
				}
			}
			h, err := format.NewHeader(v.Metadata, entries)
			if err != nil {
				t.Fatal(err)
			}
			var file bytes.Buffer
			if err := format.Encode(&file, h, opener(data)); err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(file.Bytes()); got != v.File {
				t.Errorf("got  %s\nwant %s", got, v.File)
			}
			back, err := read(file.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(h, back, headers); diff != "" {
				t.Errorf("read back (-written +read):\n%s", diff)
			}
		})
	}
}

// headers compares headers by what they say.
var headers = cmp.Transformer("fields", func(h *format.Header) any {
	return struct {
		M map[string]string
		T []format.Entry
		O int64
	}{h.Metadata, h.Tensors, h.DataOffset}
})

func opener(data map[string][]byte) func(string) (io.Reader, error) {
	return func(name string) (io.Reader, error) { return bytes.NewReader(data[name]), nil }
}

func TestNewHeaderEmptyMetadata(t *testing.T) {
	for _, c := range []struct {
		metadata map[string]string
		want     string
	}{
		{nil, "{}      "},
		{map[string]string{}, `{"__metadata__":{}}     `},
		{map[string]string{"b": "2", "a": "1", "c": "3"}, `{"__metadata__":{"a":"1","b":"2","c":"3"}}      `},
	} {
		h, err := format.NewHeader(c.metadata, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := h.MarshalBinary()
		if err != nil || string(b[8:]) != c.want || int64(len(b)) != h.DataOffset || b[0] != byte(len(c.want)) {
			t.Errorf("%v: %q, %v, want %q", c.metadata, b, err, c.want)
		}
		back, err := read(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(h, back, headers); diff != "" {
			t.Errorf("read back (-written +read):\n%s", diff)
		}
	}
}

func TestNewHeaderErrors(t *testing.T) {
	u8 := func(name string, shape ...int) format.Entry {
		return format.Entry{Name: name, DType: tensor.U8, Shape: shape}
	}
	for _, c := range []struct {
		name     string
		metadata map[string]string
		tensors  []format.Entry
		kind     error
		want     string
	}{
		{"metadata's name", nil, []format.Entry{u8("__metadata__", 1)}, format.ErrHeaderJSON, `tensor "__metadata__": the name is taken`},
		{"two of a name", nil, []format.Entry{u8("a", 1), {Name: "a", DType: tensor.F32}}, format.ErrHeaderJSON, `tensor "a": two tensors`},
		{"no type", nil, []format.Entry{{Name: "a"}}, format.ErrHeaderJSON, `tensor "a": unknown dtype`},
		{"name not UTF-8", nil, []format.Entry{u8("\xff", 1)}, format.ErrHeaderUTF8, `tensor "\xff"`},
		{"metadata key not UTF-8", map[string]string{"\xff": ""}, nil, format.ErrHeaderUTF8, "metadata"},
		{"metadata value not UTF-8", map[string]string{"k": "\xff"}, nil, format.ErrHeaderUTF8, `metadata "k"`},
		{"negative dimension", nil, []format.Entry{u8("a", -1)}, format.ErrHeaderJSON, "negative dimension -1"},
		{"inside a byte", nil, []format.Entry{{Name: "a", DType: tensor.F4, Shape: []int{3}}}, format.ErrSubByte, "F4 [3]"},
		{"overflow", nil, []format.Entry{u8("a", math.MaxInt, math.MaxInt, 4, 4)}, format.ErrOverflow, "U8"},
		{"overflow in sum", nil, []format.Entry{u8("a", 1<<30, 1<<30), u8("b", 1<<30, 1<<30), u8("c", 1<<30, 1<<30), u8("d", 1<<30, 1<<30), u8("e", 1<<30, 1<<30), u8("f", 1<<30, 1<<30), u8("g", 1<<30, 1<<30), u8("h", 1<<30, 1<<30)}, format.ErrOverflow, `tensor "h"`},
		{"too large", map[string]string{"k": strings.Repeat(" ", 100_000_000)}, nil, format.ErrHeaderTooLarge, "100000025 bytes"},
	} {
		h, err := format.NewHeader(c.metadata, c.tensors)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %v with %q", c.name, h, err, c.kind, c.want)
		}
	}
}

// TestMarshalKeepsDataOffset reads headers in spellings of their own and writes them back.
func TestMarshalKeepsDataOffset(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       int // DataOffset after writing
	}{
		{"canonical", `{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}   `, 64},
		{"unpadded", `{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 61},
		{"aligned to 256", `{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}` + strings.Repeat(" ", 195), 256},
		{"positional is shorter", `{"a":["U8",[0],[0,0]]}`, 64},
		{"white space before", `  {"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}} `, 64},
	} {
		h, err := read(file(c.text, 0))
		if err != nil {
			t.Fatal(err)
		}
		b, err := h.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		back, err := read(b)
		if err != nil || len(b) != c.want || back.DataOffset != int64(c.want) || len(back.Tensors) != 1 {
			t.Errorf("%s: %d bytes, %+v, %v, want %d", c.name, len(b), back, err, c.want)
		}
	}
}

func TestAlign(t *testing.T) {
	entries := []format.Entry{{Name: "a", DType: tensor.F32, Shape: []int{2}}, {Name: "b", DType: tensor.U8, Shape: []int{3}}}
	h, err := format.NewHeader(map[string]string{"k": "v"}, entries)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{"a": []byte("12345678"), "b": []byte("abc")}
	for _, c := range []struct{ n, want int64 }{{1, 144}, {8, 144}, {64, 192}, {4096, 4096}, {1 << 21, 1 << 21}} {
		aligned, err := h.Align(c.n)
		if err != nil {
			t.Fatal(err)
		}
		if aligned.DataOffset != c.want || h.DataOffset != 144 || h.Tensors[1].End != 144+11 {
			t.Errorf("%d: data at %d, want %d; data of the original at %d", c.n, aligned.DataOffset, c.want, h.DataOffset)
		}
		if e, ok := aligned.Lookup("b"); !ok || e.Begin != c.want+8 || e.Size() != 3 {
			t.Errorf("%d: Lookup: %+v, %t", c.n, e, ok)
		}
		var file bytes.Buffer
		if err := format.Encode(&file, aligned, opener(data)); err != nil {
			t.Fatal(err)
		}
		back, err := read(file.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(aligned, back, headers); diff != "" {
			t.Errorf("%d: read back (-written +read):\n%s", c.n, diff)
		}
		if !bytes.HasSuffix(file.Bytes(), []byte("12345678abc")) || int64(file.Len()) != c.want+11 {
			t.Errorf("%d: %d bytes", c.n, file.Len())
		}
		if again, err := back.Align(c.n); err != nil || again.DataOffset != c.want {
			t.Errorf("%d: aligned again: %+v, %v", c.n, again, err)
		}
	}
	if _, err := h.Align(1 << 27); !errors.Is(err, format.ErrHeaderTooLarge) {
		t.Errorf("2^27: %v", err)
	}
	for _, n := range []int64{-8, 0, 3, 24} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d is taken for an alignment", n)
				}
			}()
			h.Align(n)
		}()
	}
}

// itself is a reader that writes itself, and may be wrong about its length.
type itself struct {
	io.Reader // not to be used
	says      int
	data      string
	err       error
}

func (r itself) Len() int { return r.says }

func (r itself) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, r.data)
	if r.err != nil {
		err = r.err
	}
	return int64(n), err
}

func TestEncodeErrors(t *testing.T) {
	h, err := format.NewHeader(nil, []format.Entry{{Name: "a", DType: tensor.F32, Shape: []int{2}}, {Name: "b", DType: tensor.U8, Shape: []int{0}}})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	eight := func() io.Reader { return strings.NewReader("12345678") }
	none := func() io.Reader { return strings.NewReader("") }
	for _, c := range []struct {
		name string
		a, b func() io.Reader
		kind error
		want string
	}{
		{"right", eight, none, nil, ""},
		{"right, a byte at a time", func() io.Reader { return iotest.OneByteReader(eight()) }, none, nil, ""},
		{"right, EOF with the data", func() io.Reader { return iotest.DataErrReader(eight()) }, none, nil, ""},
		{"short", func() io.Reader { return strings.NewReader("1234567") }, none, format.ErrSize, `tensor "a": 7 bytes of data, but F32 [2] needs 8`},
		{"empty", none, none, format.ErrSize, `tensor "a": 0 bytes`},
		{"long", func() io.Reader { return strings.NewReader("123456789") }, none, format.ErrSize, `tensor "a": more data than the 8 bytes`},
		{"not empty", eight, eight, format.ErrSize, `tensor "b": more data`},
		{"right, writes itself", func() io.Reader { return itself{nil, 8, "12345678", nil} }, none, nil, ""},
		{"short by its own account", func() io.Reader { return itself{nil, 7, "", nil} }, none, format.ErrSize, `tensor "a": 7 bytes of data, but F32 [2] needs 8`},
		{"long by its own account", func() io.Reader { return itself{nil, 9, "", nil} }, none, format.ErrSize, `tensor "a": more data than the 8 bytes`},
		{"shorter than it says", func() io.Reader { return itself{nil, 8, "1234567", nil} }, none, format.ErrSize, `tensor "a": 7 bytes`},
		{"longer than it says", func() io.Reader { return itself{nil, 8, "123456789", nil} }, none, format.ErrSize, `tensor "a": more data`},
		{"fails to write itself", func() io.Reader { return itself{nil, 8, "1234", broken} }, none, broken, `tensor "a": broken`},
		{"short, not writing itself", func() io.Reader { return iotest.HalfReader(strings.NewReader("1234567")) }, none, format.ErrSize, `tensor "a": 7 bytes of data, but F32 [2] needs 8`},
		{"long, not writing itself", func() io.Reader { return iotest.HalfReader(strings.NewReader("123456789")) }, none, format.ErrSize, `tensor "a": more data`},
		{"reader fails", func() io.Reader { return iotest.ErrReader(broken) }, none, broken, `tensor "a": broken`},
		{"reader fails at the end", eight, func() io.Reader { return iotest.ErrReader(broken) }, broken, `tensor "b": broken`},
	} {
		var out bytes.Buffer
		err := format.Encode(&out, h, func(name string) (io.Reader, error) {
			if name == "a" {
				return c.a(), nil
			}
			return c.b(), nil
		})
		if c.kind == nil {
			if err != nil || !strings.HasSuffix(out.String(), "12345678") || int64(out.Len()) != h.DataOffset+8 {
				t.Errorf("%s: %q, %v", c.name, out.String(), err)
			}
			continue
		}
		var e *format.Error
		if !errors.Is(err, c.kind) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.kind, c.want)
		}
	}
	if err := format.Encode(io.Discard, h, func(string) (io.Reader, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("open fails: %v", err)
	}
}

// counting counts the writes.
type counting struct {
	bytes.Buffer
	writes, largest int
	err             error // of the next one
}

func (c *counting) Write(b []byte) (int, error) {
	c.writes++
	c.largest = max(c.largest, len(b))
	if c.err != nil {
		return 0, c.err
	}
	return c.Buffer.Write(b)
}

// around goes its own way to a writer, as a copy in the kernel does.
type around struct {
	*bytes.Reader
	w *counting
}

func (r around) WriteTo(w io.Writer) (int64, error) {
	if err := w.(interface{ Flush() error }).Flush(); err != nil {
		return 0, err
	}
	return r.Reader.WriteTo(r.w)
}

// Data of every size come in their order, whichever way they take; what is
// small is written together, and what is large in steps.
// What a reader says of its own about an end that came too soon is passed on.
func TestEncodeReaderError(t *testing.T) {
	h, err := format.NewHeader(nil, []format.Entry{{Name: "a", DType: tensor.U8, Shape: []int{2}}})
	if err != nil {
		t.Fatal(err)
	}
	truncated := &fs.PathError{Op: "read", Path: "x", Err: io.ErrUnexpectedEOF}
	err = format.Encode(io.Discard, h, func(string) (io.Reader, error) { return iotest.ErrReader(truncated), nil })
	var pe *fs.PathError
	if !errors.As(err, &pe) || pe != truncated || errors.Is(err, format.ErrSize) {
		t.Errorf("got %v", err)
	}
}

func TestEncodeGathers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 1000, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1<<20 + 1}
	for range 4 {
		var entries []format.Entry
		data := map[string][]byte{}
		for i := range 40 {
			name := fmt.Sprint(i)
			data[name] = bytes.Repeat([]byte{byte(i)}, sizes[r.IntN(len(sizes))])
			entries = append(entries, format.Entry{Name: name, DType: tensor.U8, Shape: []int{len(data[name])}})
		}
		h, err := format.NewHeader(nil, entries)
		if err != nil {
			t.Fatal(err)
		}
		want, err := h.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range h.Tensors {
			want = append(want, data[e.Name]...)
		}
		var got counting
		err = format.Encode(&got, h, func(name string) (io.Reader, error) {
			b := bytes.NewReader(data[name])
			return []io.Reader{b, iotest.HalfReader(b), iotest.DataErrReader(b), around{b, &got}}[r.IntN(4)], nil
		})
		if err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("other bytes, %v", err)
		}
	}
}

func TestEncodeWrites(t *testing.T) {
	var entries []format.Entry
	for i := range 1000 {
		entries = append(entries, format.Entry{Name: fmt.Sprint(i), DType: tensor.U8, Shape: []int{1000}})
	}
	small, err := format.NewHeader(nil, entries)
	if err != nil {
		t.Fatal(err)
	}
	large, err := format.NewHeader(nil, []format.Entry{{Name: "w", DType: tensor.U8, Shape: []int{3 << 20}}})
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 3<<20)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"itself":    func(r io.Reader) io.Reader { return r },
		"by a read": iotest.DataErrReader,
	} {
		for _, h := range []*format.Header{small, large} {
			var out counting
			err := format.Encode(&out, h, func(name string) (io.Reader, error) {
				e, _ := h.Lookup(name)
				return wrap(bytes.NewReader(data[:e.Size()])), nil
			})
			if err != nil || out.writes > 14 || out.largest > 1<<20 {
				t.Errorf("%s, %d tensors: %d writes of at most %d bytes, %v", name, len(h.Tensors), out.writes, out.largest, err)
			}
		}
	}
	broken := errors.New("broken")
	for _, h := range []*format.Header{small, large} {
		err := format.Encode(&counting{err: broken}, h, func(name string) (io.Reader, error) {
			e, _ := h.Lookup(name)
			return bytes.NewReader(data[:e.Size()]), nil
		})
		if !errors.Is(err, broken) {
			t.Errorf("%d tensors: %v", len(h.Tensors), err)
		}
	}
}

// closing counts how often it is closed.
type closing struct {
	io.Reader
	closed *int
	err    error
}

func (c closing) Close() error { *c.closed++; return c.err }

func TestEncodeCloses(t *testing.T) {
	h, err := format.NewHeader(nil, []format.Entry{{Name: "a", DType: tensor.U8, Shape: []int{2}}})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for data, want := range map[string]error{"12": broken, "1": format.ErrSize} {
		closed := 0
		err := format.Encode(io.Discard, h, func(string) (io.Reader, error) {
			return closing{strings.NewReader(data), &closed, broken}, nil
		})
		if closed != 1 || !errors.Is(err, want) {
			t.Errorf("%q: closed %d times, %v, want %v", data, closed, err, want)
		}
	}
}
