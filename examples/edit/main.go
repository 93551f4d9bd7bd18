// Edit scales a tensor of type F32. It tries that on private pages first and
// shows what comes of it; with -w it then changes the file in place.
//
//	edit [-w] MODEL TENSOR FACTOR
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"

	"heft/loader"
	"heft/tensor"
)

func main() {
	write := flag.Bool("w", false, "change the file")
	flag.Parse()
	factor, err := strconv.ParseFloat(flag.Arg(2), 32)
	if err != nil {
		log.Fatal("usage: edit [-w] MODEL TENSOR FACTOR")
	}
	if err := run(os.Stdout, *write, flag.Arg(0), flag.Arg(1), float32(factor)); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer, write bool, model, name string, factor float32) error {
	// What is written to a view stays in this process, and only the pages written to cost memory.
	try := func(values []float32) {
		fmt.Fprintf(out, "sum %.6g", sum(values))
		scale(values, factor)
		fmt.Fprintf(out, ", scaled %.6g\n", sum(values))
	}
	if err := edit(model, loader.CopyOnWrite, name, try); err != nil || !write {
		return err
	}
	// Here the view is the file. Every process that maps it sees the change at once.
	return edit(model, loader.ReadWrite, name, func(values []float32) { scale(values, factor) })
}

// edit calls f with the elements of a tensor. If it returns nil, what f wrote is durable in mode ReadWrite.
func edit(model string, mode loader.Mode, name string, f func([]float32)) error {
	m, err := loader.Open(model, loader.WithMode(mode))
	if err != nil {
		return err
	}
	defer m.Close()
	// A page that cannot be read, or a disk too full to write to, ends the function with an error.
	err = m.Guard(func() error {
		t, err := m.Tensor(name)
		if err != nil {
			return err
		}
		values, err := tensor.Of[float32](t)
		if err == nil {
			f(values)
		}
		return err
	})
	return errors.Join(err, m.Changed(), m.Sync())
}

func scale(values []float32, factor float32) {
	for i := range values {
		values[i] *= factor
	}
}

func sum(values []float32) (s float64) {
	for _, v := range values {
		s += float64(v)
	}
	return s
}
