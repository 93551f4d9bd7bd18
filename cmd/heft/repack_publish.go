package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"syscall"

	"heft/format"
)

// staging is where shards are written, in the directory that they are for.
const staging = ".heft-repack"

// errBusy is returned for a directory that another process has locked.
var errBusy = errors.New("locked")

// newStage makes the directory in which the new files of a model in dir are
// written, and locks it. One that a killed process has left behind is removed.
// The caller calls done at the end, which removes it with all that is in it.
func newStage(dir string) (stage string, done func(), err error) {
	stage = filepath.Join(dir, staging)
	for {
		err := os.Mkdir(stage, 0o700) // nobody else shall read what replaces a file that only its owner may
		there := errors.Is(err, fs.ErrExist)
		if err != nil && !there {
			return "", nil, err
		}
		lock, err := lockDir(stage)
		switch {
		case errors.Is(err, fs.ErrNotExist): // whose it was has just removed it
			continue
		case errors.Is(err, errBusy):
			return "", nil, fmt.Errorf("another repack is writing to %s", dir)
		case there && err != nil:
			return "", nil, &failure{
				err:  fmt.Errorf("%s is there: another repack is at work, or was killed", stage),
				hint: "remove it if none is at work",
			}
		case there:
			err = os.RemoveAll(stage)
			lock.Close()
			if err != nil {
				return "", nil, err
			}
			continue
		}
		// Where directories cannot be locked, it does without.
		return stage, func() { os.RemoveAll(stage); lock.Close() }, nil
	}
}

// publish moves the new files from stage to dir, in place of a model there.
func (p *plan) publish(stage, dir string) error {
	old, err := modelFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range old {
		if fi, err := os.Lstat(filepath.Join(dir, name)); err == nil && fi.Mode().IsRegular() {
			p.alike(stage, fi)
			break
		}
	}
	for _, m := range p.moves(stage, dir, old) {
		if err := os.Rename(m.from, m.to); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// alike gives the new files the owner and the permissions of an old one, as far
// as the process may.
func (p *plan) alike(stage string, old fs.FileInfo) {
	for _, name := range p.names() {
		path := filepath.Join(stage, name)
		chown(path, old)
		os.Chmod(path, old.Mode().Perm())
	}
}

// names returns the names of the new files.
func (p *plan) names() (names []string) {
	for _, f := range p.files {
		names = append(names, f.name)
	}
	if p.index != nil {
		names = append(names, format.IndexName)
	}
	return names
}

// A move gives a file another name.
type move struct{ from, to string }

// moves returns how the new files come from stage into dir, and the old ones
// from there into stage, in this order. After each move, who opens dir finds
// the old model or the new one; or an index that names files that are missing,
// which is an error to every reader. That happens where shards of both have the
// same names, or where there was no model: without an index, many would take the
// shards that have come so far for the model.
func (p *plan) moves(stage, dir string, old []string) (list []move) {
	in := func(name string) { list = append(list, move{filepath.Join(stage, name), filepath.Join(dir, name)}) }
	out := func(name string) {
		list = append(list, move{filepath.Join(dir, name), filepath.Join(stage, "old-"+name)})
	}
	loose := looseShards(dir, old)
	for _, name := range loose {
		out(name)
	}
	old = slices.DeleteFunc(slices.Clone(old), func(name string) bool { return slices.Contains(loose, name) })
	names := p.names()
	if p.index != nil && !covers(old, names) {
		names = names[:len(names)-1]
		indexed := slices.Contains(old, format.IndexName)
		if !indexed {
			in(format.IndexName)
		}
		for _, name := range old {
			if slices.Contains(names, name) {
				out(name)
			}
		}
		if indexed {
			in(format.IndexName)
		}
	}
	for _, name := range names { // an index, which is the last, makes them the model
		in(name)
	}
	for _, name := range old {
		if !slices.Contains(p.names(), name) {
			out(name)
		}
	}
	return list
}

// looseShards returns those of the old files that are shards which the index in
// dir does not name: a repack that was killed has left them, and no reader looks
// at them.
func looseShards(dir string, old []string) (loose []string) {
	f, err := os.Open(filepath.Join(dir, format.IndexName))
	if err != nil {
		return nil
	}
	defer f.Close()
	x, err := format.ReadIndex(f)
	if err != nil {
		return nil
	}
	for _, name := range old {
		if name != format.IndexName && name != format.ShardName(0, 1) && !slices.Contains(x.Shards, name) {
			loose = append(loose, name)
		}
	}
	return loose
}

// covers reports whether readers keep to the old files of a model while new ones
// come: they have a file that is the model, or an index that names none of the new.
func covers(old, names []string) bool {
	if slices.Contains(old, format.ShardName(0, 1)) {
		return true
	}
	return slices.Contains(old, format.IndexName) && !slices.ContainsFunc(old, func(name string) bool {
		return name != format.IndexName && slices.Contains(names, name)
	})
}

// modelFile matches what the hub's library calls the files of a model.
var modelFile = regexp.MustCompile(`^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$`)

// modelFiles returns the names of the files of a model in a directory: shards,
// then a single file, then the index.
func modelFiles(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if modelFile.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
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
