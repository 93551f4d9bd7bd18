// Digits reads handwriting: it classifies the images in one file with the model
// in another and shows the first few. Run it at the top of the repository.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"

	"heft/loader"
	"heft/tensor"
)

func main() {
	var out bytes.Buffer
	if err := run(&out, "testdata/digits", "testdata/digits/samples/test.safetensors"); err != nil {
		log.Fatal(err)
	}
	out.WriteTo(os.Stdout)
}

// run writes what the model makes of the samples. It counts only if the error is nil.
func run(out io.Writer, model, samples string) error {
	m, err := loader.Open(model)
	if err != nil {
		return err
	}
	defer m.Close()
	s, err := loader.Open(samples)
	if err != nil {
		return err
	}
	defer s.Close()
	// Guard makes an error of a page that cannot be had, and Changed of a file that is no longer what was opened.
	err = m.Guard(func() error { return s.Guard(func() error { return classify(out, m, s) }) })
	return errors.Join(err, m.Changed(), s.Changed())
}

func classify(out io.Writer, m, s *loader.Model) error {
	params := map[string][]float32{}
	for t, err := range m.All() {
		if err == nil {
			params[t.Name()], err = tensor.AppendFloat32(nil, t) // the weights are BF16: this copies and converts
		}
		if err != nil {
			return err
		}
	}
	images, err1 := s.Tensor("images")
	labels, err2 := s.Tensor("labels")
	pixels, err3 := tensor.Of[uint8](images) // this copies nothing: it is the file, as the kernel has it in memory
	answers, err4 := tensor.Of[uint8](labels)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	right := 0
	for i, answer := range answers {
		image := pixels[i*64 : (i+1)*64]
		digit := recognize(params, image)
		if digit == int(answer) {
			right++
		}
		if i < 3 {
			draw(out, image)
			fmt.Fprintf(out, "looks like %d, is %d\n\n", digit, answer)
		}
	}
	fmt.Fprintf(out, "%d of %d right\n", right, len(answers))
	return nil
}

// recognize runs three layers, relu(weight * x + bias) but for the last relu, and returns the largest of ten outputs.
func recognize(params map[string][]float32, image []uint8) int {
	x := make([]float32, len(image))
	for i, pixel := range image {
		x[i] = float32(pixel) / 16
	}
	for layer := range 3 {
		weight := params[fmt.Sprintf("layers.%d.weight", layer)]
		y := slices.Clone(params[fmt.Sprintf("layers.%d.bias", layer)])
		for i := range y {
			for j := range x {
				y[i] += weight[i*len(x)+j] * max(x[j], 0) // relu of the layer before; pixels have none below 0
			}
		}
		x = y
	}
	return slices.Index(x, slices.Max(x))
}

func draw(out io.Writer, image []uint8) {
	for i, pixel := range image {
		fmt.Fprintf(out, "%2c%s", " .:-=+*#%@"[min(pixel, 16)*9/16], "\n"[:i%8/7]) // eight to a line
	}
}
