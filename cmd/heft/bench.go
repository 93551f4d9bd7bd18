package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/spf13/pflag"

	"heft/loader"
)

// bench is the verb that measures ways to get the bytes of a model.
type bench struct {
	selection
	cold, force bool
	runs        uint
}

func (v *bench) flags(f *pflag.FlagSet) {
	f.BoolVar(&v.cold, "cold", false, "evict before each run: measure the disk")
	f.BoolVar(&v.force, "force", false, "evict although other processes map the files")
	f.UintVarP(&v.runs, "runs", "n", 3, "medians of `N` runs")
	v.selection.flags(f)
}

func (v *bench) run(c *cli, args []string) error {
	if v.runs == 0 {
		return usagef("--runs: a median of no runs is none")
	}
	l, rows, err := openMapped(args, &v.selection)
	if err != nil {
		return err
	}
	defer l.close()
	region, err := l.region(rows)
	if err != nil {
		return err
	}
	b := &benchmark{l: l, rows: rows, region: region, cold: v.cold}
	if err := b.allowed(v.force); err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	l.lookUpCached(rows)
	results, err := b.measure(ctx, c, int(v.runs))
	if err := cmp.Or(err, b.restore(ctx), l.model.Changed()); err != nil {
		return err
	}
	doc := benchDoc{schema, l.name, region.Size(), v.cold, int(v.runs), results, "", ""}
	doc.choose()
	if c.json {
		return c.document(doc)
	}
	doc.print(c)
	return nil
}

// A benchmark measures, on the tensors in rows, how long it takes until every
// byte has been in memory and gone through the processor once.
type benchmark struct {
	l      *listing
	rows   []row
	region *loader.Region
	cold   bool
}

// A method is a way to get the bytes. It returns an error that matches
// errors.ErrUnsupported where it does not exist.
type method struct {
	name string
	run  func(b *benchmark, ctx context.Context, m *meter) error
}

var methods = []method{
	{"mmap", func(b *benchmark, ctx context.Context, m *meter) error {
		return b.load(ctx, loader.BackendMmap, m)
	}},
	{"read", func(b *benchmark, ctx context.Context, m *meter) error {
		return b.load(ctx, loader.BackendRead, m)
	}},
	{"direct", (*benchmark).direct},
}

// allowed returns an error where a benchmark would do harm or make no sense.
func (b *benchmark) allowed(force bool) error {
	size := b.region.Size()
	if size == 0 {
		return &failure{err: fmt.Errorf("%s: the tensors selected have no bytes", b.l.name), status: statusNo}
	}
	if room, err := loader.Headroom(); err == nil && size > room && !b.cold {
		return &failure{
			err:  fmt.Errorf("%s are selected, and the page cache has room for %s", appendSize(nil, size), appendSize(nil, room)),
			hint: "select fewer tensors, or measure the disk with --cold",
		}
	}
	if !b.cold || force {
		return nil
	}
	list, _, err := b.l.processes()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if len(list) > 0 {
		return &failure{
			err:  fmt.Errorf("%s is mapped by %s, which evicting would slow down", b.l.name, someOf(list)),
			hint: "--force evicts nevertheless what is not in use",
		}
	}
	return nil
}

// measure runs all methods, taking turns, and returns the medians.
func (b *benchmark) measure(ctx context.Context, c *cli, runs int) ([]result, error) {
	results := make([]result, len(methods))
	var done atomic.Int64
	end := c.progress("measuring", b.region.Size()*int64(runs*len(methods)), done.Load)
	defer end()
	for range runs {
		for i, method := range methods {
			results[i].Name = method.name
			if err := b.once(ctx, method, &results[i]); err != nil {
				return nil, err
			}
			done.Add(b.region.Size())
		}
	}
	for i := range results {
		results[i].settle(b.region.Size())
	}
	return results, nil
}

// once adds a run of a method to its result. A method that does not exist here is no error.
func (b *benchmark) once(ctx context.Context, method method, r *result) error {
	if r.Error != "" {
		return nil
	}
	if room, err := loader.Headroom(); method.name == "read" && err == nil && b.region.Size() > room {
		r.Error = fmt.Sprintf("needs %s of memory, and there is room for %s", appendSize(nil, b.region.Size()), appendSize(nil, room))
		return nil
	}
	cached, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	m := startMeter()
	err = method.run(b, ctx, m)
	if errors.Is(err, errors.ErrUnsupported) {
		r.Error = err.Error()
		return nil
	}
	r.samples = append(r.samples, m.sample)
	if n := len(r.samples); n == 1 || b.cold == (cached > r.Cached) {
		r.Cached = cached
	}
	return err
}

// prepare brings the tensors into the page cache, or out of it, and proves
// that they are there or not. It returns how many bytes are.
func (b *benchmark) prepare(ctx context.Context) (cached int64, err error) {
	if b.cold {
		_, err = b.region.Evict()
	} else {
		err = b.region.Prefetch(ctx)
	}
	if err == nil {
		cached, err = b.region.Resident()
	}
	size := b.region.Size()
	few := size / 50 // whoever needs memory meanwhile may take some pages
	switch {
	case err != nil:
		return 0, err
	case b.cold && cached > few+edges(b.rows):
		return 0, &failure{err: fmt.Errorf("%s of %s stay in the page cache", appendSize(nil, cached), appendSize(nil, size)), hint: b.l.whyStays()}
	case !b.cold && cached < size-few:
		return 0, fmt.Errorf("of %s only %s stay in the page cache", appendSize(nil, size), appendSize(nil, cached))
	}
	return cached, nil
}

// restore leaves the page cache as it was found, to the tensor: one of which
// only a part was there goes the way of the larger part.
func (b *benchmark) restore(ctx context.Context) error {
	var in []row
	for _, r := range b.rows {
		if b.cold && r.cached >= r.Size()-r.cached {
			in = append(in, r)
		}
	}
	return cmp.Or(b.l.restore(b.rows), <-b.l.fetch(ctx, in))
}

// load opens the files anew, reads all tensors with a backend, and looks at every byte.
func (b *benchmark) load(ctx context.Context, backend loader.Backend, m *meter) error {
	fresh, err := b.l.load(loader.WithBackend(backend))
	if err != nil {
		return err
	}
	defer fresh.Close()
	l := &listing{model: fresh}
	region, err := l.region(b.rows)
	if err != nil {
		return err
	}
	if err := region.Prefetch(ctx); err != nil {
		return err
	}
	if err := scan(ctx, fresh, region); err != nil {
		return err
	}
	m.stop()
	return fresh.Changed()
}
