// Layers goes through a model layer by layer and prints a checksum of each. The
// model may be larger than the memory there is. To see that, give it little:
//
//	systemd-run --user --scope -p MemoryMax=1G go run ./examples/layers model.safetensors
//
// Where control groups are of version 1, cgcreate, cgset and cgexec do the same.
package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"os"
	"regexp"
	"time"

	"heft/loader"
)

func main() {
	path := append(os.Args, "testdata/digits")[1] // this one, if none is given
	if err := run(os.Stdout, path); err != nil {
		log.Fatal(err)
	}
}

// run writes a line about each layer. They count only if the error is nil.
func run(out io.Writer, path string) error {
	m, err := loader.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	var names []string // of the layers, in the order of the file, which the disk likes
	tensors := map[string][]string{}
	layer := regexp.MustCompile(`^(.*?\.)?\d+\.|^[^.]*`) // "h.7.", or else "embeddings"
	for _, e := range m.Entries() {
		name := layer.FindString(e.Name)
		if tensors[name] == nil {
			names = append(names, name)
		}
		tensors[name] = append(tensors[name], e.Name)
	}
	var regions []*loader.Region
	for _, name := range names {
		r, err := m.Region(tensors[name]...)
		if err != nil {
			return err
		}
		regions = append(regions, r)
	}
	err = m.Guard(func() error {
		began := time.Now()
		for r, err := range m.Stream(context.Background(), loader.StreamOptions{}, regions...) {
			if err != nil {
				return err
			}
			var sum uint32
			for t, err := range r.All() { // all of it is in memory: nothing waits for the disk here
				if err != nil {
					return err
				}
				sum = crc32.Update(sum, crc32.IEEETable, t.Bytes())
			}
			s, _ := m.Stats() // what the system does not tell is 0
			size := float64(r.Size()) / 1e6
			fmt.Fprintf(out, "%-20s %8.1f MB %7.0f MB/s  crc32 %08x  %8.1f MB of the model in memory\n",
				names[0], size, size/time.Since(began).Seconds(), sum, float64(s.Resident)/1e6)
			names, began = names[1:], time.Now()
		}
		return nil
	})
	return errors.Join(err, m.Changed())
}
