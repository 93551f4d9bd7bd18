package main

import (
	"fmt"
	"slices"
	"testing"
)

func Example_natural() {
	names := []string{"layers.10.w", "layers.2.w", "embed", "layers.2.b", "layers.02.b", "layers", "layers.1e"}
	slices.SortFunc(names, natural)
	for _, n := range names {
		fmt.Println(n)
	}
	// Output:
	// embed
	// layers
	// layers.1e
	// layers.02.b
	// layers.2.b
	// layers.2.w
	// layers.10.w
}

// natural is a total order on names made of everything that it treats in a special way.
func TestNaturalIsOrder(t *testing.T) {
	var names []string
	for _, a := range []string{"", "0", "00", "1", "01", "10", "9", "a", ".", "é"} {
		for _, b := range []string{"", "0", "1", "01", "a", "."} {
			for _, c := range []string{"", "2", "b"} {
				names = append(names, a+b+c)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, a := range names {
		for _, b := range names {
			x := natural(a, b)
			if x != -natural(b, a) || (x == 0) != (a == b) {
				t.Fatalf("natural(%q, %q) = %d, the other way round %d", a, b, x, natural(b, a))
			}
			for _, c := range names {
				if x < 0 && natural(b, c) < 0 && natural(a, c) >= 0 {
					t.Fatalf("%q < %q < %q, but not %q < %q", a, b, c, a, c)
				}
			}
		}
	}
}
