package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"heft/format"
	"heft/tensor"
)

// salvage adds to the listing what can be read of a model that does not open:
// sound shards whole, of a broken header what comes before the place where it
// breaks, as it stands there. Errors are ignored: there is one already.
func (l *listing) salvage(path string, paths []string) {
	if len(paths) == 1 {
		paths = filesOf(path)
	}
	for _, p := range paths {
		f, size, err := openRegular(p)
		if err != nil {
			continue
		}
		l.addBroken(p, f, size)
		f.Close()
	}
}

// filesOf returns the .safetensors files that a path stands for.
func filesOf(path string) []string {
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil
	case info.IsDir():
		files, _, _ := listDir(path)
		if i := slices.IndexFunc(files, isModelFile); i >= 0 {
			return files[i : i+1]
		}
		return files
	case !strings.HasSuffix(path, ".json"):
		return []string{path}
	}
	f, _, err := openRegular(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	index, err := format.ReadIndex(f)
	if err != nil {
		return nil
	}
	return shardPaths(path, index)
}

// addBroken adds a file, sound or not.
func (l *listing) addBroken(path string, r io.ReaderAt, size int64) {
	h, err := format.Read(r, size)
	if err != nil {
		h = guess(r, size)
	}
	l.files = append(l.files, fileRow{path, size, h})
	for _, e := range h.Tensors {
		l.addTensor(len(l.files)-1, e)
	}
	if l.metadata == nil {
		l.metadata = h.Metadata
	}
}

// guess reads a header that breaks the rules, up to where it stops being JSON.
func guess(r io.ReaderAt, size int64) *format.Header {
	const maxHeader = 100_000_000
	h := &format.Header{DataOffset: 8}
	var first [8]byte
	if _, err := r.ReadAt(first[:], 0); err != nil {
		return h
	}
	n := int64(min(binary.LittleEndian.Uint64(first[:]), maxHeader))
	h.DataOffset += n
	d := json.NewDecoder(io.NewSectionReader(r, 8, min(n, size-8)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return h
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			break
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			break
		}
		if name == "__metadata__" {
			json.Unmarshal(value, &h.Metadata)
		} else if e, err := guessEntry(value, h.DataOffset); err == nil {
			e.Name, _ = name.(string)
			h.Tensors = append(h.Tensors, e)
		}
	}
	return h
}

// guessEntry reads what a header says of one tensor.
func guessEntry(value []byte, base int64) (e format.Entry, err error) {
	var fields struct {
		DType   string  `json:"dtype"`
		Shape   []int   `json:"shape"`
		Offsets []int64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(value, &fields); err != nil {
		return e, err
	}
	const most = 1 << 41 // so that no sum overflows
	o := fields.Offsets
	if len(o) != 2 || o[0] < 0 || o[1] < o[0] || o[1] > most {
		return e, errors.New("no range")
	}
	e.DType, _ = tensor.ParseDType(fields.DType)
	e.Shape = fields.Shape
	e.Begin, e.End = base+o[0], base+o[1]
	return e, nil
}
