package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// A column is what inspect can show of a tensor, and sort by.
type column struct {
	name    string
	right   bool
	cell    func(t *table, l *listing, r *row)
	compare func(a, b *row) int // sizes and counts: the largest first
}

// columns is the table of columns, in the order of the help.
var columns = []column{
	{"name", false,
		func(t *table, _ *listing, r *row) { t.name(r.Name) },
		func(a, b *row) int { return natural(a.Name, b.Name) }},
	{"dtype", false,
		func(t *table, _ *listing, r *row) { t.plain(dtypeName(r.DType)) },
		func(a, b *row) int { return cmp.Compare(b.DType, a.DType) }},
	{"shape", false,
		func(t *table, _ *listing, r *row) { t.shape(r.Shape) },
		func(a, b *row) int { return slices.Compare(a.Shape, b.Shape) }},
	{"params", true,
		func(t *table, _ *listing, r *row) { t.count(r.params) },
		func(a, b *row) int { return cmp.Compare(b.params, a.params) }},
	{"size", true,
		func(t *table, _ *listing, r *row) { t.size(r.Size()) },
		func(a, b *row) int { return cmp.Compare(b.Size(), a.Size()) }},
	{"offset", true,
		func(t *table, _ *listing, r *row) { t.number(r.Begin) },
		func(a, b *row) int { return cmp.Compare(a.Begin, b.Begin) }},
	{"file", false,
		func(t *table, l *listing, r *row) { t.name(filepath.Base(l.files[r.file].path)) },
		func(a, b *row) int { return cmp.Compare(a.file, b.file) }},
	{"align", true,
		func(t *table, _ *listing, r *row) { t.number(alignment(r.Begin)) },
		func(a, b *row) int { return cmp.Compare(alignment(b.Begin), alignment(a.Begin)) }},
	{"cached", true,
		func(t *table, _ *listing, r *row) {
			if r.cached < 0 {
				t.plain("?")
			} else if t.exact {
				t.number(r.cached)
			} else {
				t.percent(r.cached, r.Size(), 0)
			}
		},
		func(a, b *row) int { return cmp.Compare(b.cached, a.cached) }},
}

const defaultColumns = "name,dtype,shape,size"

func columnNames() []string {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	return names
}

// findColumn looks a column up by its name.
func findColumn(name string) (*column, error) {
	for i := range columns {
		if columns[i].name == name {
			return &columns[i], nil
		}
	}
	names := columnNames()
	hint := didYouMean(name, slices.Values(names))
	if hint == "" {
		hint = "columns are " + strings.Join(names, ", ")
	}
	return nil, &failure{err: fmt.Errorf("no column %q", name), hint: hint}
}

// parseColumns reads a list of columns. If all of them have a +, they are
// added to the default.
func parseColumns(list string) ([]*column, error) {
	names := strings.Split(list, ",")
	if !slices.ContainsFunc(names, func(n string) bool { return !strings.HasPrefix(n, "+") }) {
		names = append(strings.Split(defaultColumns, ","), names...)
	}
	cols := make([]*column, len(names))
	for i, n := range names {
		col, err := findColumn(strings.TrimPrefix(strings.TrimSpace(n), "+"))
		if err != nil {
			return nil, err
		}
		cols[i] = col
	}
	return cols, nil
}
