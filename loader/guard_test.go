//go:build linux || darwin

package loader

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// sink keeps the compiler from dropping reads.
var sink byte

// twoPages are three tensors, the second of which begins after the first page
// and ends in the middle of one.
var twoPages = []tens{{"a", 3 * 4096}, {"b", 3*65536 + 777}, {"c", 100}}

func checkFault(t testing.TB, err error, path, name string, offset int64, cause error) {
	t.Helper()
	fault, ok := err.(*FaultError)
	if !ok || fault.Path != path || fault.Tensor != name || fault.Offset != offset || !errors.Is(err, cause) {
		t.Errorf("got %v, want a FaultError of %s, tensor %q, offset %d, %v", err, path, name, offset, cause)
	}
}

func TestGuardTruncated(t *testing.T) {
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, twoPages...))
	m := mustOpen(t, path)
	a, b := bytesOf(t, m, "a"), bytesOf(t, m, "b")
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	e, _ := m.files[0].header.Lookup("b")
	after := false
	err := m.Guard(func() error {
		sink = a[0] // in the first page
		sink = b[70000]
		after = true
		return nil
	})
	checkFault(t, err, path, "b", e.Begin+70000, io.ErrUnexpectedEOF)
	if after {
		t.Error("the function went on after the fault")
	}
	for _, words := range []string{path, `"b"`, fmt.Sprint(e.Begin + 70000), "unexpected EOF"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%v: does not say %s", err, words)
		}
	}
	// Also inside the runtime's own copying.
	err = m.Guard(func() error { copy(make([]byte, len(b)), b); return nil })
	if fault, ok := err.(*FaultError); !ok || fault.Tensor != "b" {
		t.Errorf("copy: got %v", err)
	}
	if debug.SetPanicOnFault(false) {
		t.Error("Guard leaves SetPanicOnFault behind")
	}
	if err := m.Changed(); !errors.Is(err, ErrChanged) {
		t.Errorf("Changed: %v", err)
	}
}

// Inside a page truncation shows zeros and nothing faults: Changed must tell.
func TestTruncatedInsidePage(t *testing.T) {
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 1000}))
	m := mustOpen(t, path)
	a := bytesOf(t, m, "a")
	e, _ := m.files[0].header.Lookup("a")
	if err := os.Truncate(path, e.Begin+500); err != nil {
		t.Fatal(err)
	}
	err := m.Guard(func() error {
		if a[499] != pattern("a", 499) || a[500] != 0 {
			t.Errorf("bytes around the end are %d, %d", a[499], a[500])
		}
		return nil
	})
	if err != nil {
		t.Errorf("Guard: %v", err)
	}
	if err := m.Changed(); !errors.Is(err, ErrChanged) {
		t.Errorf("Changed: %v", err)
	}
}

func TestGuardWriteToReadOnlyView(t *testing.T) {
	skipEmulated(t)
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 1000}))
	m := mustOpen(t, path)
	a := bytesOf(t, m, "a")
	e, _ := m.files[0].header.Lookup("a")
	checkFault(t, m.Guard(func() error { a[7] = 1; return nil }), path, "a", e.Begin+7, errReadable)
}

func TestCopyOnWrite(t *testing.T) {
	skipEmulated(t)
	content := encode(nil, tens{"a", 10000})
	path := write(t, t.TempDir(), "m.safetensors", content)
	m := mustOpen(t, path, WithMode(CopyOnWrite))
	a := bytesOf(t, m, "a")
	a[5000] = ^a[5000]
	checkTensor(t, mustOpen(t, path), tens{"a", 10000})
	if _, err := mustRegion(t, m, "a").Evict(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Evict: %v", err)
	}
	if a[5000] != ^pattern("a", 5000) {
		t.Error("the write is lost")
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, content) {
		t.Errorf("the file changed, or %v", err)
	}
	if err := m.Changed(); err != nil {
		t.Error(err)
	}
}

func TestGuardPassesOtherPanics(t *testing.T) {
	m := mustOpen(t, write(t, t.TempDir(), "m.safetensors", encode(nil, tens{"a", 1000})))
	custom := errors.New("custom")
	var p *int
	for name, f := range map[string]func(){
		"value": func() { panic(custom) },
		"index": func() { sink = make([]byte, 1)[len(name(m))] },
		"nil":   func() { *p = 1 },
	} {
		func() {
			var direct, through any
			func() { defer func() { direct = recover() }(); f() }()
			func() {
				defer func() { through = recover() }()
				err := m.Guard(func() error { f(); return nil })
				t.Errorf("%s: Guard returns %v", name, err)
			}()
			if through == nil || fmt.Sprint(direct) != fmt.Sprint(through) {
				t.Errorf("%s: panic %v became %v", name, direct, through)
			}
		}()
	}
	if m.lifetime.state.Load() != 0 {
		t.Error("a Guard that panicked still holds the model")
	}
	if debug.SetPanicOnFault(false) {
		t.Error("Guard leaves SetPanicOnFault behind")
	}
}

func name(m *Model) string { return m.path }

func TestGuardNested(t *testing.T) {
	skipEmulated(t)
	dir := t.TempDir()
	path := write(t, dir, "1.safetensors", encode(nil, twoPages...))
	outer := mustOpen(t, path)
	inner := mustOpen(t, write(t, dir, "2.safetensors", encode(nil, twoPages...)))
	b := bytesOf(t, outer, "b")
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	e, _ := outer.files[0].header.Lookup("b")
	own := errors.New("own")
	err := outer.Guard(func() error {
		// The outer model's fault is an error of the nearest Guard of that model.
		err := outer.Guard(func() error {
			return inner.Guard(func() error { sink = b[70000]; return nil })
		})
		checkFault(t, err, path, "b", e.Begin+70000, io.ErrUnexpectedEOF)
		// A Guard that is over leaves the outer one at work.
		sink = b[80000]
		return own
	})
	checkFault(t, err, path, "b", e.Begin+80000, io.ErrUnexpectedEOF)
	if err := outer.Guard(func() error { return own }); err != own {
		t.Errorf("got %v, want the function's error", err)
	}
}

func TestCloseInsideGuard(t *testing.T) {
	path := write(t, t.TempDir(), "m.safetensors", encode(nil, twoPages...))
	bothBackends(t, func(t *testing.T, backend Option) {
		m := mustOpen(t, path, backend)
		b := bytesOf(t, m, "b")
		err := m.Guard(func() error {
			return m.Guard(func() error {
				if err := m.Close(); err != nil {
					return err
				}
				if _, err := m.Tensor("b"); !errors.Is(err, fs.ErrClosed) {
					t.Errorf("Tensor: %v", err)
				}
				if err := m.Guard(func() error { return nil }); !errors.Is(err, fs.ErrClosed) {
					t.Errorf("Guard: %v", err)
				}
				for i, c := range b {
					if c != pattern("b", i) {
						t.Fatalf("byte %d is %d", i, c)
					}
				}
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
		if _, err := m.files[0].f.Stat(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("the last Guard leaves the model open: %v", err)
		}
	})
}

func TestGuardGoexit(t *testing.T) {
	m := mustOpen(t, write(t, t.TempDir(), "m.safetensors", encode(nil, twoPages...)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Guard(func() error { runtime.Goexit(); return nil })
		t.Error("Goexit comes back")
	}()
	<-done
	m.Close()
	if _, err := m.files[0].f.Stat(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a Guard left by Goexit holds the model: %v", err)
	}
}
