package loader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
)

const mib = 1 << 20

// layers is a model of n layers of three tensors, which begin and end inside
// blocks and pages. Its bytes differ from layer to layer.
func layers(n, size int) (ts []tens) {
	for i := range n {
		for j, part := range []int{size / 2, 0, size/2 + 37} {
			ts = append(ts, tens{fmt.Sprintf("%c.%d", 'a'+i, j), part})
		}
	}
	return ts
}

// openLayers opens such a model, with a region for each layer.
func openLayers(t testing.TB, n, size int, opts ...Option) (*Model, []*Region) {
	t.Helper()
	m := mustOpen(t, write(t, t.TempDir(), "m.safetensors", encode(nil, layers(n, size)...)), opts...)
	return m, regionsOf(t, m, n)
}

func regionsOf(t testing.TB, m *Model, n int) (regions []*Region) {
	t.Helper()
	for i := range n {
		r, err := m.Module(fmt.Sprintf("%c.", 'a'+i))
		if err != nil {
			t.Fatal(err)
		}
		regions = append(regions, r)
	}
	return regions
}

// checkRegion holds the tensors of a region against what encode wrote.
func checkRegion(t testing.TB, r *Region) {
	t.Helper()
	if err := compare(r); err != nil {
		t.Error(err)
	}
}

func compare(r *Region) error {
	for x, err := range r.All() {
		if err != nil {
			return err
		}
		want := tens{x.Name(), 1 << 16}.bytes() // then they repeat
		for b := range slices.Chunk(x.Bytes(), len(want)) {
			if !bytes.Equal(b, want[:len(b)]) {
				return fmt.Errorf("%q: other bytes than were written", x.Name())
			}
		}
	}
	return nil
}

// inBubble runs a test on both backends and fails if a goroutine outlives it.
func inBubble(t *testing.T, f func(t *testing.T, backend Option)) {
	bothBackends(t, func(t *testing.T, backend Option) {
		synctest.Test(t, func(t *testing.T) { f(t, backend) })
	})
}

// checkUsers fails if the model has users.
func checkUsers(t testing.TB, m *Model) {
	t.Helper()
	synctest.Wait()
	if s := m.lifetime.state.Load(); s&^closedBit != 0 {
		t.Errorf("%d users are left", s/oneUser)
	}
}

func TestStream(t *testing.T) {
	inBubble(t, func(t *testing.T, backend Option) {
		m, regions := openLayers(t, 6, mib, backend)
		empty := mustRegion(t, m)
		regions = append(regions, empty, regions[2], regions[2], mustRegion(t, m, "a.2", "f.0"), empty)
		for _, window := range []int64{0, 1, 4 * mib, math.MaxInt64} {
			for policy := range EvictAlways + 1 {
				stream := m.Stream(t.Context(), StreamOptions{window, policy}, regions...)
				for range 2 {
					i := 0
					for r, err := range stream {
						if err != nil || r != regions[i] {
							t.Fatalf("window %d, %v: step %d: region %p, %v; want %p", window, policy, i, r, err, regions[i])
						}
						checkRegion(t, r)
						i++
					}
					if i != len(regions) {
						t.Fatalf("window %d, %v: %d regions of %d", window, policy, i, len(regions))
					}
				}
			}
		}
		checkUsers(t, m)
	})
}

// What has been read, at each step, is what the window holds; and after the
// loop nothing if it evicts, or all.
func TestStreamWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, regions := openLayers(t, 8, mib, WithBackend(BackendRead))
		loaded := func() (s string) {
			for _, r := range regions {
				n, _ := r.Resident()
				s += map[int64]string{0: ".", r.Size(): "X"}[n]
			}
			return s
		}
		twice := append(regions[:8:8], regions[0], regions[1])
		for _, test := range []struct {
			name    string
			o       StreamOptions
			regions []*Region
			want    []string
		}{
			{"one at a time", StreamOptions{mib + 37, EvictAlways}, regions[:3],
				[]string{"X.......", ".X......", "..X.....", "........"}},
			{"larger than the window", StreamOptions{mib, EvictAlways}, regions[:3],
				[]string{"X.......", ".X......", "..X.....", "........"}},
			{"room for three", StreamOptions{3 * (mib + 37), EvictAlways}, regions,
				[]string{"XXX.....", ".XXX....", "..XXX...", "...XXX..", "....XXX.", ".....XXX", "......XX", ".......X", "........"}},
			{"the first two again, in reach at the end", StreamOptions{3*(mib+37) + 1, EvictAlways}, twice,
				[]string{"XXX.....", ".XXX....", "..XXX...", "...XXX..", "....XXX.", ".....XXX", "X.....XX", "XX.....X", "XX......", ".X......", "........"}},
			{"one again at once", StreamOptions{2 * (mib + 37), EvictAlways}, []*Region{regions[0], regions[1], regions[0], regions[2]},
				[]string{"XX......", "XX......", "X.X.....", "..X.....", "........"}},
			{"never", StreamOptions{2 * (mib + 37), EvictNever}, regions[2:6],
				[]string{"..XX....", "..XXX...", "..XXXX..", "..XXXX..", "..XXXX.."}},
		} {
			if _, err := mustRegion(t, m, namesOf(m)...).Evict(); err != nil {
				t.Fatal(err)
			}
			step := 0
			check := func() {
				t.Helper()
				synctest.Wait()
				if s := loaded(); s != test.want[step] {
					t.Errorf("%s: step %d: %s, want %s", test.name, step, s, test.want[step])
				}
				step++
			}
			for _, err := range m.Stream(t.Context(), test.o, test.regions...) {
				if err != nil {
					t.Fatal(err)
				}
				check()
			}
			check()
		}
	})
}

