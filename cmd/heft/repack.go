package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"heft/tensor"
)

// repack is the verb that writes: a part of a model, all of it in another
// number of files, with other types, names or metadata.
type repack struct {
	selection
	output    string
	cast      castFlag
	saturate  bool
	shardSize amountFlag
	rename    []string
	set       []string
	align     amountFlag
	dryRun    bool
	force     bool
}

func (v *repack) flags(f *pflag.FlagSet) {
	f.StringVarP(&v.output, "output", "o", "", "write to `DST`: a file; with --shard-size, a directory")
	f.Var(&v.cast, "cast", "floats become `TYPE`: F32, BF16, F16, F8_E4M3, F8_E5M2")
	f.BoolVar(&v.saturate, "saturate", false, "what is too large for --cast becomes its largest")
	f.Var(&v.shardSize, "shard-size", "shards of at most `SIZE` of data, and an index")
	f.StringArrayVar(&v.rename, "rename", nil, "`OLD=NEW`: a tensor, or a module: OLD.=NEW. (repeatable)")
	f.StringArrayVar(&v.set, "set", nil, "`KEY=VALUE` in the metadata (repeatable)")
	f.Var(&v.align, "align", "begin the data at a multiple of `SIZE`, a power of two")
	f.BoolVar(&v.dryRun, "dry-run", false, "say what would be written, and write nothing")
	f.BoolVar(&v.force, "force", false, "replace what is at DST: a file, or the model there")
	v.selection.flags(f)
}

// amountFlag is a sizeFlag that does not take 0, which stands for no flag.
type amountFlag sizeFlag

func (f *amountFlag) Set(s string) error {
	err := (*sizeFlag)(f).Set(s)
	if err == nil && *f == 0 {
		err = fmt.Errorf("%q is less than a byte", s)
	}
	return err
}

func (f *amountFlag) String() string { return (*sizeFlag)(f).String() }
func (f *amountFlag) Type() string   { return (*sizeFlag)(f).Type() }

// castFlag is a flag that takes an element type to convert to.
type castFlag tensor.DType

func (f *castFlag) Set(name string) error {
	var list dtypeFlag
	if err := list.Set(name); err != nil {
		return err
	}
	if _, err := tensor.AppendCast(nil, list[0], nil, false); err != nil || len(list) > 1 {
		return fmt.Errorf("%s is none of F32, BF16, F16, F8_E4M3, F8_E5M2", name)
	}
	*f = castFlag(list[0])
	return nil
}

func (f *castFlag) String() string { return tensor.DType(*f).String() }
func (f *castFlag) Type() string   { return "dtype" }

func (v *repack) run(c *cli, args []string) error {
	if v.output == "" {
		return &failure{err: errors.New("repack needs a DST"), hint: "-o FILE; with --shard-size, -o DIRECTORY"}
	}
	if v.saturate && v.cast == 0 {
		return usagef("--saturate is for --cast")
	}
	l, patterns, err := open(args)
	if err != nil {
		return err
	}
	defer l.close()
	rows, err := l.pick(&v.selection, patterns)
	if err != nil {
		return err
	}
	p, err := v.plan(l, rows)
	if err != nil {
		return err
	}
	if err := v.mayWrite(l, args[0]); err != nil {
		return err
	}
	doc := newRepackDoc(v, l, p)
	if !v.dryRun {
		began := time.Now()
		m, err := v.write(c, l, p)
		if err != nil {
			return err
		}
		doc.Shared, doc.Copied = m.shared, m.copied
		doc.Seconds = time.Since(began).Seconds()
	}
	return doc.show(c)
}

// mayWrite returns an error if DST is a part of the model, or is there and may
// not be replaced.
func (v *repack) mayWrite(l *listing, src string) error {
	fi, err := os.Stat(v.output)
	isDir := fi != nil && fi.IsDir()
	if v.shardSize == 0 && (isDir || os.IsPathSeparator(v.output[len(v.output)-1])) {
		return &failure{err: fmt.Errorf("%s is a directory", v.output), hint: "--shard-size writes shards into it"}
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = os.Lstat(v.output); err != nil {
			return nil // not even a dangling link
		}
	} else if err != nil {
		return err
	}
	if v.shardSize > 0 && !isDir {
		return fmt.Errorf("%s is no directory for shards", v.output)
	}
	inputs := []string{src} // which may be an index
	for _, f := range l.files {
		path := f.path
		if isDir {
			path = filepath.Dir(path) // files of the same names could be in it
		}
		inputs = append(inputs, path)
	}
	for _, input := range inputs {
		if in, err := os.Stat(input); err == nil && fi != nil && os.SameFile(in, fi) {
			return fmt.Errorf("%s is what is read: repack never writes to its input", v.output)
		}
	}
	there := v.output
	if isDir {
		names, err := modelFiles(v.output)
		if err != nil || len(names) == 0 {
			return err
		}
		there = filepath.Join(v.output, names[0])
	}
	if !v.force {
		return &failure{err: fmt.Errorf("%s is there", there), hint: "--force replaces it"}
	}
	return nil
}
