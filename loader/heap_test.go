package loader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"reflect"
	"sync"
	"testing"
)

func openHeap(t *testing.T, ts ...tens) (*Model, string) {
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, ts...))
	return mustOpen(t, path, WithBackend(BackendRead)), path
}

func mustRegion(t testing.TB, m *Model, names ...string) *Region {
	t.Helper()
	r, err := m.Region(names...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func checkResident(t testing.TB, r *Region, want int64) {
	t.Helper()
	if n, err := r.Resident(); n != want || err != nil {
		t.Errorf("Resident is %d, %v; want %d", n, err, want)
	}
}

func TestHeap(t *testing.T) {
	ts := []tens{{"a", 100}, {"b", 20 << 20}, {"none", 0}, {"c", 7}}
	m, _ := openHeap(t, ts...)
	whole := mustRegion(t, m, "a", "b", "c", "none")
	checkResident(t, whole, 0)
	first := bytesOf(t, m, "c")
	checkResident(t, whole, 7)
	if second := bytesOf(t, m, "c"); &first[0] != &second[0] {
		t.Error("two copies of one tensor")
	}
	if err := whole.Prefetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	checkResident(t, whole, whole.Size())
	if again := bytesOf(t, m, "c"); &first[0] != &again[0] {
		t.Error("Prefetch reads what is there")
	}
	for _, want := range ts {
		checkTensor(t, m, want)
	}
	if n, err := mustRegion(t, m, "c", "none").Evict(); n != 7 || err != nil {
		t.Errorf("Evict: %d, %v", n, err)
	}
	checkResident(t, whole, whole.Size()-7)
	if first[6] != pattern("c", 6) {
		t.Error("Evict takes the slice away")
	}
	if other := bytesOf(t, m, "c"); &first[0] == &other[0] || !bytes.Equal(first, other) {
		t.Error("Evict forgets nothing")
	}
	if err := whole.Advise(Sequential); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Advise: %v", err)
	}
	if err := m.Sync(); err != nil {
		t.Error(err)
	}
	m.Close()
	if first[6] != pattern("c", 6) {
		t.Error("Close takes the slice away")
	}
}

func TestHeapAlignment(t *testing.T) {
	for n := range 300 {
		b := alignedBytes(n)
		if p := reflect.ValueOf(b).Pointer(); p%cacheLine != 0 || len(b) != n || cap(b) != n {
			t.Fatalf("%d bytes: at %#x, len %d, cap %d", n, p, len(b), cap(b))
		}
	}
}

func TestHeapReadsOnce(t *testing.T) {
	m, _ := openHeap(t, tens{"a", 3 << 20})
	const callers = 16
	var wg sync.WaitGroup
	got := make([]*byte, callers)
	for i := range callers {
		wg.Go(func() {
			x, err := m.Tensor("a")
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = &x.Bytes()[0]
		})
	}
	wg.Wait()
	for i := range got {
		if got[i] != got[0] {
			t.Fatal("two callers have two copies")
		}
	}
}

func TestHeapTruncated(t *testing.T) {
	m, path := openHeap(t, tens{"a", 1000}, tens{"b", 1000}, tens{"c", 1000})
	e, _ := m.files[0].header.Lookup("b")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, e.Begin+10); err != nil {
		t.Fatal(err)
	}
	check := func(name string, off int64, err error) {
		t.Helper()
		fault, ok := err.(*FaultError)
		if !ok || fault.Path != path || fault.Tensor != name || fault.Offset != off || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, want a FaultError of %q at %d", err, name, off)
		}
	}
	checkTensor(t, m, tens{"a", 1000})
	_, err = m.Tensor("b")
	check("b", e.Begin+10, err)
	check("b", e.Begin+10, mustRegion(t, m, "b").Prefetch(context.Background()))
	var errs []error
	for _, err := range m.All() {
		errs = append(errs, err)
	}
	if len(errs) != 3 || errs[0] != nil {
		t.Fatalf("All yields %v", errs)
	}
	check("b", e.Begin+10, errs[1])
	if err := m.Changed(); !errors.Is(err, ErrChanged) {
		t.Errorf("Changed: %v", err)
	}

	// What failed is read again when it is asked for again.
	write(t, "", path, content)
	checkTensor(t, m, tens{"b", 1000})
}

func TestHeapCancel(t *testing.T) {
	m, _ := openHeap(t, tens{"a", 1000})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := mustRegion(t, m, "a")
	if err := r.Prefetch(ctx); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	checkResident(t, r, 0)

	// One who waits for another's read stops waiting.
	f := m.files[0]
	e, _ := f.header.Lookup("a")
	h := m.store.(*heap)
	h.cell(f, e).reading <- struct{}{}
	if _, err := h.load(ctx, f, e); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	<-h.cell(f, e).reading
	checkTensor(t, m, tens{"a", 1000})
}