// Tensors that the window needs are not dropped, and those that it needs no more are.
func TestStreamOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustOpen(t, write(t, t.TempDir(), "m.safetensors", encode(nil, layers(6, mib)...)), WithBackend(BackendRead))
		tied := func(names ...string) *Region { return mustRegion(t, m, append(names, "a.0")...) }
		regions := []*Region{tied("b.0"), tied("c.0"), tied(), mustRegion(t, m, "d.0"), mustRegion(t, m, "e.0"), tied("f.0")}
		shared := mustRegion(t, m, "a.0")
		before := new(byte)
		i, want := 0, []bool{true, true, true, false, true, true}
		for r, err := range m.Stream(t.Context(), StreamOptions{mib + mib/2, EvictAlways}, regions...) {
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			n, _ := shared.Resident()
			if (n > 0) != want[i] {
				t.Errorf("step %d: %d bytes of the shared tensor are in memory", i, n)
			}
			if n, _ := r.Resident(); n != r.Size() {
				t.Errorf("step %d: %d of %d bytes are in memory", i, n, r.Size())
			}
			if n > 0 {
				at := &bytesOf(t, m, "a.0")[0]
				if i > 0 && i < 3 && at != before {
					t.Errorf("step %d: the shared tensor was read again", i)
				}
				before = at
			}
			i++
		}
		checkUsers(t, m)
	})
}

func TestStreamSettle(t *testing.T) {
	sized := func(sizes ...int64) (rs []*Region) {
		for _, n := range sizes {
			rs = append(rs, &Region{size: n})
		}
		return rs
	}
	for _, test := range []struct {
		o          StreamOptions
		free, need int64
		regions    []*Region
		window     int64
		evict      bool
	}{
		{StreamOptions{}, 1000, 100, sized(50, 50), 250, false},
		{StreamOptions{}, 1000, 800, sized(50, 750), 500, false},
		{StreamOptions{}, 1000, 801, sized(150, 50), 300, true},
		{StreamOptions{}, 0, 1, sized(1), 0, true},
		{StreamOptions{}, -1, 1, sized(1), windowUnknown, true},
		{StreamOptions{Evict: EvictNever}, -1, 1, sized(1), windowUnknown, false},
		{StreamOptions{Evict: EvictNever}, 10, 100, sized(1), 2, false},
		{StreamOptions{Evict: EvictAlways}, 1000, 1, sized(1), 250, true},
		{StreamOptions{Window: 7}, 1000, 900, sized(300), 7, true},
		{StreamOptions{Window: 7}, 1000, 100, sized(300), 7, false},
	} {
		window, evict := test.o.settle(test.free, test.need, test.regions)
		if window != test.window || evict != test.evict {
			t.Errorf("%+v, %d free, %d needed: window %d, evict %v; want %d, %v",
				test.o, test.free, test.need, window, evict, test.window, test.evict)
		}
	}
}

// Tensors count once, and copies that are in memory not at all.
func TestStreamLacking(t *testing.T) {
	bothBackends(t, func(t *testing.T, backend Option) {
		m, regions := openLayers(t, 3, mib, backend)
		size := regions[0].Size()
		if n := m.lacking(append(regions, regions[0], mustRegion(t, m, "c.0", "b.2"))); n != 3*size {
			t.Errorf("%d, want %d", n, 3*size)
		}
		if err := regions[1].Prefetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := 3 * size
		if _, ok := m.store.(*heap); ok {
			want -= size
		}
		if n := m.lacking(append(regions, regions[1])); n != want {
			t.Errorf("one in memory: %d, want %d", n, want)
		}
	})
}

