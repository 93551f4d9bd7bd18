package format_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"heft/format"
)

// findings returns what Check says, a line each: where, error or warning, what.
func findings(file []byte) []string {
	var lines []string
	for e := range format.Check(bytes.NewReader(file), int64(len(file))) {
		lines = append(lines, finding(e))
	}
	return lines
}

func finding(e *format.Error) string {
	level := "error"
	if e.Warning {
		level = "warning"
	}
	return fmt.Sprintf("%d %s: %v", e.Offset, level, e)
}

func TestCheck(t *testing.T) {
	const u8 = `{"dtype":"U8","shape":[4],"data_offsets":[0,4]}`
	pad := func(text string) string { return text + strings.Repeat(" ", -len(text)&7) }
	for _, c := range []struct {
		name string
		file []byte
		want []string
	}{
		{"sound", file(pad(`{"__metadata__":{"format":"pt"},"a":`+u8+`}`), 4), nil},
		{"empty", nil, []string{"0 error: 0 bytes are no safetensors file: the length of the header takes 8"}},
		{"length", []byte("\x09\x00\x00\x00\x00\x00\x00\x00{}"), []string{"0 error: header of 9 bytes in a file with 2 after the length"}},
		{"not UTF-8", file("{}    \xff ", 0), []string{"14 error: header is not UTF-8: byte 0xff at 14"}},
		{"not JSON", file(`{"a":`+u8+`,}  `, 4), []string{`61 error: '}' where '"' should stand (byte 61)`}},
		{"white space before", file(` {"a":`+u8+`}  `, 4), []string{"8 warning: white space before the header"}},
		{"other white space behind", file(`{"a":`+u8+"}\n  ", 4), []string{"61 warning: header is padded with other white space than spaces"}},
		{"unpadded", file(`{"a":`+u8+`}`, 4), []string{"8 warning: header of 53 bytes is not padded to a multiple of 8"}},
		{"metadata null", file(pad(`{"__metadata__":null,"a":`+u8+`}`), 4), []string{"28 warning: __metadata__ is null"}},
		{"metadata key twice", file(pad(`{"__metadata__":{"k":"1","k":"2"},"a":`+u8+`}`), 4), []string{`33 warning: metadata key "k" stands twice; the last counts`}},
		{"name twice", file(pad(`{"a":`+u8+`,"a":`+u8+`}`), 4), []string{`61 warning: tensor "a": the name stands twice; the last counts`}},
		{"empty name", file(pad(`{"":`+u8+`}`), 4), []string{"9 warning: a tensor has an empty name"}},
		{"escape in name", file(pad(`{"\u001b]8;;x":`+u8+`}`), 4), []string{`9 warning: tensor "\x1b]8;;x": the name has characters that do not print`}},
		{"bidi in name", file(pad(`{"a`+"\u202e"+`b":`+u8+`}`), 4), []string{`9 warning: tensor "a\u202eb": the name has characters that do not print`}},
		{"positional", file(pad(`{"a":["U8",[4],[0,4]]}`), 4), []string{`13 warning: tensor "a": entry is an array: few readers but the reference read it`}},
		{"dtype an object", file(pad(`{"a":{"dtype":{"U8":null},"shape":[4],"data_offsets":[0,4]}}`), 4), []string{`23 warning: tensor "a": dtype is an object: few readers but the reference read it`}},
		{"unknown field", file(pad(`{"a":{"x":[{}],"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`), 4), []string{`14 warning: tensor "a": unknown field "x"`}},
		{"order", file(pad(`{"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]},"a":`+u8+`}`), 8), []string{"8 warning: header lists tensors out of offset order"}},
		{"misaligned", file(pad(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"F32","shape":[],"data_offsets":[1,5]}}`), 5),
			[]string{`61 warning: tensor "a": data at byte 121 of the file is not aligned to the 4 bytes of F32`}},
		{"unknown dtype, and the rest", file(pad(`{"a":{"dtype":"F128","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,9]}}`), 9), []string{
			`22 error: tensor "a": unknown dtype "F128" (byte 22)`,
			`63 error: tensor "b": data_offsets [4, 9] leave a hole of 4 bytes from 0 on`,
			`63 error: tensor "b": data_offsets [4, 9] hold 5 bytes but U8 [4] needs 4`}},
		{"entry is nonsense, and not JSON", file(pad(`{"a":{"dtype":1,x}}`), 0), []string{`22 error: tensor "a": '1' where '"' should stand (byte 22)`}},
		{"overlap and trailing", file(pad(`{"a":`+u8+`,"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}`), 30), []string{
			`61 error: tensor "b": data_offsets [2, 6] overlap "a" by 2 bytes`,
			"126 error: 24 bytes at the end of the file belong to no tensor"}},
		{"hole and truncated", file(pad(`{"a":`+u8+`,"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}}`), 3), []string{
			`61 error: tensor "b": data_offsets [6, 10] leave a hole of 2 bytes from 4 on`,
			"123 error: 7 bytes are missing: the tensors take 10, the file has 3"}},
		{"reversed", file(pad(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}`), 0), []string{
			`9 error: tensor "a": data_offsets [4, 0] end before they begin`,
			`9 error: tensor "a": data_offsets [4, 0] hold 18446744073709551612 bytes but U8 [4] needs 4`}},
		{"empty inside", file(pad(`{"a":`+u8+`,"z":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}`), 4), []string{
			`61 error: tensor "z": data_offsets [2, 2] are inside "a"`}},
		{"inside a byte", file(pad(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`), 2), []string{`9 error: tensor "a": F4 [3] does not fill whole bytes`}},
		{"overflow", file(pad(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`), 0), []string{`9 error: tensor "a": U8 [4294967296 4294967296] takes 2^64 bits or more`}},
		{"dimension", file(pad(`{"a":{"dtype":"U8","shape":[0,9223372036854775808],"data_offsets":[0,0]}}`), 0), []string{fmt.Sprintf(`9 error: tensor "a": a dimension is larger than %d, the largest int`, int(^uint(0)>>1))}},
	} {
		if c.name == "overflow" && int(^uint(0)>>1) == 1<<31-1 {
			c.want[0] = `9 error: tensor "a": U8 [0 0] takes 2^64 bits or more`
		}
		if diff := cmp.Diff(c.want, findings(c.file)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestCheckAgreesWithRead holds that Check finds an error exactly where Read refuses, and Read's among them.
func TestCheckAgreesWithRead(t *testing.T) {
	for _, line := range vectors(t, "headers.tsv") {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		name, b := vectorFile(t, line)
		_, err := read(b)
		found, same := false, false
		for e := range format.Check(bytes.NewReader(b), int64(len(b))) {
			found = found || !e.Warning
			same = same || !e.Warning && err != nil && e.Error() == err.Error()
		}
		if found != (err != nil) {
			t.Errorf("%s: Read: %v, Check: %v", name, err, findings(b))
		}
		if err != nil && !same {
			t.Errorf("%s: Read: %v is not in Check: %v", name, err, findings(b))
		}
	}
}

// TestCheckStops breaks out of Check at each of its findings.
func TestCheckStops(t *testing.T) {
	b := file("\t"+`{"":{"x":0,"dtype":"F32","shape":[],"data_offsets":[1,5]},"a":["F32",[],[0,4]],"a":{"dtype":"?"},"__metadata__":null}`+"\n", 12)
	total := len(findings(b))
	if total < 10 {
		t.Fatalf("only %d findings: %q", total, findings(b))
	}
	for stop := 1; stop <= total; stop++ {
		n := 0
		for range format.Check(bytes.NewReader(b), int64(len(b))) {
			if n++; n == stop {
				break
			}
		}
		if n != stop {
			t.Errorf("stopped after %d of %d", n, stop)
		}
	}
}

func TestCheckReaderFails(t *testing.T) {
	var got []*format.Error
	for e := range format.Check(readerAt{}, 100) {
		got = append(got, e)
	}
	if len(got) != 1 || got[0].Warning || !errors.Is(got[0], iotest.ErrTimeout) {
		t.Errorf("got %v, want one timeout", got)
	}
}

type readerAt struct{}

func (readerAt) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }

func TestIndexCheck(t *testing.T) {
	header := func(names ...string) *format.Header {
		var entries []format.Entry
		for _, n := range names {
			entries = append(entries, format.Entry{Name: n, DType: 1, Shape: []int{8}})
		}
		h, err := format.NewHeader(nil, entries)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, c := range []struct {
		name, index string
		headers     []*format.Header
		want        []string
	}{
		{"sound", `{"metadata":{"total_size":16},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}`, []*format.Header{header("a"), header("b")}, nil},
		{"shard missing", `{"metadata":{"total_size":16},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}`, []*format.Header{header("a"), nil},
			[]string{`0 error: shard "2.safetensors" is missing or cannot be read`}},
		{"stale", `{"weight_map":{"a":"1.safetensors","b":"1.safetensors"}}`, []*format.Header{header("a")},
			[]string{`0 error: tensor "b": not in shard "1.safetensors", where the index has it`}},
		{"not indexed", `{"weight_map":{"a":"1.safetensors"}}`, []*format.Header{header("a", "b")},
			[]string{`128 warning: tensor "b": in shard "1.safetensors" but not in the index`}},
		{"in two shards", `{"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}`, []*format.Header{header("a", "b"), header("b")},
			[]string{`128 warning: tensor "b": in shard "1.safetensors" too; the index has it in "2.safetensors"`}},
		{"total_size", `{"metadata":{"total_size":15},"weight_map":{"a":"1.safetensors"}}`, []*format.Header{header("a")},
			[]string{"0 warning: total_size of the index is 15, but its tensors have 8 bytes"}},
	} {
		x, err := format.ReadIndex(strings.NewReader(c.index))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for e := range x.Check(c.headers) {
			got = append(got, finding(e))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if len(c.want) > 0 {
			for range x.Check(c.headers) {
				break // must not go on
			}
		}
	}
}
