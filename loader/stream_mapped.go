//go:build linux || darwin || windows

package loader

// pieces of a mapped model are blocks of its files, of the size of a huge page:
// the page cache holds such a block as one, where it can, and drops it as one or
// not at all.
func (*mapped) pieces(r *Region) (pieces []extent) {
	const block = 2 << 20
	for _, x := range r.extents {
		lo := x.lo / block * block
		if n := len(pieces); n > 0 && pieces[n-1].file == x.file && lo < pieces[n-1].hi {
			lo += block // it ends the piece before
		}
		for ; lo < x.hi; lo += block {
			pieces = append(pieces, extent{x.file, lo, min(lo+block, x.file.id.size)})
		}
	}
	return pieces
}

func (s *mapped) discard(pieces []extent) {
	if s.mode == CopyOnWrite {
		return
	}
	for i := 0; i < len(pieces); {
		run := pieces[i]
		for i++; i < len(pieces) && pieces[i].file == run.file && pieces[i].lo == run.hi; i++ {
			run.hi = pieces[i].hi
		}
		run.drop() // what stays costs memory, nothing else
	}
}
