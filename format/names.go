package format

import (
	"bytes"
	"hash/maphash"
	"math/bits"
)

// nameTable finds names in a list that its owner keeps, by open addressing.
// There are a power of two of slots, of which at most two in three are taken. A
// slot holds the name's place in the list, from 1, in as many of its low bits as
// that takes, and above them bits of the name's hash; 0 is empty. The hash is
// seeded anew in each process, so that no file can be made to collide.
type nameTable []uint32

var hashSeed = maphash.MakeSeed()

// newNameTable returns a table with room for the places 0 to n-1.
func newNameTable(n int) nameTable { return make(nameTable, 1<<bits.Len(uint(n+n/2))) }

// add enters a name with its place, and reports whether it was there; its place
// is the new one then. The names of the places entered before are those that
// at returns.
func (t nameTable) add(name string, place int, at func(place int) string) (again bool) {
	slot, bits, again := t.slot(name, at)
	t[slot] = bits | uint32(place+1)
	return again
}

// find returns the place of a name.
func (t nameTable) find(name string, at func(place int) string) (place int, ok bool) {
	if len(t) == 0 {
		return 0, false
	}
	slot, _, ok := t.slot(name, at)
	return int(t[slot]&uint32(len(t)-1)) - 1, ok
}

// slot returns where a name is, or where it would go, and the bits of its hash
// that its slot holds.
func (t nameTable) slot(name string, at func(place int) string) (slot int, tag uint32, taken bool) {
	hash, places := maphash.String(hashSeed, name), uint32(len(t)-1)
	tag = uint32(hash>>32) &^ places
	for i := hash; ; i++ {
		slot = int(i & uint64(places))
		v := t[slot]
		if v == 0 {
			return slot, tag, false
		}
		if v&^places == tag && at(int(v&places)-1) == name {
			return slot, tag, true
		}
	}
}

// index enters the names of a whole list, whose places are those that at
// returns them for. Of elements with one name the last is found.
func index(n int, at func(place int) string) (t nameTable, duplicates bool) {
	t = newNameTable(n)
	for i := range n {
		duplicates = t.add(at(i), i, at) || duplicates
	}
	return t, duplicates
}

// unique indexes a list by name. Of elements with one name it keeps the last.
func unique[T any](list []T, name func(*T) string) ([]T, nameTable) {
	at := func(i int) string { return name(&list[i]) }
	t, duplicates := index(len(list), at)
	if !duplicates {
		return list, t
	}
	last := list[:0] // what has been moved has another name than all that follows
	for i := range list {
		if place, _ := t.find(at(i), at); place == i {
			last = append(last, list[i])
		}
	}
	return unique(last, name)
}

// estimate returns about how often c stands in text, or somewhat more: it
// looks at some places of a long one.
func estimate(text []byte, c byte) int {
	const places, sample = 8, 4 << 10
	if len(text) <= places*sample {
		return bytes.Count(text, []byte{c})
	}
	n := 0
	for i := range places {
		at := len(text) / places * i
		n += bytes.Count(text[at:at+sample], []byte{c})
	}
	return int(float64(n) / (places * sample) * float64(len(text)) * 33 / 32)
}