func TestStreamBadArguments(t *testing.T) {
	bothBackends(t, func(t *testing.T, backend Option) {
		m, regions := openLayers(t, 2, 1000, backend)
		other, foreign := openLayers(t, 2, 1000, backend)
		once := func(m *Model, ctx context.Context, o StreamOptions, regions ...*Region) error {
			t.Helper()
			var got error
			n := 0
			for _, err := range m.Stream(ctx, o, regions...) {
				got = err
				n++
			}
			if n != 1 {
				t.Errorf("%d steps, want 1", n)
			}
			return got
		}
		ctx := context.Background()
		checkPathError(t, once(m, ctx, StreamOptions{}, regions[0], foreign[1]), "stream", m.path, "a region of another model, "+other.path)
		for _, o := range []StreamOptions{{Window: -1}, {Evict: EvictAlways + 1}} {
			err := once(m, ctx, o, regions...)
			if checkPathError(t, err, "stream", m.path, "invalid argument: window of"); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%+v: %v", o, err)
			}
		}
		done, cancel := context.WithCancel(ctx)
		cancel()
		if err := once(m, done, StreamOptions{}, regions...); err != context.Canceled {
			t.Errorf("context done: %v", err)
		}
		m.Close()
		err := once(m, ctx, StreamOptions{}, regions...)
		if checkPathError(t, err, "stream", m.path, "closed"); !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
		for range m.Stream(done, StreamOptions{Window: -1}) {
			t.Error("no regions, and yet a step")
		}
	})
}

// However the loop ends: nobody is left, and nothing that was read stays.
func TestStreamEnds(t *testing.T) {
	var ctx context.Context
	var cancel context.CancelCauseFunc
	var m *Model
	for name, end := range map[string]func() (again bool){
		"break":  func() bool { return false },
		"cancel": func() bool { cancel(nil); return true },
		"close":  func() bool { m.Close(); return true },
		"panic":  func() bool { panic("end") },
		"exit":   func() bool { runtime.Goexit(); return true },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, backend Option) {
				var regions []*Region
				m, regions = openLayers(t, 6, 3*mib, backend)
				ctx, cancel = context.WithCancelCause(context.Background())
				defer cancel(nil)
				steps, over := 0, error(nil)
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { recover() }()
					for r, err := range m.Stream(ctx, StreamOptions{8 * mib, EvictAlways}, regions...) {
						if err != nil {
							over = err
							continue
						}
						checkRegion(t, r)
						if steps++; steps == 3 {
							again := end()
							if name == "close" { // the views of this step are still there
								f := m.files[0]
								if f.data != nil && f.data[f.header.Tensors[6].Begin] != pattern("c.0", 0) {
									t.Error("other bytes than were written")
								}
							}
							if !again {
								break
							}
						}
					}
				}()
				<-done
				want := map[string]error{"cancel": context.Canceled, "close": fs.ErrClosed}[name]
				if steps != 3 || !errors.Is(over, want) {
					t.Errorf("%d steps, then %v; want 3, then %v", steps, over, want)
				}
				checkUsers(t, m)
				if h, ok := m.store.(*heap); ok && len(h.cells) > 0 {
					t.Errorf("%d tensors are still in memory", len(h.cells))
				}
			})
		})
	}
}

// A region that cannot be read is told of, and the others come.
func TestStreamFault(t *testing.T) {
	inBubble(t, func(t *testing.T, backend Option) {
		m, regions := openLayers(t, 6, 3*mib, backend)
		e, _ := m.files[0].header.Lookup("d.0")
		if err := os.Truncate(m.path, e.Begin+mib); err != nil {
			t.Skipf("the system does not let files that are mapped be truncated: %v", err)
		}
		order := []*Region{regions[0], regions[3], regions[1], regions[4], regions[2]}
		i := 0
		for r, err := range m.Stream(t.Context(), StreamOptions{8 * mib, EvictAlways}, order...) {
			if r != order[i] {
				t.Fatalf("step %d: another region", i)
			}
			var fault *FaultError
			if bad := i == 1 || i == 3; bad != errors.As(err, &fault) || !bad && err != nil {
				t.Errorf("step %d: %v", i, err)
			} else if bad && fault.Tensor[0] != "_d_e"[i] {
				t.Errorf("step %d: %v", i, err)
			} else if !bad {
				checkRegion(t, r)
			}
			i++
		}
		if i != len(order) {
			t.Errorf("%d steps, want %d", i, len(order))
		}
		checkUsers(t, m)
	})
}

// Streams, of one model and closed under way, do not disturb each other.
func TestStreamMany(t *testing.T) {
	inBubble(t, func(t *testing.T, backend Option) {
		m, regions := openLayers(t, 6, mib, backend)
		done := make(chan error)
		const streams = 8
		for i := range streams {
			go func() {
				for pass := 0; ; pass++ {
					for r, err := range m.Stream(context.Background(), StreamOptions{int64(i) * mib, EvictPolicy(i % 3)}, regions...) {
						if err != nil {
							done <- err
							return
						}
						// The stream holds the model open: no Guard is needed.
						if err := compare(r); err != nil && !errors.Is(err, fs.ErrClosed) {
							t.Error(err)
						}
					}
					if i == 0 && pass == 10 {
						m.Close()
					}
				}
			}()
		}
		for range streams {
			if err := <-done; !errors.Is(err, fs.ErrClosed) {
				t.Error(err)
			}
		}
		checkUsers(t, m)
	})
}
