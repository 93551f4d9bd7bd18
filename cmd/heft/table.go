package main

import (
	"bufio"
	"math"
	"slices"
	"strconv"
)

// A screen is what standard output can show.
type screen struct {
	tty   bool // a terminal
	width int  // columns; 0: lines are never cut
	ascii bool // the locale has no other characters
	color bool
}

// A head is the top of a column of a table.
type head struct {
	title string
	right bool // aligned to the right
	cut   bool // where the table is too wide, this column's cells lose their middle
}

// A table lines up cells in columns. Cells are added row by row, left to
// right: append to text, then call end. The text of all cells lies in one
// buffer, so that 100,000 rows cost a handful of allocations.
type table struct {
	screen
	heads []head
	bare  bool // without a line of titles
	exact bool // sizes and counts without units
	text  []byte
	cells []cell
}

type cell struct {
	end   int // of the text in table.text
	width int // in columns
	lead  int // columns at its beginning that it keeps where it is cut
}

func newTable(s screen, heads ...head) *table {
	return &table{screen: s, heads: heads}
}

// reserve makes room for that many rows at once.
func (t *table) reserve(rows int) {
	const usual = 64 // bytes of text in a row
	t.text = slices.Grow(t.text, rows*usual)
	t.cells = slices.Grow(t.cells, rows*len(t.heads))
}

// end ends the cell whose text was appended to t.text.
func (t *table) end() { t.endAfter(0) }

// endAfter ends a cell that, where it is cut, keeps its first columns.
func (t *table) endAfter(lead int) {
	start := 0
	if n := len(t.cells); n > 0 {
		start = t.cells[n-1].end
	}
	t.cells = append(t.cells, cell{len(t.text), width(string(t.text[start:])), lead})
}

// The following add one cell each.

func (t *table) plain(s string)    { t.text = append(t.text, s...); t.end() }
func (t *table) name(s string)     { t.text = appendText(t.text, s, t.ascii); t.end() }
func (t *table) number(n int64)    { t.text = strconv.AppendInt(t.text, n, 10); t.end() }
func (t *table) count(n int64)     { t.text = t.appendCount(t.text, n); t.end() }
func (t *table) size(n int64)      { t.text = t.appendSize(t.text, n); t.end() }
func (t *table) shape(shape []int) { t.text = appendShape(t.text, shape, t.ascii); t.end() }
func (t *table) percent(part, whole int64, decimals int) {
	t.text = appendPercent(t.text, part, whole, decimals)
	t.end()
}

func (t *table) appendCount(dst []byte, n int64) []byte {
	if t.exact {
		return strconv.AppendInt(dst, n, 10)
	}
	return appendCount(dst, n)
}

func (t *table) appendSize(dst []byte, n int64) []byte {
	if t.exact {
		return strconv.AppendInt(dst, n, 10)
	}
	return appendSize(dst, n)
}

// appendShape appends dimensions as 4096×14336; a scalar has none.
func appendShape(dst []byte, shape []int, ascii bool) []byte {
	if len(shape) == 0 {
		return append(dst, "scalar"...)
	}
	for i, d := range shape {
		if i > 0 && ascii {
			dst = append(dst, 'x')
		} else if i > 0 {
			dst = append(dst, "×"...)
		}
		dst = strconv.AppendInt(dst, int64(d), 10)
	}
	return dst
}

const (
	gap      = "  " // between columns
	minWidth = 16   // a column that is cut keeps so much; then lines are cut at the right edge
	minLabel = 8    // behind a lead
	maxWidth = 200  // where lines are not cut, a cell that is wider sticks out: it must not widen each line
)

// write writes the table, titles first.
func (t *table) write(w *bufio.Writer) {
	l := line{w: w, screen: t.screen}
	widths := t.layOut()
	if !t.bare {
		for i, h := range t.heads {
			l.cell(h.title, width(h.title), widths[i], h.right, bold)
		}
		l.newline()
	}
	start := 0
	for row := t.cells; len(row) > 0; row = row[len(t.heads):] {
		last := t.last(row)
		for i, c := range row[:last+1] {
			s, n, limit := string(t.text[start:c.end]), c.width, widths[i]
			start = c.end
			if i == last {
				limit = max(limit, l.room()-min(i, 1)*len(gap))
			}
			if n > limit && t.screen.width > 0 {
				lead := clip(s, min(c.lead, limit))
				s = lead + middle(s[len(lead):], limit-width(lead), t.ascii)
				n = width(s)
			}
			l.cell(s, n, widths[i], t.heads[i].right, t.style(s))
		}
		l.newline()
	}
}

// last returns the last column of a row that is not empty.
func (t *table) last(row []cell) int {
	i := len(t.heads) - 1
	for i > 0 && row[i].end == row[i-1].end {
		i--
	}
	return i
}

// layOut returns the widths of the columns. A cell with nothing behind it, or a
// very wide one, may be wider than its column. On a screen that is too narrow, the column that may
// be cut makes room.
func (t *table) layOut() []int {
	widths, leads := make([]int, len(t.heads)), make([]int, len(t.heads))
	most := maxWidth
	if t.screen.width > 0 {
		most = math.MaxInt
	}
	if !t.bare {
		for i, h := range t.heads {
			widths[i] = width(h.title)
		}
	}
	for row := t.cells; len(row) > 0; row = row[len(t.heads):] {
		last := t.last(row)
		for i, c := range row[:last+1] {
			leads[i] = max(leads[i], c.lead)
			if (i < last || i == len(t.heads)-1) && c.width <= most {
				widths[i] = max(widths[i], c.width)
			}
		}
	}
	if t.screen.width == 0 {
		return widths
	}
	total := len(gap) * (len(t.heads) - 1)
	for _, w := range widths {
		total += w
	}
	for i, h := range t.heads {
		if over := total - t.screen.width; h.cut && over > 0 {
			w := max(min(max(minWidth, leads[i]+minLabel), widths[i]), widths[i]-over)
			total -= widths[i] - w
			widths[i] = w
		}
	}
	return widths
}

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	red   = "\x1b[31m"
	reset = "\x1b[0m"
)

// style dims zeros.
func (t *table) style(s string) string {
	switch s {
	case "0", "0 B", "0%", "0.0%":
		return dim
	}
	return ""
}

// A line writes cells side by side, and nothing beyond the right edge of the
// screen. Blanks are written once something follows them.
type line struct {
	w *bufio.Writer
	screen
	used, blanks int
	begun        bool
}

// cell writes s, which takes n columns, into a column of the given width.
func (l *line) cell(s string, n, width int, right bool, style string) {
	if l.begun {
		l.blanks += len(gap)
	}
	l.begun = true
	pad := max(0, width-n)
	if right {
		l.blanks += pad
		pad = 0
	}
	if s != "" {
		l.print(s, n, style)
	}
	l.blanks += pad
}

func (l *line) print(s string, n int, style string) {
	room := l.room()
	if room <= 0 {
		return
	}
	if n > room {
		s = clip(s, room)
	}
	l.used += l.blanks + n
	for ; l.blanks > 0; l.blanks-- {
		l.w.WriteByte(' ')
	}
	if style == "" || !l.color {
		l.w.WriteString(s)
		return
	}
	l.w.WriteString(style)
	l.w.WriteString(s)
	l.w.WriteString(reset)
}

// room returns how many columns are left.
func (l *line) room() int {
	if l.screen.width == 0 {
		return math.MaxInt
	}
	return l.screen.width - l.used - l.blanks
}

func (l *line) newline() {
	l.w.WriteByte('\n')
	l.used, l.blanks, l.begun = 0, 0, false
}
