package main

import (
	"fmt"

	"github.com/spf13/pflag"
)

// evict is the verb that drops tensors from the page cache.
type evict struct {
	selection
}

func (v *evict) flags(f *pflag.FlagSet) { v.selection.flags(f) }

func (v *evict) run(c *cli, args []string) error {
	l, rows, err := openMapped(args, &v.selection)
	if err != nil {
		return err
	}
	defer l.close()
	r, err := l.region(rows)
	if err != nil {
		return err
	}
	before, err := r.Resident()
	if err != nil {
		return err
	}
	gone, err := r.Evict()
	if err != nil {
		return err
	}
	if c.json {
		err = c.document(struct {
			Schema  int    `json:"schema"`
			Path    string `json:"path"`
			Size    int64  `json:"size"`    // bytes of the tensors
			Cached  int64  `json:"cached"`  // of these, in the page cache before
			Evicted int64  `json:"evicted"` // of these, gone
		}{schema, l.name, r.Size(), before, gone})
	} else if !c.quiet {
		c.say("evicted", fmt.Sprintf("%s of %s", appendSize(nil, gone), appendSize(nil, before)))
	}
	if stays := before - gone; stays > edges(rows) && !c.quiet {
		c.say("hint:", l.whyStays())
	}
	if err == nil && gone == 0 && before > 0 {
		return &failure{status: statusNo}
	}
	return err
}

// edges returns how many bytes of the tensors may lie in huge pages that they
// share with other data, which stay because the page cache drops none in part.
func edges(rows []row) int64 {
	const huge = 2 << 20
	var n int64
	for i := range rows {
		if i == 0 || rows[i].file != rows[i-1].file || rows[i].Begin != rows[i-1].End {
			n += 2 * huge
		}
	}
	return n
}

// whyStays returns why a part of the model may stay in the page cache.
func (l *listing) whyStays() string {
	if s, _ := l.model.Stats(); s.FileSystem == "tmpfs" || s.FileSystem == "ramfs" {
		return s.FileSystem + " keeps its files in the page cache and nowhere else"
	}
	list, hidden, err := l.processes()
	switch {
	case err == nil && len(list) > 0:
		return fmt.Sprintf("what others map stays: %s; heft cache --who", someOf(list))
	case hidden > 0:
		return fmt.Sprintf("what others map stays, and there are %d processes that cannot be looked into", hidden)
	}
	return "what was just written stays until it is on the disk: sync"
}
