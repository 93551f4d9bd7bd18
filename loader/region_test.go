package loader

import (
	"context"
	"slices"
	"testing"
)

func TestRegion(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "1.safetensors", encode(nil, tens{"h.1.a", 10}, tens{"zero", 0}, tens{"h.1.b", 20}, tens{"h.10.a", 30}, tens{"x", 5}))
	write(t, dir, "2.safetensors", encode(nil, tens{"h.1.c", 40}, tens{"y", 50}))
	m := mustOpen(t, dir)
	for _, test := range []struct {
		names   []string
		prefix  string // when names is nil
		want    []string
		extents int
		size    int64
	}{
		{names: []string{}, want: nil},
		{names: []string{"x", "h.1.a", "x"}, want: []string{"h.1.a", "x"}, extents: 2, size: 15},
		{names: []string{"zero"}, want: []string{"zero"}},
		{names: []string{"y", "h.1.b", "h.1.a"}, want: []string{"h.1.a", "h.1.b", "y"}, extents: 2, size: 80},
		{prefix: "h.1.", want: []string{"h.1.a", "h.1.b", "h.1.c"}, extents: 2, size: 70},
		{prefix: "h.1", want: []string{"h.1.a", "h.1.b", "h.10.a", "h.1.c"}, extents: 2, size: 100},
		{prefix: "", want: []string{"h.1.a", "zero", "h.1.b", "h.10.a", "x", "h.1.c", "y"}, extents: 2, size: 155},
		{prefix: "nothing", want: nil},
	} {
		r, err := m.Module(test.prefix)
		if test.names != nil {
			r, err = m.Region(test.names...)
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for x, err := range r.All() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, x.Name())
		}
		if !slices.Equal(got, test.want) || len(r.extents) != test.extents || r.Size() != test.size {
			t.Errorf("%q, %q: got %q, %d extents, %d bytes; want %q, %d, %d",
				test.names, test.prefix, got, len(r.extents), r.Size(), test.want, test.extents, test.size)
		}
		if err := r.Prefetch(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
