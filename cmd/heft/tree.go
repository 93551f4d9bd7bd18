package main

import (
	"fmt"
	"math"

	"github.com/spf13/pflag"
)

// tree is the verb that shows modules with their sums.
type tree struct {
	selection
	depth uint
	all   bool
}

func (v *tree) flags(f *pflag.FlagSet) {
	f.UintVarP(&v.depth, "depth", "d", math.MaxUint, "show `N` levels")
	f.BoolVarP(&v.all, "all", "a", false, "fold nothing: every layer, like others or not")
	v.selection.flags(f)
}

func (v *tree) run(c *cli, args []string) error {
	l, patterns, err := openHeaders(args)
	if err != nil {
		return err
	}
	defer l.close()
	rows, err := l.pick(&v.selection, patterns)
	if err != nil {
		return err
	}
	root := plant(rows)
	top := &branch{label: l.name, alike: 1, sum: root.sum, kids: root.branches(1, !v.all)}
	if c.json {
		return c.document(treeDoc{schema, l.name, root.size, root.params, root.tensors, documents(top.kids, v.depth)})
	}
	p := treePrinter{whole: root.size}
	for i := range rows {
		p.dtypeWidth = max(p.dtypeWidth, len(dtypeName(rows[i].DType)))
	}
	p.table = newTable(c.screen, head{title: "SIZE", right: true}, head{title: "SHARE", right: true}, head{cut: true}, head{})
	p.branch(top, "", "", v.depth)
	p.write(c.out)
	return nil
}

// A treePrinter lays a tree out in a table.
type treePrinter struct {
	*table
	whole      int64 // bytes of the root
	dtypeWidth int
}

// branch adds the line of b, and of what is in it down to the given depth.
// What stands before the line of b is lead, before those of its kids indent.
func (p *treePrinter) branch(b *branch, lead, indent string, depth uint) {
	p.size(b.size)
	p.percent(b.size, p.whole, 1)
	p.text = append(p.text, lead...)
	p.text = appendText(p.text, b.label, p.ascii)
	p.endAfter(width(lead))
	p.note(b)
	if depth == 0 {
		return
	}
	forkHere, forkLast, stem := "├─ ", "└─ ", "│  "
	if p.ascii {
		forkHere, forkLast, stem = "|- ", "`- ", "|  "
	}
	for i, k := range b.kids {
		if i == len(b.kids)-1 {
			forkHere, stem = forkLast, "   "
		}
		p.branch(k, indent+forkHere, indent+stem, depth-1)
	}
}

// note adds the cell that says what a branch is.
func (p *treePrinter) note(b *branch) {
	if b.tensor != nil {
		p.text = fmt.Appendf(p.text, "%-*s  ", p.dtypeWidth, dtypeName(b.tensor.DType))
		p.text = appendShape(p.text, b.tensor.Shape, p.ascii)
		if b.alike > 1 {
			p.text = append(p.text, ", "...)
		}
	}
	if b.alike > 1 {
		p.text = fmt.Appendf(p.text, "%d alike, ", b.alike)
		p.text = append(appendSize(p.text, b.each), " each"...)
	}
	p.end()
}

// treeDoc is what tree says of a model; sums are of the tensors selected.
type treeDoc struct {
	Schema     int          `json:"schema"`
	Path       string       `json:"path"`
	Size       int64        `json:"size"` // bytes of all tensors
	Parameters int64        `json:"parameters"`
	Count      int64        `json:"count"` // of tensors
	Modules    []*branchDoc `json:"modules"`
}

// branchDoc is a module, a tensor, or a run of them that are alike.
type branchDoc struct {
	Name    string       `json:"name"` // relative to the module it is in
	Size    int64        `json:"size"`
	Params  int64        `json:"params"`
	Count   int64        `json:"count"`           // of tensors
	Alike   int          `json:"alike"`           // how many modules or tensors this stands for
	DType   string       `json:"dtype,omitempty"` // of a tensor
	Shape   *[]int       `json:"shape,omitempty"` // of a tensor
	Modules []*branchDoc `json:"modules,omitempty"`
}

// documents returns the documents of branches down to the given depth.
func documents(branches []*branch, depth uint) []*branchDoc {
	docs := []*branchDoc{}
	if depth == 0 {
		return docs
	}
	for _, b := range branches {
		d := &branchDoc{Name: b.label, Size: b.size, Params: b.params, Count: b.tensors, Alike: b.alike}
		if b.tensor != nil {
			d.DType = dtypeName(b.tensor.DType)
			shape := jsonShape(b.tensor.Shape)
			d.Shape = &shape
		}
		d.Modules = documents(b.kids, depth-1)
		docs = append(docs, d)
	}
	return docs
}
