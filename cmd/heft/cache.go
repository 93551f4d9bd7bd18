package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/pflag"

	"heft/format"
)

// cache is the verb that shows what is in the page cache.
type cache struct {
	selection
	depth uint
	sort  string
	who   bool
}

func (v *cache) flags(f *pflag.FlagSet) {
	f.UintVarP(&v.depth, "depth", "d", math.MaxUint, "sum up modules below `N` levels")
	f.StringVarP(&v.sort, "sort", "s", "name", "sort by `KEY`: name, cached, size; the most first")
	f.BoolVar(&v.who, "who", false, "also the processes that map the files")
	v.selection.flags(f)
}

// A share is a tensor or a module, and what of it is in the page cache.
type share struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	Cached *int64 `json:"cached"` // null: the kernel does not tell
}

func (v *cache) run(c *cli, args []string) error {
	order, ok := map[string]func(a, b share) int{
		"name":   func(a, b share) int { return 0 }, // as they are
		"size":   func(a, b share) int { return cmp.Compare(b.Size, a.Size) },
		"cached": func(a, b share) int { return cmp.Compare(b.cached(), a.cached()) },
	}[v.sort]
	if !ok {
		return usagef("--sort: %q is none of name, cached, size", v.sort)
	}
	l, rows, err := openMapped(args, &v.selection)
	if err != nil {
		return err
	}
	defer l.close()
	l.lookUpCached(rows)
	doc := newCacheDoc(l, rows, v.depth)
	slices.SortStableFunc(doc.Modules, order)
	if v.who {
		list, hidden, err := l.processes()
		if err != nil {
			return err
		}
		doc.Processes, doc.Hidden = &list, &hidden
		if list == nil {
			doc.Processes = &[]process{}
		}
	}
	if c.json {
		return c.document(doc)
	}
	doc.print(c)
	return nil
}

// cacheDoc is what cache says of a model; sums are of the tensors selected.
type cacheDoc struct {
	Schema    int        `json:"schema"`
	Path      string     `json:"path"`
	Size      int64      `json:"size"`
	Cached    *int64     `json:"cached"` // null: the kernel does not tell
	Modules   []share    `json:"modules"`
	Processes *[]process `json:"processes,omitempty"` // that map the files, this one not among them
	Hidden    *int       `json:"hidden,omitempty"`    // how many processes cannot be looked into
}

func newCacheDoc(l *listing, rows []row, depth uint) *cacheDoc {
	s := &sharer{cached: make(map[*format.Entry]int64, len(rows)), shares: []share{}}
	for i := range rows {
		s.cached[&rows[i].Entry] = rows[i].cached
	}
	root := plant(rows)
	top := &branch{sum: root.sum, kids: root.branches(1, false)}
	if depth > 0 {
		s.list(top.kids, "", depth-1)
	}
	all := s.share(l.name, top)
	return &cacheDoc{Schema: schema, Path: l.name, Size: all.Size, Cached: all.Cached, Modules: s.shares}
}

// A sharer turns a tree, in which nothing is folded, into a list.
type sharer struct {
	cached map[*format.Entry]int64 // of each tensor; -1: the kernel does not tell
	shares []share
}

// list adds the branches, and what is in them down to the given depth, each
// under its full name.
func (s *sharer) list(branches []*branch, prefix string, depth uint) {
	for _, b := range branches {
		name := prefix + b.label
		if depth == 0 || len(b.kids) == 0 {
			s.shares = append(s.shares, s.share(name, b))
			continue
		}
		if t := b.tensor; t != nil { // a module of the same name is beside it
			s.shares = append(s.shares, s.share(name, &branch{tensor: t, sum: sum{size: t.Size()}}))
		}
		s.list(b.kids, name+".", depth-1)
	}
}

func (s *sharer) share(name string, b *branch) share {
	sh := share{Name: name, Size: b.size}
	if n := s.sum(b); n >= 0 {
		sh.Cached = &n
	}
	return sh
}

// sum returns how much of a branch is cached, or -1.
func (s *sharer) sum(b *branch) (n int64) {
	if b.tensor != nil {
		n = s.cached[b.tensor]
	}
	for _, k := range b.kids {
		more := s.sum(k)
		if n < 0 || more < 0 {
			return -1
		}
		n += more
	}
	return n
}

func (s *share) cached() int64 {
	if s.Cached == nil {
		return -1
	}
	return *s.Cached
}

// print writes the tables.
func (d *cacheDoc) print(c *cli) {
	t := newTable(c.screen, head{title: "CACHED"}, head{right: true}, head{title: "SIZE", right: true}, head{cut: true})
	t.reserve(len(d.Modules) + 1)
	for i := range 1 + len(d.Modules) {
		s := share{d.Path, d.Size, d.Cached}
		if i > 0 {
			s = d.Modules[i-1]
		}
		if s.Cached == nil {
			t.plain("")
			t.plain("?")
		} else {
			t.text = appendBar(t.text, *s.Cached, s.Size, 16, t.ascii)
			t.end()
			t.percent(*s.Cached, s.Size, 1)
		}
		t.size(s.Size)
		t.name(s.Name)
	}
	t.write(c.out)
	if d.Processes != nil {
		c.out.WriteByte('\n')
		d.printProcesses(c)
	}
}

func (d *cacheDoc) printProcesses(c *cli) {
	t := newTable(c.screen, head{title: "PID", right: true}, head{title: "MAPPED", right: true}, head{title: "RSS", right: true},
		head{title: "PSS", right: true}, head{title: "PRIVATE", right: true}, head{title: "COMMAND", cut: true})
	for _, p := range *d.Processes {
		t.number(int64(p.PID))
		for _, n := range []int64{p.Mapped, p.RSS, p.PSS, p.Private} {
			t.size(n)
		}
		t.name(p.Command)
	}
	if *d.Hidden > 0 {
		for range 5 {
			t.plain("?")
		}
		t.plain(fmt.Sprintf("%d that cannot be looked into", *d.Hidden))
	}
	t.write(c.out)
}
