package loader

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"heft/format"
	"heft/tensor"
)

// Region is a set of tensors of a model: a layer, an expert, a list of names.
// It holds no memory of the model's and needs no closing. It may be used from
// any goroutine; when the model is closed its methods return an error that
// matches fs.ErrClosed.
type Region struct {
	m       *Model
	tensors []placed // in disk order
	extents []extent // the bytes of the tensors, in disk order; neighbours are merged
	size    int64
}

// placed is a tensor and the file that it is in.
type placed struct {
	file  *file
	entry format.Entry
}

// extent is a part of a file that is not empty: the bytes [lo, hi).
type extent struct {
	file   *file
	lo, hi int64
}

// Region returns the region of exactly the tensors named; with no names, an
// empty one. The order of the names and names given twice do not matter.
// Errors: [ErrNotFound], fs.ErrClosed.
func (m *Model) Region(names ...string) (*Region, error) {
	if err := m.acquire("region"); err != nil {
		return nil, err
	}
	defer m.release()
	tensors := make([]placed, 0, len(names))
	for _, name := range names {
		f, e, err := m.find(name)
		if err != nil {
			return nil, err
		}
		tensors = append(tensors, placed{f, e})
	}
	slices.SortFunc(tensors, func(a, b placed) int {
		return cmp.Or(
			cmp.Compare(a.file.place, b.file.place),
			cmp.Compare(a.entry.Begin, b.entry.Begin),
			cmp.Compare(a.entry.End, b.entry.End),
			cmp.Compare(a.entry.Name, b.entry.Name),
		)
	})
	tensors = slices.CompactFunc(tensors, func(a, b placed) bool {
		return a.file == b.file && a.entry.Name == b.entry.Name
	})
	return newRegion(m, tensors), nil
}

// Module returns the region of every tensor whose name starts with prefix: ""
// is the whole model, "h.1." a layer that "h.1" would not tell from "h.10". A
// prefix that no name has gives an empty region. It looks at every name. The
// error is fs.ErrClosed.
func (m *Model) Module(prefix string) (*Region, error) {
	if err := m.acquire("module"); err != nil {
		return nil, err
	}
	defer m.release()
	return m.module(prefix), nil
}

func (m *Model) module(prefix string) *Region {
	var tensors []placed
	for f, e := range m.entries() {
		if strings.HasPrefix(e.Name, prefix) {
			tensors = append(tensors, placed{f, e})
		}
	}
	return newRegion(m, tensors)
}

// newRegion returns the region of tensors that are in disk order.
func newRegion(m *Model, tensors []placed) *Region {
	r := &Region{m: m, tensors: tensors}
	for _, t := range tensors {
		lo, hi := t.entry.Begin, t.entry.End
		if lo == hi {
			continue
		}
		r.size += hi - lo
		if n := len(r.extents); n > 0 && r.extents[n-1].file == t.file && r.extents[n-1].hi == lo {
			r.extents[n-1].hi = hi
			continue
		}
		r.extents = append(r.extents, extent{t.file, lo, hi})
	}
	return r
}

// All yields the tensors of the region in disk order, as [Model.All] does.
func (r *Region) All() iter.Seq2[tensor.Tensor, error] {
	return r.m.views(func(yield func(*file, format.Entry) bool) {
		for _, t := range r.tensors {
			if !yield(t.file, t.entry) {
				return
			}
		}
	})
}

// Size returns the number of bytes of the tensors of the region.
func (r *Region) Size() int64 { return r.size }

