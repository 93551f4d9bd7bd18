//go:build !race

package format_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"heft/format"
)

// The race detector has allocations of its own: this file is left out with it.

// hostileHeaders are JSON texts of about n bytes that ask for as much memory or time as they can.
var hostileHeaders = []struct {
	name string
	text func(n int) string
}{
	{"shape of zeros", func(n int) string {
		return `{"a":{"dtype":"U8","shape":[0` + strings.Repeat(",0", n/2) + `],"data_offsets":[0,0]}}`
	}},
	{"many shapes of a zero", func(n int) string {
		return repeat(n, func(i int) string { return fmt.Sprintf(`"%x":["U8",[0],[0,0]]`, i) })
	}},
	{"one-letter metadata keys", func(n int) string {
		return `{"__metadata__":` + repeat(n, func(i int) string { return fmt.Sprintf(`"%c":""`, 'a'+i%26) }) + "}"
	}},
	{"short metadata keys", func(n int) string {
		return `{"__metadata__":` + repeat(n, func(i int) string { return fmt.Sprintf(`"%s":""`, short(i)) }) + "}"
	}},
	{"escaped metadata keys", func(n int) string {
		return `{"__metadata__":` + repeat(n, func(i int) string { return fmt.Sprintf(`"\n%s":"\n"`, short(i)) }) + "}"
	}},
	{"empty names", func(n int) string {
		return repeat(n, func(int) string { return `"":["F4",[],[0,0]]` })
	}},
	{"duplicate names", func(n int) string {
		return repeat(n, func(int) string { return `"abc":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}` })
	}},
	{"duplicate fields", func(n int) string {
		return `{"a":` + repeat(n, func(int) string { return `"x":0` }) + "}"
	}},
	{"deep nesting", func(n int) string {
		return repeat(n, func(i int) string {
			return fmt.Sprintf(`"%x":{"x":%s%s,"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i, strings.Repeat("[", 124), strings.Repeat("]", 124))
		})
	}},
	{"too deep nesting", func(n int) string { return `{"a":` + strings.Repeat("[", n) }},
	{"braces in a name", func(n int) string {
		return `{"` + strings.Repeat("{", n) + `":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`
	}},
	{"escapes in a name", func(n int) string {
		return `{"` + strings.Repeat(`\n`, n/2) + `":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`
	}},
	{"zero-size tensors", func(n int) string {
		return repeat(n, func(i int) string {
			return fmt.Sprintf(`"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`, i)
		})
	}},
	{"tensors in reverse", func(n int) string {
		total := n / 60
		return repeat(n, func(i int) string {
			return fmt.Sprintf(`"t%d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}`, i, max(0, total-i-1), max(0, total-i))
		})
	}},
	{"flawed tensors", func(n int) string {
		return repeat(n, func(i int) string { return fmt.Sprintf(`"%s":["U8",[1],[0,0]]`, short(i)) })
	}},
	{"many tensors and one twice", func(n int) string {
		text := repeat(n, func(i int) string { return fmt.Sprintf(`"%s":["F4",[],[0,0]]`, short(i)) })
		return text[:len(text)-1] + `,"b":["F4",[],[0,0]]}`
	}},
	{"a long shape, then flawed tensors", func(n int) string {
		text := repeat(n*7/10, func(i int) string { return fmt.Sprintf(`"%s":["U8",[1],[0,0]]`, short(i)) })
		return `{"":{"dtype":"U8","shape":[0` + strings.Repeat(",0", n*3/20) + `],"data_offsets":[0,0]},` + text[1:]
	}},
	{"names alike", func(n int) string {
		prefix := strings.Repeat("x", 200)
		return repeat(n, func(i int) string {
			return fmt.Sprintf(`"%s%08d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, prefix, i)
		})
	}},
	{"long number", func(n int) string { return `{"a":{"x":` + strings.Repeat("1", n) + "}}" }},
	{"white space", func(n int) string { return strings.Repeat(" ", n) + "{}" }},
}

// repeat returns an object of about n bytes with the members that member returns.
func repeat(n int, member func(i int) string) string {
	var b strings.Builder
	b.WriteString("{" + member(0))
	for i := 1; b.Len() < n; i++ {
		b.WriteString("," + member(i))
	}
	return b.String() + "}"
}

// short returns the i-th of the shortest different strings.
func short(i int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	s := ""
	for ; i > 0 || s == ""; i /= 64 {
		s += letters[i%64 : i%64+1]
	}
	return s
}

// TestHostileMemory holds Read of hostile headers to 16 bytes allocated, garbage included, a byte of header.
func TestHostileMemory(t *testing.T) {
	const n, most = 1 << 20, 16
	for _, c := range hostileHeaders {
		b := file(c.text(n), 0)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h, err := read(b)
		runtime.ReadMemStats(&after)
		if per := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(b)); per > most {
			t.Errorf("%s: %.1f bytes allocated a byte of header (%v)", c.name, per, err)
		} else {
			t.Logf("%-25s %4.1f bytes a byte of header", c.name, per)
		}
		runtime.KeepAlive(h)
	}
}

// hostileIndexes are indexes of about n bytes that do.
func hostileIndexes(n int) []struct{ name, text string } {
	return []struct{ name, text string }{
		{"many weight maps", repeat(n, func(int) string { return `"weight_map":{}` })},
		{"lines", `{"weight_map":{` + strings.Repeat("\n", n) + `}}`},
		{"short names", `{"weight_map":` + repeat(n, func(i int) string { return fmt.Sprintf(`"%s":"a.safetensors"`, short(i)) }) + "}"},
		{"many shards", `{"weight_map":` + repeat(n, func(i int) string { return fmt.Sprintf(`"%s":"%s.safetensors"`, short(i), short(i)) }) + "}"},
		{"same name", `{"weight_map":` + repeat(n, func(int) string { return `"":"a.safetensors"` }) + "}"},
		{"a name twice", `{"weight_map":` + strings.Replace(repeat(n, func(i int) string { return fmt.Sprintf(`"%s":"a.safetensors"`, short(i)) }), "{", `{"b":"a.safetensors",`, 1) + "}"},
		{"metadata", `{"metadata":{"a":[0` + strings.Repeat(",0", n) + `]},"weight_map":{}}`},
		{"a large weight map, then many", `{"weight_map":` + repeat(n/2, func(i int) string { return fmt.Sprintf(`"%s":"%s.safetensors"`, short(i), short(i)) }) +
			strings.Repeat(`,"weight_map":{"":"a.safetensors"}`, n/70) + "}"},
	}
}

// TestHostileIndexMemory does the same for ReadIndex.
func TestHostileIndexMemory(t *testing.T) {
	const n, most = 1 << 20, 16
	for _, c := range hostileIndexes(n) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		x, err := format.ReadIndex(strings.NewReader(c.text))
		runtime.ReadMemStats(&after)
		if per := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(c.text)); per > most {
			t.Errorf("%s: %.1f bytes allocated a byte of index (%v)", c.name, per, err)
		} else {
			t.Logf("%-25s %4.1f bytes a byte of index", c.name, per)
		}
		runtime.KeepAlive(x)
	}
}

// BenchmarkHostile shows that time is linear in length: the rate is the same for a header and one 16 times as long.
func BenchmarkHostile(b *testing.B) {
	for _, c := range hostileHeaders {
		for _, n := range []int{1 << 18, 1 << 22} {
			header := file(c.text(n), 0)
			b.Run(fmt.Sprintf("%s/%dKiB", c.name, n>>10), func(b *testing.B) {
				b.SetBytes(int64(len(header)))
				for b.Loop() {
					read(header)
				}
			})
		}
	}
	for _, n := range []int{1 << 18, 1 << 22} {
		for _, c := range hostileIndexes(n) {
			b.Run(fmt.Sprintf("index: %s/%dKiB", c.name, n>>10), func(b *testing.B) {
				b.SetBytes(int64(len(c.text)))
				for b.Loop() {
					format.ReadIndex(strings.NewReader(c.text))
				}
			})
		}
	}
}

// TestReadCalls counts the reads: one for a header of up to 64 KiB with its length, else two.
func TestReadCalls(t *testing.T) {
	for _, c := range []struct{ padding, calls int }{{0, 1}, {64<<10 - 8 - 2, 1}, {64<<10 - 8 - 1, 2}, {1 << 20, 2}} {
		b := file("{}"+strings.Repeat(" ", c.padding), 0)
		r := &countingReader{b: b}
		if _, err := format.Read(r, int64(len(b))); err != nil {
			t.Fatal(err)
		}
		if r.calls != c.calls || r.bytes > len(b) {
			t.Errorf("header of %d bytes: %d reads of %d bytes, want %d reads", len(b)-8, r.calls, r.bytes, c.calls)
		}
	}
}

type countingReader struct {
	b            []byte
	calls, bytes int
}

func (r *countingReader) ReadAt(b []byte, off int64) (int, error) {
	r.calls++
	r.bytes += len(b)
	return copy(b, r.b[off:]), nil
}

// TestReadAllocations holds Read to what it promises for large headers.
func TestReadAllocations(t *testing.T) {
	const n = 100_000
	header, size, name := expertFile(n)
	var h *format.Header
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	h, err := format.Read(header, size)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if got := after.Mallocs - before.Mallocs; got > 300 {
		t.Errorf("%d allocations, want at most 300", got)
	}
	if got := float64(after.TotalAlloc-before.TotalAlloc) / n; got > 250 && !purego {
		t.Errorf("%.0f bytes a tensor, want at most 250", got)
	}
	if got := testing.AllocsPerRun(100, func() { h.Lookup(name) }); got != 0 {
		t.Errorf("Lookup allocates %v times", got)
	}
}
