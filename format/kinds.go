package format

import (
	"encoding/binary"
	"math/bits"

	"heft/tensor"
)

// kind is the type and shape of tensors, as one of them was spelled.
type kind struct {
	text  string // from the quote behind the name up to the first offset
	dtype tensor.DType
	shape []int
	size  product
}

// kinds are some that the text has shown. A model has thousands of tensors of a
// few kinds, and whoever wrote it spells each kind always alike.
type kinds [32]kind

// at returns where the kind goes whose text begins at i. It looks at where type
// and shape mostly stand.
func (k *kinds) at(b []byte, i int) *kind {
	b = b[i+12 : i+40]
	w := binary.LittleEndian.Uint64(b) ^ binary.LittleEndian.Uint64(b[8:]) ^
		binary.LittleEndian.Uint64(b[16:])<<1 ^ binary.LittleEndian.Uint64(b[20:])<<2
	const golden = 0x9e3779b97f4a7c15
	return &k[w*golden>>(64-5)]
}

const (
	shortKind = len(`":{"dtype":"F4","shape":[],"data_offsets":[`) // there is no shorter one
	afterKind = len(`123456789012345,123456789012345]}`)           // and what uintAt looks at
)

// learn notes the kind of a tensor of which everything stands between its name and its offsets.
func (p *parser) learn(e *Entry) {
	*p.kinds.at(p.b, p.nameEnd) = kind{p.text[p.nameEnd:p.offsetsAt], e.DType, e.Shape, p.last}
}

// familiar reads a tensor, name and all, of a kind that the text has shown
// before. This is most of the time that headers take, and several times as fast
// as member, which reads anything; where the text differs, or is about to end,
// it leaves that to member, position and all.
func (p *parser) familiar() bool {
	if p.report != nil || p.next() != '"' {
		return false
	}
	b, start := p.b, p.i+1
	i, beyond := plain(b, start)
	if i > len(b)-shortKind-afterKind {
		return false
	}
	k := p.kinds.at(b, i)
	if len(k.text) > len(b)-i-afterKind || k.text == "" || string(b[i:i+len(k.text)]) != k.text {
		return false
	}
	name := p.text[start:i]
	begin, i := p.beginAt(i + len(k.text))
	if i < 0 || b[i] != ',' {
		return false
	}
	if i++; b[i] == ' ' {
		i++
	}
	endAt := i
	end, i := uintAt(b, i)
	if i < 0 || i > len(b)-2 || b[i] != ']' || b[i+1] != '}' || name == metadataKey {
		return false
	}
	p.end = spelledUint{endAt, i - endAt, end}
	p.i, p.beyond, p.last = i+2, p.beyond|beyond, k.size
	e := p.room()
	e.Name, e.DType, e.Shape, e.Begin, e.End = name, k.dtype, k.shape, int64(begin), int64(end)
	p.add(e)
	return true
}

// beginAt is uintAt for the begin of a tensor, which is mostly the end of the
// one before: comparing digits is quicker than reading them.
func (p *parser) beginAt(i int) (begin uint64, end int) {
	if n := p.end.digits; n > 0 && i <= len(p.b)-16 {
		before, here := p.b[p.end.at:][:16], p.b[i:][:16]
		alike := bits.TrailingZeros64(binary.LittleEndian.Uint64(before)^binary.LittleEndian.Uint64(here)) / 8
		if alike == 8 {
			alike += bits.TrailingZeros64(binary.LittleEndian.Uint64(before[8:])^binary.LittleEndian.Uint64(here[8:])) / 8
		}
		if alike == n { // behind it stands something else, here by the caller's care no digit
			return p.end.value, i + n
		}
	}
	return uintAt(p.b, i)
}
