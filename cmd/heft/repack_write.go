package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync/atomic"
	"syscall"

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

// staging is where shards are written, in the directory that they are for.
const staging = ".heft-repack"

// writeShards writes a directory: all files in a directory of their own first,
// then they take the place of the model that is there. That takes no time, but
// is no single step: a crash just then leaves a directory without an index.
func (m *mover) writeShards(dir string) (err error) {
	if err := os.Mkdir(dir, 0o777); err == nil {
		defer os.Remove(dir) // fails if there is something in it
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	stage := filepath.Join(dir, staging)
	if err := os.Mkdir(stage, 0o777); errors.Is(err, fs.ErrExist) {
		return &failure{
			err:  fmt.Errorf("%s is there: another repack is at work, or was killed", stage),
			hint: "remove it if none is at work",
		}
	} else if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	for _, f := range m.plan.files {
		if err := loader.WriteFile(filepath.Join(stage, f.name), f.header, m.open); err != nil {
			return err
		}
	}
	if m.plan.index != nil {
		if err := writeSynced(filepath.Join(stage, format.IndexName), m.plan.index); err != nil {
			return err
		}
	}
	return m.plan.publish(stage, dir)
}

// publish moves the new files from stage to dir, in place of a model there. The
// index goes first and comes last, so that no index ever names files of two models.
func (p *plan) publish(stage, dir string) error {
	old, err := modelFiles(dir)
	if err != nil {
		return err
	}
	for _, path := range append([]string{filepath.Join(dir, format.IndexName)}, old...) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, f := range p.files {
		if err := os.Rename(filepath.Join(stage, f.name), filepath.Join(dir, f.name)); err != nil {
			return err
		}
	}
	if p.index != nil {
		if err := os.Rename(filepath.Join(stage, format.IndexName), filepath.Join(dir, format.IndexName)); err != nil {
			return err
		}
	}
	return cmp.Or(syncDir(dir), syncDir(filepath.Dir(filepath.Clean(dir))))
}

// modelFile matches what the hub's library calls the files of a model.
var modelFile = regexp.MustCompile(`^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$`)

// modelFiles returns the files of a model in a directory.
func modelFiles(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if modelFile.MatchString(e.Name()) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
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

// syncDir puts what was renamed in a directory on the disk, where that can be done.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); runtime.GOOS != "windows" && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
