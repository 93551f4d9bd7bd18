package main

import (
	"slices"
	"strconv"
	"strings"

	"heft/format"
)

// A node is a module or a tensor, or both, in the tree that dots in names make.
type node struct {
	segment string // of the name
	kids    []*node
	tensor  *format.Entry // nil: only a module
	kind    int           // alike nodes, and only they, have the same
	sum
}

// A sum is what a module adds up to.
type sum struct{ size, params, tensors int64 }

func (s *sum) add(o sum) {
	s.size += o.size
	s.params += o.params
	s.tensors += o.tensors
}

// times returns the sum of n modules that are alike.
func (s sum) times(n int64) sum { return sum{s.size * n, s.params * n, s.tensors * n} }

// maxDepth limits the depth of the tree: what follows in a name is one segment.
const maxDepth = 64

// plant makes the tree of the tensors in rows, and returns its root.
func plant(rows []row) *node {
	type edge struct {
		parent  *node
		segment string
	}
	root := &node{}
	nodes := make(map[edge]*node, 2*len(rows))
	for i := range rows {
		n, rest, more := root, rows[i].Name, true
		for depth := 0; more; depth++ {
			s := rest
			if more = false; depth < maxDepth {
				s, rest, more = strings.Cut(rest, ".")
			}
			kid := nodes[edge{n, s}]
			if kid == nil {
				kid = &node{segment: s}
				nodes[edge{n, s}] = kid
				n.kids = append(n.kids, kid)
			}
			n = kid
		}
		n.tensor = &rows[i].Entry
		n.add(sum{rows[i].Size(), rows[i].params, 1})
	}
	root.finish(map[string]int{})
	return root
}

// finish sorts the kids, adds up the sums, and gives the node its kind: a
// number for the text that says what there is in it, in terms of the kinds of
// its kids.
func (n *node) finish(kinds map[string]int) {
	slices.SortFunc(n.kids, func(a, b *node) int { return natural(a.segment, b.segment) })
	var text []byte
	if n.tensor != nil {
		text = append(text, n.tensor.DType.String()...)
		for _, d := range n.tensor.Shape {
			text = strconv.AppendInt(append(text, ' '), int64(d), 10)
		}
	}
	for _, k := range n.kids {
		k.finish(kinds)
		n.add(k.sum)
		text = strconv.AppendInt(append(text, '\n'), int64(k.kind), 10)
		text = strconv.AppendQuote(text, k.segment)
	}
	kind, ok := kinds[string(text)]
	if !ok {
		kind = len(kinds)
		kinds[string(text)] = kind
	}
	n.kind = kind
}

// A branch is a line of the tree as it is shown: nodes that are alike and
// follow each other are one branch, and a module that holds nothing but
// another is one with it.
type branch struct {
	label  string
	alike  int           // how many nodes this stands for
	tensor *format.Entry // the tensor, or one of those that are alike
	each   int64         // bytes of one of them
	sum                  // of all
	kids   []*branch
}

// branches returns the branches for the kids of a node that stands for the
// given number of nodes that are alike.
func (n *node) branches(times int64, fold bool) []*branch {
	var out []*branch
	for i := 0; i < len(n.kids); {
		k := n.kids[i]
		run := 1
		for fold && i+run < len(n.kids) && follows(n.kids[i+run-1], n.kids[i+run]) {
			run++
		}
		b := &branch{label: k.segment, alike: run, tensor: k.tensor, each: k.size, sum: k.sum.times(times * int64(run))}
		if run > 1 {
			b.label = "{" + k.segment + ".." + n.kids[i+run-1].segment + "}"
		}
		b.kids = k.branches(times*int64(run), fold)
		if len(b.kids) == 1 && b.tensor == nil {
			only := b.kids[0]
			only.label = b.label + "." + only.label
			only.alike *= run
			b = only
		}
		out = append(out, b)
		i += run
	}
	return out
}

// follows reports whether b is like a and has the next number.
func follows(a, b *node) bool {
	if a.kind != b.kind {
		return false
	}
	i, err := strconv.Atoi(a.segment)
	return err == nil && strconv.Itoa(i) == a.segment && b.segment == strconv.Itoa(i+1)
}
