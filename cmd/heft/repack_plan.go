package main

import (
	"fmt"
	"maps"
	"strings"

	"heft/format"
	"heft/tensor"
)

// A plan is what repack will write.
type plan struct {
	files   []planned
	index   []byte            // nil where there is one file
	sources map[string]source // by the name in the new files

	read, written, converted int64 // bytes of tensors: of all before and after, and of those to be converted, before
	left                     dtypeFlag
	misaligned               int // tensors
}

// planned is a file to be written.
type planned struct {
	name   string // in the directory, if there are shards
	header *format.Header
}

// source is where a tensor comes from.
type source struct {
	row
	cast tensor.DType // 0: it stays as it is
}

// plan decides what is written from the selected tensors.
func (v *repack) plan(l *listing, rows []row) (*plan, error) {
	if n := int64(v.align); n < 0 || n&(n-1) != 0 {
		return nil, usagef("--align: %d is not a power of two", n)
	}
	p := &plan{sources: make(map[string]source, len(rows))}
	entries, err := v.entries(p, rows)
	if err != nil {
		return nil, err
	}
	metadata, err := v.metadata(l.metadata)
	if err != nil {
		return nil, err
	}
	shards := [][]format.Entry{entries}
	if v.shardSize > 0 {
		if shards, err = format.Split(entries, int64(v.shardSize)); err != nil {
			return nil, err
		}
	}
	for i, shard := range shards {
		h, err := format.NewHeader(metadata, shard)
		if err == nil && v.align > 0 {
			h, err = h.Align(int64(v.align))
		}
		if err != nil {
			return nil, err
		}
		p.add(format.ShardName(i, len(shards)), h, int64(v.align))
	}
	if len(shards) > 1 {
		delete(metadata, "format") // it is said of each file, as the hub's library does
		p.index, err = format.MarshalIndex(metadata, shards)
	}
	return p, err
}

func (p *plan) add(name string, h *format.Header, align int64) {
	p.files = append(p.files, planned{name, h})
	for i := range h.Tensors {
		e := &h.Tensors[i]
		p.written += e.Size()
		if align > 0 && e.Begin%align != 0 {
			p.misaligned++
		}
	}
}

// entries returns the tensors with their new names and types, in disk order.
func (v *repack) entries(p *plan, rows []row) ([]format.Entry, error) {
	rename, err := parseRenames(v.rename)
	if err != nil {
		return nil, err
	}
	entries := make([]format.Entry, 0, len(rows))
	for _, r := range rows {
		name := rename.apply(r.Name)
		if other, ok := p.sources[name]; ok {
			return nil, fmt.Errorf("%q and %q would both be called %q", other.Name, r.Name, name)
		}
		s := source{row: r, cast: tensor.DType(v.cast)}
		switch {
		case s.cast == 0 || s.cast == r.DType:
			s.cast = 0
		case !castable(r.DType):
			s.cast = 0
			p.left.add(r.DType)
		default:
			p.converted += r.Size()
		}
		e := format.Entry{Name: name, DType: r.DType, Shape: r.Shape}
		if s.cast != 0 {
			e.DType = s.cast
		}
		p.sources[name] = s
		p.read += r.Size()
		entries = append(entries, e)
	}
	return entries, rename.unused(func(yield func(string) bool) {
		for _, r := range rows {
			if !yield(r.Name) {
				return
			}
		}
	})
}

// castable reports whether --cast converts elements of type d: floats of which
// float32 has all values, but for those that mean something only together with
// scales beside them.
func castable(d tensor.DType) bool {
	switch d {
	case tensor.F32, tensor.BF16, tensor.F16,
		tensor.F8E4M3, tensor.F8E5M2, tensor.F8E4M3FNUZ, tensor.F8E5M2FNUZ:
		return true
	}
	return false
}

// metadata returns the metadata of the model as --set changes it.
func (v *repack) metadata(old map[string]string) (map[string]string, error) {
	m := maps.Clone(old)
	for _, s := range v.set {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usagef("--set: %q is not KEY=VALUE", s)
		}
		if m == nil {
			m = make(map[string]string)
		}
		m[key] = value
	}
	return m, nil
}

// A renaming is what --rename says: of the rules, the first that fits a name changes it.
type renaming []*rule

type rule struct {
	old, new string
	used     bool
}

func parseRenames(list []string) (renaming, error) {
	var rules renaming
	for _, s := range list {
		old, new, ok := strings.Cut(s, "=")
		if !ok || old == "" {
			return nil, usagef("--rename: %q is not OLD=NEW", s)
		}
		rules = append(rules, &rule{old: old, new: new})
	}
	return rules, nil
}

// apply returns the new name of a tensor.
func (rules renaming) apply(name string) string {
	for _, r := range rules {
		rest, ok := strings.CutPrefix(name, r.old)
		if ok && (rest == "" || strings.HasSuffix(r.old, ".")) {
			r.used = true
			return r.new + rest
		}
	}
	return name
}

// unused returns an error if there is a rule that fits none of the names.
func (rules renaming) unused(names func(yield func(string) bool)) error {
	for _, r := range rules {
		if !r.used {
			return &failure{err: fmt.Errorf("--rename: no selected tensor is called %q", r.old), hint: didYouMean(r.old, names)}
		}
	}
	return nil
}

// add adds a type to the list if it is not there.
func (f *dtypeFlag) add(d tensor.DType) {
	for _, have := range *f {
		if have == d {
			return
		}
	}
	*f = append(*f, d)
}
