//go:build linux || darwin || windows

package loader

// pieces of a mapped model are blocks of its files, of the size of a huge page:
// the page cache holds such a block as one, where it can, and drops it as one or
// not at all.
func (*mapped) pieces(r *Region) (pieces []piece) {
	for _, x := range r.extents {
		for at := x.lo; at < x.hi; {
			lo := at / hugePage * hugePage
			hi := min(lo+hugePage, x.file.id.size)
			need := min(hi, x.hi) - at
			if n := len(pieces); n > 0 && pieces[n-1].file == x.file && pieces[n-1].lo == lo {
				pieces[n-1].need += need
			} else {
				pieces = append(pieces, piece{extent{x.file, lo, hi}, need})
			}
			at = hi
		}
	}
	return pieces
}

func (s *mapped) discard(pieces []piece) {
	if s.mode == CopyOnWrite {
		return
	}
	for _, p := range pieces {
		p.drop() // what stays, because it is pinned for one, costs memory and nothing else
	}
}
