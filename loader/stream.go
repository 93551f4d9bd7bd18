package loader

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// EvictPolicy says what a stream does with the regions that it has left behind.
type EvictPolicy uint8

const (
	// EvictAuto drops what is behind if the tensors of all regions of the stream
	// together take more than four fifths of the memory that can be had, or if
	// the platform does not tell how much that is.
	EvictAuto EvictPolicy = iota
	// EvictNever drops nothing: the kernel reclaims what it must. With
	// [BackendRead] nobody does.
	EvictNever
	// EvictAlways drops what is behind.
	EvictAlways
)

// String returns the name of the constant.
func (p EvictPolicy) String() string {
	switch p {
	case EvictAuto:
		return "EvictAuto"
	case EvictNever:
		return "EvictNever"
	case EvictAlways:
		return "EvictAlways"
	}
	return fmt.Sprintf("EvictPolicy(%d)", uint8(p))
}

// StreamOptions are the choices of a [Model.Stream]. The zero value suits
// models of any size.
type StreamOptions struct {
	// Window is how many bytes the stream holds in memory at once: the region
	// that is yielded and those after it that are on their way. Reading goes on
	// while a region is worked on if the window has room for two. A region that
	// is larger than the window comes alone.
	//
	// Zero takes a quarter of the memory that can be had, since the program
	// needs memory for its own work too; up to a half, where a quarter has no
	// room for twice the largest region; 1 GiB where the platform does not tell.
	// The memory that can be had is what the kernel calls available, or less
	// where control groups (versions 1 and 2, all that are nested) leave less.
	Window int64
	// Evict says what becomes of the regions behind.
	Evict EvictPolicy
}

// windowUnknown is the window where nobody says how much memory there is.
const windowUnknown = 1 << 30

// Stream yields the regions in the order given, which is best the order in the
// file, each of them in memory and mapped as [Region.Prefetch] leaves it. While
// the caller works on one, the next ones are brought in, as many as the window
// holds. A region may be given more than once, and regions may overlap.
//
// What is behind is dropped, as o says, but for what the regions in the window
// need too, and so is what the stream still holds when the loop ends, however
// it ends. Only memory is dropped: views stay valid, and read the file again when
// they are touched. Dropping is done in blocks of 2 MiB, with whatever shares
// them, and leaves what other processes map or anybody has pinned. With
// [BackendRead] it forgets the copies of tensors, as [Region.Evict] does. In mode
// [CopyOnWrite], whose writes it would lose, and on macOS and Windows, where
// mapped files cannot be dropped, it is skipped.
//
// An error is yielded with the region that it concerns:
//
//   - A *[FaultError] says that a part of this region could not be read. The
//     next regions follow if the loop goes on.
//   - The error of ctx, or fs.ErrClosed, ends the stream.
//   - A region of another model, or options that make no sense, end it before
//     anything is read.
//
// The stream is a user of the model: it may be closed inside the loop or
// elsewhere, and views stay valid until the loop's body ends. No goroutine
// outlives the loop, but for reads under way, as Prefetch describes.
//
// Each loop over the result is a stream of its own. With no regions it yields
// nothing.
func (m *Model) Stream(ctx context.Context, o StreamOptions, regions ...*Region) iter.Seq2[*Region, error] {
	regions = slices.Clone(regions)
	return func(yield func(*Region, error) bool) {
		if len(regions) == 0 {
			return
		}
		if err := m.acquire("stream"); err != nil {
			yield(regions[0], err)
			return
		}
		defer m.release()
		for _, r := range regions {
			if r.m != m {
				yield(r, m.fail("stream", fmt.Errorf("a region of another model, %s", r.m.path)))
				return
			}
		}
		s, err := m.newStream(o, regions)
		if err != nil {
			yield(regions[0], err)
			return
		}
		s.run(ctx, yield)
	}
}

// stream is one run of [Model.Stream]. The caller's goroutine takes regions; one
// other, which runs ahead, asks for them and drops them.
type stream struct {
	m       *Model
	store   discarder
	regions []*Region
	window  int64
	evict   bool
	ready   []chan error  // for each region, with room for what became of its Prefetch
	left    chan struct{} // with room for a token for each region that the caller is through with

	// These belong to the goroutine that runs ahead. The regions [behind, asked) are held.
	behind, asked int
	needs         map[place]int64 // of the pieces that are held: the bytes that regions need of them, each region for itself
	held          int64           // the bytes needed of all pieces, of none more than its size
}

// discarder is a store whose memory can be dropped piece by piece.
type discarder interface {
	// pieces returns the memory of which a region needs something, in pieces
	// that come and go as a whole.
	pieces(r *Region) []piece
	// discard drops pieces as far as that can be done.
	discard([]piece)
}

// piece is an extent that no other piece overlaps, and how much of it a region needs.
type piece struct {
	extent
	need int64
}

