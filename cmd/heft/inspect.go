package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// inspect is the verb that lists what a model holds.
type inspect struct {
	selection
	output   string
	sort     string
	reverse  bool
	limit    uint
	bytes    bool
	summary  bool
	null     bool
	noHeader bool
}

func (v *inspect) flags(f *pflag.FlagSet) {
	f.StringVarP(&v.output, "output", "o", defaultColumns, "show `COLS`; +COL adds. There are\n"+strings.Join(columnNames(), " "))
	f.StringVarP(&v.sort, "sort", "s", "", "sort by `COL`; sizes and counts largest first")
	f.BoolVarP(&v.reverse, "reverse", "r", false, "reverse the order")
	f.UintVarP(&v.limit, "limit", "n", math.MaxUint, "list the first `N` only")
	v.selection.flags(f)
	f.BoolVarP(&v.bytes, "bytes", "b", false, "exact sizes and counts")
	f.BoolVar(&v.summary, "summary", false, "only the summary")
	f.BoolVarP(&v.null, "null", "0", false, "only names, each ended by a NUL, for xargs -0")
	f.BoolVar(&v.noHeader, "no-header", false, "no line of titles above the tensors")
}

func (v *inspect) run(c *cli, args []string) error {
	cols, err := parseColumns(v.output)
	if err != nil {
		return err
	}
	if v.null && c.screen.tty {
		return &failure{err: fmt.Errorf("-0 writes names as they are, which a terminal might obey"), hint: "pipe it into xargs -0"}
	}
	l, patterns, broken := openHeaders(args)
	if broken != nil && len(l.files) == 0 {
		return broken
	}
	defer l.close()
	rows, err := l.pick(&v.selection, patterns)
	if err != nil {
		return cmp.Or(broken, err)
	}
	selected := len(rows)
	if err := v.arrange(l, rows, cols); err != nil {
		return err
	}
	rows = rows[:min(uint(len(rows)), v.limit)]
	switch {
	case v.null:
		for i := range rows {
			c.out.WriteString(rows[i].Name)
			c.out.WriteByte(0)
		}
	case c.json:
		err = c.document(v.document(l, rows, cols))
	default:
		v.print(c, l, rows, selected, cols)
	}
	return cmp.Or(broken, err)
}

// arrange puts rows into the order asked for, and looks up what is cached if a
// column shows it or the order depends on it.
func (v *inspect) arrange(l *listing, rows []row, cols []*column) error {
	var by *column
	if v.sort != "" {
		var err error
		if by, err = findColumn(v.sort); err != nil {
			return err
		}
		cols = append(slices.Clip(cols), by)
	}
	if slices.ContainsFunc(cols, func(c *column) bool { return c.name == "cached" }) {
		l.lookUpCached(rows)
	}
	if by != nil {
		slices.SortStableFunc(rows, func(a, b row) int { return by.compare(&a, &b) })
	}
	if v.reverse {
		slices.Reverse(rows)
	}
	return nil
}

// print writes the summary and the table of tensors.
func (v *inspect) print(c *cli, l *listing, rows []row, selected int, cols []*column) {
	if !c.quiet || v.summary {
		l.printSummary(c, v.bytes)
	}
	if v.summary || len(l.tensors) == 0 {
		return
	}
	if !c.quiet {
		c.out.WriteByte('\n')
	}
	heads := make([]head, len(cols))
	for i, col := range cols {
		heads[i] = head{strings.ToUpper(col.name), col.right, col.name == "name"}
	}
	t := newTable(c.screen, heads...)
	t.bare = v.noHeader
	t.exact = v.bytes
	t.reserve(len(rows))
	for i := range rows {
		for _, col := range cols {
			col.cell(t, l, &rows[i])
		}
	}
	t.write(c.out)
	if len(rows) < selected && !c.quiet {
		what := "tensors"
		if selected < len(l.tensors) {
			what = "selected tensors"
		}
		fmt.Fprintf(c.out, "%d of %d %s\n", len(rows), selected, what)
	}
}
