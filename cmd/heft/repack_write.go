package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"heft/format"
	"heft/loader"
	"heft/tensor"
)

// A mover opens the tensors that go into new files.
type mover struct {
	ctx      context.Context
	model    *loader.Model
	plan     *plan
	saturate bool
	free     chan *scratch // for conversions
	done     atomic.Int64  // bytes of the model that have been read

	last           *loader.Section // what the kernel may have moved
	shared, copied int64           // bytes that it has moved, by reflink and by copying
}

// write writes the planned files, until it is interrupted.
func (v *repack) write(c *cli, l *listing, p *plan) (*mover, error) {
	ctx, stop := c.interruptible()
	defer stop()
	defer context.AfterFunc(ctx, func() { l.model.Close() })() // so that copying ends soon
	m := &mover{ctx: ctx, model: l.model, plan: p, saturate: v.saturate, free: newScratch()}
	end := c.progress("repacking", p.read, m.done.Load)
	defer end()
	var err error
	if v.shardSize > 0 {
		err = m.writeShards(v.output)
	} else {
		err = loader.WriteFile(v.output, p.files[0].header, m.open)
	}
	m.moved()
	if errors.Is(err, tensor.ErrOverflow) {
		err = &failure{err: err, hint: "--saturate takes the largest in its place"}
	}
	return m, cmp.Or(ctx.Err(), err)
}

// open returns the data of a tensor of a new file.
func (m *mover) open(name string) (io.Reader, error) {
	m.moved()
	if err := m.ctx.Err(); err != nil {
		return nil, err
	}
	s := m.plan.sources[name]
	section, err := m.model.Section(s.Name)
	if err != nil {
		return nil, err
	}
	if s.cast != 0 {
		return m.convert(section, s), nil
	}
	m.last = section
	return section, nil
}

// moved notes what became of the section that was opened last.
func (m *mover) moved() {
	if s := m.last; s != nil {
		m.shared, m.copied, m.last = m.shared+s.Shared, m.copied+s.Copied, nil
		m.done.Add(s.Size())
	}
}

// writeShards writes a directory: all files in a directory of their own first,
// from where they take the place of the model that is there.
func (m *mover) writeShards(dir string) error {
	err := os.Mkdir(dir, 0o777)
	made := err == nil
	if made {
		defer os.Remove(dir) // fails if there is something in it
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	stage, done, err := newStage(dir)
	if err != nil {
		return err
	}
	defer done()
	for _, f := range m.plan.files {
		if err := loader.WriteFile(filepath.Join(stage, f.name), f.header, m.open); err != nil {
			var pe *fs.PathError
			if errors.As(err, &pe) {
				pe.Path = filepath.Join(dir, f.name) // nobody else knows of the stage
			}
			return err
		}
	}
	if m.plan.index != nil {
		if err := writeSynced(filepath.Join(stage, format.IndexName), m.plan.index); err != nil {
			return err
		}
	}
	if err := m.plan.publish(stage, dir); err != nil || !made {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

// writeSynced writes a new file that is on the disk when it returns.
func writeSynced(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return cmp.Or(err, f.Sync(), f.Close())
}
