package format_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"heft/format"
)

// headerOnly is a file of which only the header is there; behind it are zeros.
type headerOnly []byte

func (h headerOnly) ReadAt(b []byte, off int64) (int, error) {
	n := copy(b, h[min(off, int64(len(h))):])
	clear(b[n:])
	return len(b), nil
}

// expertFile returns a file's header as of a mixture of experts: n tensors in
// file order, and the name of one of them. There are no data: Read does not
// look, and the size is made up.
func expertFile(n int) (header headerOnly, size int64, name string) {
	var text strings.Builder
	text.WriteString(`{"__metadata__":{"format":"pt"}`)
	const each int64 = 7168 * 2048
	for i := range n {
		name = fmt.Sprintf("model.layers.%d.mlp.experts.%d.down_proj.weight", i/256, i%256)
		fmt.Fprintf(&text, `,"%s":{"dtype":"F8_E4M3","shape":[7168,2048],"data_offsets":[%d,%d]}`, name, int64(i)*each, int64(i+1)*each)
	}
	text.WriteString("}")
	for text.Len()%8 != 0 {
		text.WriteByte(' ')
	}
	header = binary.LittleEndian.AppendUint64(nil, uint64(text.Len()))
	header = append(header, text.String()...)
	return header, int64(len(header)) + int64(n)*each, name
}

func BenchmarkRead(b *testing.B) {
	for _, n := range []int{300, 10_000, 100_000} {
		header, size, name := expertFile(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(header)))
			b.ReportAllocs()
			for b.Loop() {
				h, err := format.Read(header, size)
				if err != nil {
					b.Fatal(err)
				}
				if _, ok := h.Lookup(name); !ok {
					b.Fatal("not found")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/tensor")
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	header, size, name := expertFile(10_000)
	h, err := format.Read(header, size)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := h.Lookup(name); !ok {
			b.Fatal("not found")
		}
	}
}
