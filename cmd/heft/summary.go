package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"heft/tensor"
)

// printSummary writes what the model is as a whole.
func (l *listing) printSummary(c *cli, exact bool) {
	t := newTable(c.screen, head{})
	t.bare, t.exact = true, exact
	sums := fmt.Appendf(nil, ": %s, %s, ", plural(len(l.files), "file"), plural(len(l.tensors), "tensor"))
	sums = append(t.appendCount(sums, l.params), " parameter"...)
	if l.params != 1 {
		sums = append(sums, 's')
	}
	sums = t.appendSize(append(sums, ", "...), l.size)
	name := string(appendText(nil, l.name, t.ascii))
	if t.screen.width > 0 {
		name = middle(name, max(minWidth, t.screen.width-len(sums)), t.ascii)
	}
	t.plain(name + string(sums))
	t.write(c.out)
	c.out.WriteByte('\n')
	if len(l.tensors) > 0 {
		l.printDTypes(c, exact)
		c.out.WriteByte('\n')
	}
	t = newTable(c.screen, head{}, head{})
	t.bare, t.exact = true, exact
	t.plain("metadata")
	t.plain(metadataLine(l.metadata, t.ascii))
	t.plain("layout")
	t.plain(l.layout())
	t.plain("cached")
	if cached, ok := l.cached(); ok {
		t.text = t.appendSize(t.text, cached)
		t.text = append(t.text, " ("...)
		t.text = appendPercent(t.text, cached, l.size, 1)
		t.text = append(t.text, ')')
		t.end()
	} else {
		t.plain("?")
	}
	t.write(c.out)
}

// printDTypes writes the table of element types, the one with most bytes first.
func (l *listing) printDTypes(c *cli, exact bool) {
	type sum struct {
		d             tensor.DType
		count         int64
		params, bytes int64
	}
	sums := map[tensor.DType]*sum{}
	for i := range l.tensors {
		r := &l.tensors[i]
		s := sums[r.DType]
		if s == nil {
			s = &sum{d: r.DType}
			sums[r.DType] = s
		}
		s.count++
		s.params += r.params
		s.bytes += r.Size()
	}
	t := newTable(c.screen, head{title: "DTYPE"}, head{title: "TENSORS", right: true}, head{title: "PARAMETERS", right: true},
		head{title: "SIZE", right: true}, head{title: "SHARE", right: true})
	t.exact = exact
	for _, s := range slices.SortedFunc(maps.Values(sums), func(a, b *sum) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(b.d, a.d))
	}) {
		t.plain(dtypeName(s.d))
		t.number(s.count)
		t.count(s.params)
		t.size(s.bytes)
		t.percent(s.bytes, l.size, 1)
	}
	t.write(c.out)
}

func dtypeName(d tensor.DType) string {
	if !d.Valid() {
		return "?" // in a broken file
	}
	return d.String()
}

// plural returns "1 file", "2 files".
func plural[T int | int64](n T, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatInt(int64(n), 10) + " " + what + "s"
}

// metadataLine returns the beginning of the metadata in one line: key=value,
// or for long values their size.
func metadataLine(metadata map[string]string, ascii bool) string {
	const keys, length = 6, 80
	if len(metadata) == 0 {
		return "none"
	}
	var b []byte
	for i, k := range slices.SortedFunc(maps.Keys(metadata), natural) {
		if i == keys && len(metadata) > keys+1 {
			b = fmt.Appendf(b, "  and %d more: heft meta", len(metadata)-keys)
			break
		}
		if i > 0 {
			b = append(b, gap...)
		}
		if len(k) > length {
			k = k[:length] // quoted, where that cuts a rune
		}
		b = appendWord(b, k, ascii)
		b = append(b, '=')
		if v := metadata[k]; len(v) > length {
			b = append(appendSize(append(b, '('), int64(len(v))), ')')
		} else {
			b = appendWord(b, v, ascii)
		}
	}
	return string(b)
}

// appendWord appends s as appendText does, and quoted also if it has blanks.
func appendWord(dst []byte, s string, ascii bool) []byte {
	if strings.ContainsAny(s, " \"=") && printable(s, ascii) {
		return strconv.AppendQuote(dst, s)
	}
	return appendText(dst, s, ascii)
}

// layout returns what can be said of where the data lies.
func (l *listing) layout() string {
	switch {
	case isBroken(l.err):
		return "broken; what follows is what could be read"
	case l.err != nil:
		return "not known; what follows is what could be read"
	}
	s := "sound; every byte accounted for"
	var data int64 // all offsets of data: their lowest bit is that of the least aligned
	for _, f := range l.files {
		data |= f.header.DataOffset
	}
	if data != 0 {
		s += fmt.Sprintf("; data aligned to %s", plural(alignment(data), "byte"))
	}
	misaligned := 0
	for i := range l.tensors {
		if r := &l.tensors[i]; alignment(r.Begin)*8 < int64(r.DType.Bits()) && r.Size() > 0 {
			misaligned++
		}
	}
	if misaligned > 0 {
		s += fmt.Sprintf("; %s not aligned to their type", plural(misaligned, "tensor"))
	}
	return s
}

// alignment returns the largest power of two that divides an offset, which is positive.
func alignment(offset int64) int64 { return offset & -offset }

// cached returns how many bytes of the model are in the page cache, if the kernel tells.
func (l *listing) cached() (int64, bool) {
	if l.model == nil {
		return 0, false
	}
	r, err := l.model.Module("")
	if err != nil {
		return 0, false
	}
	n, err := r.Resident()
	return n, err == nil
}

// lookUpCached finds out how much of each tensor is in the page cache.
func (l *listing) lookUpCached(rows []row) {
	for i := range rows {
		rows[i].cached = -1
		if l.model == nil {
			continue
		}
		r, err := l.model.Region(rows[i].Name)
		if err != nil {
			continue
		}
		if n, err := r.Resident(); err == nil {
			rows[i].cached = n
		}
	}
}
