package main

import (
	"slices"
)

// The JSON documents of the command. Fields are only ever added; schema
// changes if one ever has to change its meaning.

const schema = 1

// modelDoc is what inspect says of a model.
type modelDoc struct {
	Schema     int               `json:"schema"`          // 1
	Path       string            `json:"path"`            // the model, as the command line names it
	Error      string            `json:"error,omitempty"` // why the rest is only what could be read of a broken model
	Size       int64             `json:"size"`            // bytes of all tensors
	Parameters int64             `json:"parameters"`      // elements of all tensors
	Metadata   map[string]string `json:"metadata"`        // null if there is none; of shards, what all agree on
	Files      []fileDoc         `json:"files"`
	Tensors    []tensorDoc       `json:"tensors"` // those selected, in the order asked for
}

type fileDoc struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`   // bytes of the file
	Header int64  `json:"header"` // bytes of the header, without the eight of its length
}

type tensorDoc struct {
	Name   string `json:"name"`
	DType  string `json:"dtype"`
	Shape  []int  `json:"shape"` // [] for a scalar
	Params int64  `json:"params"`
	Size   int64  `json:"size"`             // bytes
	Offset int64  `json:"offset"`           // from the start of the file
	File   int    `json:"file"`             // which of files, from 0
	Align  int64  `json:"align"`            // the largest power of two that divides offset
	Cached *int64 `json:"cached,omitempty"` // bytes in the page cache, if asked for and known
}

// document returns what inspect says of the model and of the rows.
func (v *inspect) document(l *listing, rows []row, cols []*column) *modelDoc {
	d := &modelDoc{schema, l.name, "", l.size, l.params, l.metadata, []fileDoc{}, []tensorDoc{}}
	if l.err != nil {
		d.Error = l.err.Error()
	}
	for _, f := range l.files {
		d.Files = append(d.Files, fileDoc{f.path, f.size, f.header.DataOffset - 8})
	}
	if v.summary {
		return d
	}
	cached := slices.ContainsFunc(cols, func(c *column) bool { return c.name == "cached" })
	d.Tensors = make([]tensorDoc, len(rows))
	for i := range rows {
		r := &rows[i]
		d.Tensors[i] = tensorDoc{r.Name, dtypeName(r.DType), jsonShape(r.Shape), r.params, r.Size(), r.Begin, r.file, alignment(r.Begin), nil}
		if cached && r.cached >= 0 {
			d.Tensors[i].Cached = &r.cached
		}
	}
	return d
}

// jsonShape returns a shape that is [] where there is none, not null.
func jsonShape(shape []int) []int {
	if shape == nil {
		return []int{}
	}
	return shape
}
