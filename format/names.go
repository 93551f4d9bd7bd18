package format

import (
	"hash/maphash"
	"math/bits"
)

// nameTable finds names in a list that its owner keeps, by open addressing.
// A slot holds the upper half of the name's hash and, from 1, its place in the
// list; 0 is empty. At most two of three slots are taken. The hash is seeded
// anew in each process, so that no file can be made to collide.
type nameTable []uint64

var hashSeed = maphash.MakeSeed()

// unique indexes a list by name. Of elements with one name it keeps the last.
func unique[T any](list []T, name func(*T) string) ([]T, nameTable) {
	at := func(i int) string { return name(&list[i]) }
	t, duplicates := newNameTable(len(list), at)
	if !duplicates {
		return list, t
	}
	var last []T
	for i := range list {
		if place, _ := t.find(at(i), at); place == i {
			last = append(last, list[i])
		}
	}
	return unique(last, name)
}

// newNameTable returns a table of the n names that name returns for the places
// 0 to n-1. Of places with the same name the last is found.
func newNameTable(n int, name func(place int) string) (t nameTable, duplicates bool) {
	t = make(nameTable, 1<<bits.Len(uint(n+n/2)))
	for i := range n {
		slot, taken := t.slot(name(i), name)
		duplicates = duplicates || taken
		t[slot.at] = slot.hash | uint64(i+1)
	}
	return t, duplicates
}

// find returns the place of a name.
func (t nameTable) find(wanted string, name func(place int) string) (place int, ok bool) {
	if len(t) == 0 {
		return 0, false
	}
	slot, taken := t.slot(wanted, name)
	return int(uint32(t[slot.at])) - 1, taken
}

// slot returns where the wanted name is, or where it would go.
func (t nameTable) slot(wanted string, name func(place int) string) (slot struct {
	at   int
	hash uint64
}, taken bool) {
	const hashBits = 0xffffffff << 32
	hash := maphash.String(hashSeed, wanted)
	slot.hash = hash & hashBits
	for i := hash; ; i++ {
		slot.at = int(i & uint64(len(t)-1))
		v := t[slot.at]
		if v == 0 {
			return slot, false
		}
		if v&hashBits == slot.hash && name(int(uint32(v))-1) == wanted {
			return slot, true
		}
	}
}
