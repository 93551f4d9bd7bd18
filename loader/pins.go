//go:build linux || darwin || windows

package loader

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// pins are the regions that are pinned, one as often as it is.
type pins struct {
	mu      sync.Mutex
	regions []*Region
}

var errNotPinned = errors.New("the region is not pinned")

func (s *mapped) pin(r *Region) error {
	if s.mode == CopyOnWrite {
		return r.m.fail("pin", errors.ErrUnsupported)
	}
	// mlock(2) faults one page after the other and does not say which one failed.
	if err := r.m.work(context.Background(), s.prefetch(r)); err != nil {
		return err
	}
	s.pins.mu.Lock()
	defer s.pins.mu.Unlock()
	for i, x := range r.extents {
		if err := lock(x.pages()); err != nil {
			s.unlock(r.extents[:i+1]) // mlock(2) leaves locked what it could not bring in
			if errors.Is(populate(x.pages()), errFault) {
				return x.explain(errFault)
			}
			return pathError("pin", x.file.path, lockError(err, r.size))
		}
	}
	s.pins.regions = append(s.pins.regions, r)
	return nil
}

func (s *mapped) unpin(r *Region) error {
	s.pins.mu.Lock()
	defer s.pins.mu.Unlock()
	i := slices.Index(s.pins.regions, r)
	if i < 0 {
		return r.m.fail("unpin", errNotPinned)
	}
	s.pins.regions = slices.Delete(s.pins.regions, i, i+1)
	return s.unlock(r.extents)
}

// unlock releases the pages of extents that no pinned region holds. pins.mu is held.
func (s *mapped) unlock(extents []extent) error {
	for _, x := range s.pins.without(extents) {
		if err := unlock(x.pages()); err != nil {
			return pathError("unpin", x.file.path, err)
		}
	}
	return nil
}

// unpinned returns the extents of a region without the pages that are pinned.
func (s *mapped) unpinned(r *Region) []extent {
	s.pins.mu.Lock()
	defer s.pins.mu.Unlock()
	if len(s.pins.regions) == 0 {
		return r.extents
	}
	return s.pins.without(r.extents)
}

// without returns the whole pages of extents, clipped to their files, that no
// pinned region holds. mu is held.
func (p *pins) without(extents []extent) []extent {
	free := make([]extent, len(extents))
	for i, x := range extents {
		free[i] = x.rounded()
	}
	for _, r := range p.regions {
		for _, held := range r.extents {
			free = subtract(free, held.rounded())
		}
	}
	return free
}

// rounded returns the whole pages of the extent, the last one to the end of the file.
func (x extent) rounded() extent {
	page := int64(pageSize)
	return extent{x.file, x.lo / page * page, min((x.hi+page-1)/page*page, x.file.id.size)}
}

// subtract returns what is left of extents without the bytes of y.
func subtract(extents []extent, y extent) []extent {
	var left []extent
	for _, x := range extents {
		if x.file != y.file || x.hi <= y.lo || y.hi <= x.lo {
			left = append(left, x)
			continue
		}
		if x.lo < y.lo {
			left = append(left, extent{x.file, x.lo, y.lo})
		}
		if y.hi < x.hi {
			left = append(left, extent{x.file, y.hi, x.hi})
		}
	}
	return left
}
