//go:build (386 || amd64 || arm64) && !purego

package loader_test

import (
	"fmt"
	"log"

	"heft/loader"
	"heft/tensor"
)

// Sum the weights of a model where they lie: in the page cache.
func Example() {
	m, err := loader.Open("../testdata/digits")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	err = m.Guard(func() error { // a page that cannot be read becomes an error here
		t, err := m.Tensor("layers.0.bias")
		if err != nil {
			return err
		}
		bias, err := tensor.Of[float32](t) // no copy
		if err != nil {
			return err
		}
		sum := 0.0
		for _, w := range bias {
			sum += float64(w)
		}
		fmt.Printf("%s %v %v: sum %.4f\n", t.Name(), t.DType(), t.Shape(), sum)
		return nil
	})
	if err == nil {
		err = m.Changed() // nobody wrote to the file meanwhile
	}
	if err != nil {
		log.Fatal(err)
	}
	// Output: layers.0.bias F32 [128]: sum 3.0000
}
