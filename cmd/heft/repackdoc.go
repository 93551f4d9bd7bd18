package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// repackDoc is what repack did, or would do.
type repackDoc struct {
	Schema      int             `json:"schema"`
	Path        string          `json:"path"`   // the model read
	Output      string          `json:"output"` // DST
	DryRun      bool            `json:"dryRun"` // nothing was written
	Files       []repackFileDoc `json:"files"`
	Tensors     int             `json:"tensors"`
	Size        int64           `json:"size"`                 // bytes of the tensors written
	Converted   int64           `json:"converted"`            // bytes of the tensors that --cast converts, before
	Unconverted []string        `json:"unconverted"`          // element types that --cast leaves as they are
	Misaligned  *int            `json:"misaligned,omitempty"` // tensors that do not begin at a multiple of --align
	Shared      int64           `json:"shared"`               // bytes that both files share, by reflink
	Copied      int64           `json:"copied"`               // bytes that the kernel copied
	Seconds     float64         `json:"seconds"`

	align int64
}

type repackFileDoc struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	Header  int64  `json:"header"`
	Tensors int    `json:"tensors"`
}

// newRepackDoc returns what is known before anything is written.
func newRepackDoc(v *repack, l *listing, p *plan) *repackDoc {
	d := &repackDoc{
		Schema: schema, Path: l.name, Output: v.output, DryRun: v.dryRun,
		Tensors: len(p.sources), Size: p.written, Converted: p.converted,
		Unconverted: []string{}, align: int64(v.align),
	}
	for _, t := range p.left {
		d.Unconverted = append(d.Unconverted, t.String())
	}
	if v.align > 0 {
		d.Misaligned = &p.misaligned
	}
	for _, f := range p.files {
		path, h := v.output, f.header
		if v.shardSize > 0 {
			path = filepath.Join(v.output, f.name)
		}
		size := h.DataOffset
		if n := len(h.Tensors); n > 0 {
			size = h.Tensors[n-1].End
		}
		d.Files = append(d.Files, repackFileDoc{path, size, h.DataOffset - 8, len(h.Tensors)})
	}
	return d
}

func (d *repackDoc) show(c *cli) error {
	if c.json {
		return c.document(d)
	}
	if d.DryRun {
		t := newTable(c.screen, head{title: "FILE", cut: true}, head{title: "TENSORS", right: true}, head{title: "SIZE", right: true})
		for _, f := range d.Files {
			t.name(f.Path)
			t.number(int64(f.Tensors))
			t.size(f.Size)
		}
		t.write(c.out)
	}
	if c.quiet {
		return nil
	}
	if len(d.Unconverted) > 0 {
		c.say("left as they are:", strings.Join(d.Unconverted, ", "))
	}
	if d.Misaligned != nil {
		c.say("aligned:", fmt.Sprintf("%d of %s are not at a multiple of %d bytes", *d.Misaligned, plural(d.Tensors, "tensor"), d.align))
	}
	if !d.DryRun {
		c.say("wrote", d.summary())
	}
	return nil
}

// summary says in a line what was written, and how the bytes got there.
func (d *repackDoc) summary() string {
	b := fmt.Appendf(nil, "%s in %s, ", plural(d.Tensors, "tensor"), plural(len(d.Files), "file"))
	b = append(appendSize(b, d.Size), " in "...)
	b = appendDuration(b, time.Duration(d.Seconds*float64(time.Second)))
	separator := ": "
	for _, part := range []struct {
		bytes int64
		how   string
	}{{d.Shared, "shared by reflink"}, {d.Copied, "copied by the kernel"}, {d.Converted, "converted"}} {
		if part.bytes > 0 {
			b = append(appendSize(append(b, separator...), part.bytes), " "+part.how...)
			separator = ", "
		}
	}
	return string(b)
}