// Prefetch returns nil once the region is in memory and mapped, so that
// touching it waits for nothing. It returns early, with ctx's error, when ctx
// is done; a read that is under way then is finished in the background and
// holds the model until it ends, which on a hung file system may be never.
//
// It reads what is not in memory yet and nothing else, and what several calls
// want at once is read once. What is in memory is only mapped, so that calling
// it again costs little. In files just written, the page cache may hold small
// pages, which cost more to map: [Region.Evict] before Prefetch has them read
// again as huge ones.
//
// With [BackendRead] it reads the tensors that are not in memory yet.
//
// A page that cannot be read is a *[FaultError].
func (r *Region) Prefetch(ctx context.Context) error {
	if err := r.m.acquire("prefetch"); err != nil {
		return err
	}
	defer r.m.release()
	began := time.Now()
	if err := r.m.work(ctx, r.m.store.prefetch(r)); err != nil {
		return err
	}
	r.m.record.prefetched(r.size, time.Since(began))
	return nil
}

// Resident returns how many bytes of the region are in memory: in the page
// cache, to the page, whoever brought them there. It equals [Region.Size] if
// and only if all of the region is. With [BackendRead] it is the bytes of the
// tensors that have been read and not evicted.
//
// Errors: fs.ErrPermission where the kernel tells only owner and writers of a
// file; errors.ErrUnsupported where there is no way to know.
func (r *Region) Resident() (int64, error) {
	if err := r.m.acquire("resident"); err != nil {
		return 0, err
	}
	defer r.m.release()
	return r.m.store.resident(r)
}

// Evict drops the region from memory and returns the bytes that really went.
// Pages that other mappings hold stay, those at the edges that hold other
// tensors too, and with [ReadWrite] those that are not on the disk yet. The
// views stay valid: touched again, they read the file again.
//
// With [BackendRead] it forgets the tensors: slices handed out stay valid, and
// their memory is free when the last of them is gone.
//
// Errors: errors.ErrUnsupported with [CopyOnWrite], whose private pages it
// would lose, and where the platform cannot do it.
func (r *Region) Evict() (int64, error) {
	if err := r.m.acquire("evict"); err != nil {
		return 0, err
	}
	defer r.m.release()
	return r.m.store.evict(r)
}

// Advice is a hint about how a region will be used, given to the kernel in its
// own words. Parts of a file with different hints become mappings of their own,
// of which a process may have some ten thousands: hints are for modules, not
// for thousands of tensors.
//
// A mapping begins with HugePage and Random: touching a byte reads the huge page
// around it, 2 MiB, and nothing beyond it. With HugePage alone one touch reads
// 12 MiB where the device's read-ahead is large (8 MiB), and touching
// everything in order is no faster. [Region.Prefetch] relies on both: of a
// region with other hints it may read more than is wanted, in smaller pages.
//
// Before Linux 5.18, and where huge pages are larger than 2 MiB, a mapping
// begins without Random, which there has every page read by itself.
type Advice uint8

const (
	Normal     Advice = iota // read ahead as the device is set to; undoes Sequential and Random
	Sequential               // read ahead more, and drop sooner what was read: slower than Normal for weights
	Random                   // no read-ahead: 2 MiB a touch with HugePage, else a page a touch, which is 30 times slower for whole tensors
	HugePage                 // read and map 2 MiB at a time
	NoHugePage               // read and map small pages, with read-ahead as Normal: ten times the processor time
	Cold                     // first to go when memory is short
)

// String returns the name of the constant.
func (a Advice) String() string {
	names := [...]string{"Normal", "Sequential", "Random", "HugePage", "NoHugePage", "Cold"}
	if int(a) < len(names) {
		return names[a]
	}
	return fmt.Sprintf("Advice(%d)", uint8(a))
}

// Advise passes a hint about the region, rounded out to whole pages, to the
// kernel. No hint can lose data. The error is errors.ErrUnsupported with
// [BackendRead], where the platform or the kernel does not know the hint, and for
// Cold where some of the region is pinned.
func (r *Region) Advise(a Advice) error {
	if err := r.m.acquire("advise"); err != nil {
		return err
	}
	defer r.m.release()
	if err := r.m.store.advise(r, a); err != nil {
		return r.m.fail("advise", fmt.Errorf("%v: %w", a, err))
	}
	return nil
}