func (m *Model) newStream(o StreamOptions, regions []*Region) (*stream, error) {
	if o.Window < 0 || o.Evict > EvictAlways {
		return nil, m.fail("stream", fmt.Errorf("%w: window of %d bytes, %v", fs.ErrInvalid, o.Window, o.Evict))
	}
	s := &stream{
		m: m, store: m.store.(discarder), regions: regions,
		ready: make([]chan error, len(regions)), left: make(chan struct{}, len(regions)),
		needs: make(map[place]int64),
	}
	for i := range s.ready {
		s.ready[i] = make(chan error, 1)
	}
	free, err := headroom()
	if err != nil {
		free = -1
	}
	s.window, s.evict = o.settle(free, m.lacking(regions), regions)
	return s, nil
}

// settle returns the window, and whether to evict, where free bytes of memory
// can be had, or an unknown number if free is negative, and the regions still
// need so many.
func (o StreamOptions) settle(free, need int64, regions []*Region) (window int64, evict bool) {
	var largest int64
	for _, r := range regions {
		largest = max(largest, r.size)
	}
	switch {
	case o.Window > 0:
		window = o.Window
	case free < 0:
		window = windowUnknown
	default:
		window = min(max(free/4, 2*largest), free/2)
	}
	return window, o.Evict == EvictAlways || o.Evict == EvictAuto && (free < 0 || need > free/5*4)
}

// lacking returns how many bytes the tensors of the regions need beyond those
// that are taken already. The page cache counts as free even when it is full.
func (m *Model) lacking(regions []*Region) int64 {
	all, seen := &Region{m: m}, make(map[place]bool)
	for _, r := range regions {
		for _, t := range r.tensors {
			if p := (place{t.file, t.entry.Begin}); t.entry.Size() > 0 && !seen[p] {
				seen[p] = true
				all.tensors = append(all.tensors, t)
				all.size += t.entry.Size()
			}
		}
	}
	if h, ok := m.store.(*heap); ok {
		read, _ := h.resident(all)
		return all.size - read
	}
	return all.size
}

// run yields the regions.
func (s *stream) run(ctx context.Context, yield func(*Region, error) bool) {
	ahead, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.ahead(ahead) })
	defer wg.Wait() // also if the body of the loop panics
	defer cancel()
	for i, r := range s.regions {
		var err error
		select {
		case err = <-s.ready[i]:
		case <-ctx.Done():
		}
		if over := s.over(ctx); over != nil {
			yield(r, over)
			return
		}
		if !yield(r, err) {
			return
		}
		s.left <- struct{}{}
	}
}

// over returns why no more regions are to be had, or nil.
func (s *stream) over(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.m.acquire("stream"); err != nil {
		return err
	}
	s.m.release()
	return nil
}

// ahead asks for the regions one after another, each when the window has room
// for it, and drops those that the caller has left. It ends when all are left
// or ctx is done, and holds nothing then.
func (s *stream) ahead(ctx context.Context) {
	const atOnce = 2 // so that the device has something to do between two regions
	var g errgroup.Group
	g.SetLimit(atOnce)
	defer func() {
		g.Wait()
		for s.behind < s.asked {
			s.drop()
		}
	}()
	for i, r := range s.regions {
		for !s.fits(r) {
			if !s.leave(ctx) {
				return
			}
		}
		s.hold(r)
		g.Go(func() error {
			s.ready[i] <- r.Prefetch(ctx)
			return nil
		})
	}
	for s.behind < s.asked && s.leave(ctx) {
	}
}

// leave waits until the caller is through with the oldest region held and drops
// it. It returns false when ctx is done.
func (s *stream) leave(ctx context.Context) bool {
	select {
	case <-s.left:
		s.drop()
		return true
	case <-ctx.Done():
		return false
	}
}

// fits reports whether a region may be held beside those that are.
func (s *stream) fits(r *Region) bool {
	more := int64(0)
	for _, p := range s.store.pieces(r) {
		needed := s.needs[place{p.file, p.lo}]
		more += min(needed+p.need, p.hi-p.lo) - min(needed, p.hi-p.lo)
	}
	return s.behind == s.asked || more <= s.window-s.held
}

// hold counts the next region as held.
func (s *stream) hold(r *Region) {
	for _, p := range s.store.pieces(r) {
		s.require(p, p.need)
	}
	s.asked++
}

// drop gives up the oldest region, and the pieces that no other needs.
func (s *stream) drop() {
	pieces := s.store.pieces(s.regions[s.behind])
	for _, p := range pieces {
		s.require(p, -p.need)
	}
	s.behind++
	if s.evict {
		s.store.discard(slices.DeleteFunc(pieces, func(p piece) bool { return s.needs[place{p.file, p.lo}] > 0 }))
	}
}

// require says that n bytes more are needed of a piece, or less.
func (s *stream) require(p piece, n int64) {
	at := place{p.file, p.lo}
	before := s.needs[at]
	s.held += min(before+n, p.hi-p.lo) - min(before, p.hi-p.lo)
	if s.needs[at] = before + n; before+n == 0 {
		delete(s.needs, at)
	}
}

// pieces of the Read backend are tensors.
func (h *heap) pieces(r *Region) (pieces []piece) {
	for _, t := range r.tensors {
		if n := t.entry.Size(); n > 0 {
			pieces = append(pieces, piece{extent{t.file, t.entry.Begin, t.entry.End}, n})
		}
	}
	return pieces
}

func (h *heap) discard(pieces []piece) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range pieces {
		delete(h.cells, place{p.file, p.lo})
	}
}
