package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"heft/loader"
)

// warm is the verb that reads tensors into the page cache.
type warm struct {
	selection
	limit sizeFlag
	pin   bool
}

func (v *warm) flags(f *pflag.FlagSet) {
	f.Var(&v.limit, "limit", "at most `SIZE`, in disk order, of what fits;\nneeded where the selection exceeds memory")
	f.BoolVar(&v.pin, "pin", false, "keep it in memory (mlock) until interrupted")
	v.selection.flags(f)
}

func (v *warm) run(c *cli, args []string) error {
	l, rows, err := openMapped(args, &v.selection)
	if err != nil {
		return err
	}
	defer l.close()
	if rows, err = v.fit(rows); err != nil {
		return err
	}
	r, err := l.region(rows)
	if err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	doc := warmDoc{Schema: schema, Path: l.name, Size: r.Size()}
	before, unknown := r.Resident()
	began := time.Now()
	// What the process has mapped counts, not what is in the page cache, of
	// which the kernel does not tell for the files of others.
	end := c.progress("warming", r.Size(), func() int64 {
		s, _ := l.model.Stats()
		return s.MappedIn
	})
	err = r.Prefetch(ctx)
	end()
	doc.Seconds = time.Since(began).Seconds()
	if err != nil {
		return err
	}
	if unknown == nil {
		n := r.Size() - before
		doc.Warmed = &n
	}
	if err := l.model.Changed(); err != nil {
		return err
	}
	if v.pin {
		return v.hold(ctx, c, r, &doc)
	}
	return doc.show(c)
}

// fit returns the rows that are to be read: all, if memory has room for them,
// or those that --limit leaves.
func (v *warm) fit(rows []row) ([]row, error) {
	var size int64
	for i := range rows {
		size += rows[i].Size()
	}
	if limit := int64(v.limit); limit > 0 {
		first, left := &rows[0], limit
		rows = slices.DeleteFunc(slices.Clone(rows), func(r row) bool {
			if r.Size() > left {
				return true
			}
			left -= r.Size()
			return false
		})
		if len(rows) == 0 {
			return nil, &failure{err: fmt.Errorf("no selected tensor is within --limit: %q has %s, and it is %d", first.Name, plural(first.Size(), "byte"), limit), status: statusNo}
		}
		return rows, nil
	}
	room, err := loader.Headroom()
	if err != nil || size <= room { // where the platform does not tell, it is the user who must know
		return rows, nil
	}
	return nil, &failure{
		err:  fmt.Errorf("%s are selected, and memory has room for %s", appendSize(nil, size), appendSize(nil, room)),
		hint: fmt.Sprintf("--limit %dM warms what comes first, as far as it fits", room/5*4>>20), // others need some too
	}
}

// hold pins the region until the context ends. Closing the model unpins it.
func (v *warm) hold(ctx context.Context, c *cli, r *loader.Region, doc *warmDoc) error {
	if err := r.Pin(); err != nil {
		return err
	}
	if err := doc.show(c); err != nil {
		return err
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	if !c.quiet {
		c.say("holding", string(appendSize(nil, r.Size()))+" in memory until interrupted")
	}
	<-ctx.Done()
	return ctx.Err()
}

// warmDoc is what warm did.
type warmDoc struct {
	Schema  int     `json:"schema"`
	Path    string  `json:"path"`
	Size    int64   `json:"size"`             // bytes that are in the page cache now
	Warmed  *int64  `json:"warmed,omitempty"` // of these, what was not there before, if the kernel tells
	Seconds float64 `json:"seconds"`
}

func (d *warmDoc) show(c *cli) error {
	if c.json {
		return c.document(d)
	}
	if c.quiet {
		return nil
	}
	took := time.Duration(d.Seconds * float64(time.Second))
	read, of := d.Size, ""
	if d.Warmed != nil {
		read, of = *d.Warmed, " of "+string(appendSize(nil, d.Size))
	}
	line := append(appendSize(nil, read), of...)
	line = appendDuration(append(line, " in "...), took)
	if read > 0 {
		line = append(appendSize(append(line, ", "...), int64(float64(read)/d.Seconds)), "/s"...)
	}
	c.say("warmed", string(line))
	return nil
}
