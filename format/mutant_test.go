package format_test

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"heft/tensor"
)

// corpus returns the files of the conformance vectors that are long enough to have a header.
func corpus(t *testing.T) [][]byte {
	var files [][]byte
	for _, row := range vectors(t, "headers.tsv")[1:] {
		file, err := hex.DecodeString(row[strings.LastIndexByte(row, '\t')+1:])
		if err != nil {
			t.Fatal(err)
		}
		if len(file) >= 8 {
			files = append(files, file)
		}
	}
	return files
}

// A mutator makes files that are nearly right, each anew.
type mutator struct {
	*rand.Rand
	corpus [][]byte
	spaces int // one in so many gaps between tokens gets white space; 0: none
}

func (m *mutator) one(in int) bool { return m.IntN(in) == 0 }

func pick[T any](m *mutator, from []T) T { return from[m.IntN(len(from))] }

// file returns a file: a tree of JSON, varied and spoilt as a tree; its text,
// spoilt as text; between a length and data that may not be what the header says.
func (m *mutator) file() []byte {
	header, data := m.model()
	if m.one(3) {
		file := pick(m, m.corpus)
		n := min(binary.LittleEndian.Uint64(file), uint64(len(file)-8))
		header, data = string(file[8:8+n]), len(file)-8-int(n)
	}
	m.spaces = pick(m, []int{0, 0, 3, 20})
	if tree, err := parseValue(json.NewDecoder(strings.NewReader(header))); err == nil {
		for range m.IntN(5) {
			m.vary(tree)
		}
		for range pick(m, []int{0, 0, 1, 1, 1, 1, 2, 3}) {
			m.spoil(tree)
		}
		header = string(m.append(nil, tree))
	}
	if m.one(12) {
		header = m.scar(header)
	}
	if m.one(3) {
		header += strings.Repeat(" ", -len(header)&7)
	}
	n := uint64(len(header))
	switch m.IntN(100) {
	case 0, 1:
		n += uint64(m.IntN(7) - 3)
	case 2:
		n = pick(m, []uint64{0, n + uint64(data), 99_999_999, 100_000_000, 100_000_001, 1 << 31, 1 << 32, n | 1<<32, 1 << 63, 1<<63 - 1, n | 1<<63, 1<<64 - 8, 1<<64 - 1})
	case 3, 4:
		data = max(0, data+m.IntN(9)-4)
	}
	file := binary.LittleEndian.AppendUint64(nil, n)
	file = append(append(file, header...), make([]byte, data)...)
	if m.one(300) {
		file = file[:m.IntN(min(len(file), 20))]
	}
	return file
}

var (
	names  = []string{"", "a", "b", "a.weight", "é", "\x00", "\u007f", "😀", "\ufeff", "\u2028", "a/b", `"\`, "dtype", "shape", "data_offsets", "__metadata__", "__metadata", "null"}
	dtypes = strings.Fields("BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64")
	bits   = strings.Fields("8 4 6 6 8 8 8 8 8 8 8 16 16 16 16 32 32 32 64 64 64 64")
	edges  = []uint64{1 << 16, 1<<31 - 1, 1 << 31, 1 << 32, 1 << 53, 1<<58 - 1, 1 << 58, 1<<60 - 1, 1 << 60, 1<<61 - 1, 1 << 61, 1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 2, 1<<64 - 1}
)

// contents returns what the reference can write: at most one key of metadata, whose order would be random.
func (m *mutator) contents() contents {
	c := contents{Tensors: []tensorContents{}}
	for i := range m.IntN(8) {
		d := tensor.Bool + tensor.DType(m.IntN(len(dtypes)))
		shape, bits := []int{}, d.Bits()
		for range m.IntN(4) {
			shape = append(shape, m.IntN(5))
			bits *= shape[len(shape)-1]
		}
		if bits%8 != 0 {
			shape, bits = append(shape, 4), bits*4
		}
		data := make([]byte, bits/8)
		for i := range data {
			data[i] = byte(m.Uint32())
		}
		c.Tensors = append(c.Tensors, tensorContents{pick(m, names) + strconv.Itoa(i), d, shape, hex.EncodeToString(data)})
	}
	switch {
	case m.one(3):
		c.Metadata = map[string]string{pick(m, names): pick(m, names)}
	case m.one(3) && len(c.Tensors) > 0: // else the reference writes what it does not read
		c.Metadata = map[string]string{}
	}
	return c
}

// model returns a header that is right unless its tensors are huge, and the number of bytes of data.
func (m *mutator) model() (header string, data int) {
	var members []string
	var at uint64
	huge, alike, n := m.one(30), m.one(2), m.IntN(6)
	if alike { // most tensors are like the one before, as they are in models
		n *= 2
	}
	var d int
	var shape []string
	var size uint64
	for i := range n {
		if !alike || i == 0 || m.one(5) {
			d, shape, size = m.kind(huge)
		}
		name := cmp.Or(pick(m, names), "x") + strconv.Itoa(i)
		members = append(members, fmt.Sprintf(`%s:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}`,
			m.quote(name, 0), dtypes[d], strings.Join(shape, ","), at, at+size))
		at += size
	}
	if m.one(3) {
		members = append(members, pick(m, []string{`"__metadata__":{"format":"pt"}`, `"__metadata__":{}`, `"__metadata__":null`, `"__metadata__":{"a":"1","b":"2"}`}))
	}
	if !alike || m.one(3) {
		m.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	}
	if at > 1<<12 {
		at = 8
	}
	return "{" + strings.Join(members, ",") + "}", int(at)
}

// kind returns the number of an element type, a shape, and the bytes that they take.
func (m *mutator) kind(huge bool) (d int, shape []string, size uint64) {
	d = m.IntN(len(dtypes))
	size, _ = strconv.ParseUint(bits[d], 10, 64)
	dim := func(n uint64) {
		shape = append(shape, strconv.FormatUint(n, 10))
		size *= n
	}
	for range m.IntN(4) {
		dim(pick(m, []uint64{0, 1, 1, 2, 2, 3, 4, 8}))
	}
	if size%8 != 0 {
		dim(4)
	}
	if huge || size == 0 && m.one(4) {
		dim(pick(m, edges))
	}
	return d, shape, size / 8
}

// A value is JSON that can be taken apart: an array or object with items, or a leaf of any text.
type value struct {
	open  json.Delim // '[', '{' or 0
	keys  []string   // of an object, as text
	items []*value
	text  string
}

func parseValue(d *json.Decoder) (*value, error) {
	d.UseNumber()
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return &value{text: leaf(token)}, nil
	}
	v := &value{open: open}
	for d.More() {
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v.keys = append(v.keys, leaf(key))
		}
		item, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		v.items = append(v.items, item)
	}
	_, err = d.Token()
	return v, err
}

func leaf(token json.Token) string {
	switch token := token.(type) {
	case string:
		return (*mutator)(nil).quote(token, 0)
	case nil:
		return "null"
	}
	return fmt.Sprint(token)
}

func (v *value) clone() *value {
	c := *v
	c.keys = slices.Clone(v.keys)
	c.items = make([]*value, len(v.items))
	for i, item := range v.items {
		c.items[i] = item.clone()
	}
	return &c
}

// all yields v and everything in it.
func (v *value) all(yield func(*value) bool) bool {
	if !yield(v) {
		return false
	}
	for _, item := range v.items {
		if !item.all(yield) {
			return false
		}
	}
	return true
}

// append appends the text of v, with white space here and there.
func (m *mutator) append(b []byte, v *value) []byte {
	if v.open == 0 {
		return m.gap(append(m.gap(b), v.text...))
	}
	b = append(m.gap(b), byte(v.open))
	for i, item := range v.items {
		if i > 0 {
			b = append(b, ',')
		}
		if v.open == '{' {
			b = m.gap(append(m.gap(b), v.keys[i]...))
			b = append(b, ':')
		}
		b = m.append(b, item)
	}
	return m.gap(append(m.gap(b), byte(v.open)+2)) // ']' and '}' are two after their openings
}

func (m *mutator) gap(b []byte) []byte {
	if m.spaces == 0 || !m.one(m.spaces) {
		return b
	}
	if m.one(300) {
		return append(b, pick(m, []string{"\v", "\f", "\x00", "\u00a0", "\ufeff", "//", "/**/", "\b"})...)
	}
	return append(b, pick(m, []string{" ", "\t", "\n", "\r", "\r\n  "})...)
}

// vary changes how one thing is said, as a rule without changing what is said.
func (m *mutator) vary(tree *value) {
	var objects []*value
	tree.all(func(v *value) bool {
		if v.open == '{' && len(v.items) > 0 {
			objects = append(objects, v)
		}
		return true
	})
	if objects == nil {
		return
	}
	v := pick(m, objects)
	i := m.IntN(len(v.items))
	key, item := v.keys[i], v.items[i]
	switch m.IntN(6) {
	case 0: // another order
		v.drop(i)
		v.insert(m.IntN(len(v.items)+1), key, item)
	case 1: // another spelling
		v.keys[i] = m.respell(key)
	case 2:
		item.text = m.respell(item.text)
	case 3: // as an enum may be written
		if key == `"dtype"` {
			v.items[i] = &value{open: '{', keys: []string{item.text}, items: []*value{{text: "null"}}}
		}
	case 4: // the members by position
		if len(v.items) == 3 && v != tree {
			v.open, v.keys = '[', nil
		}
	case 5: // something to be ignored
		if v != tree {
			v.insert(m.IntN(len(v.items)+1), m.key(`"extra"`), &value{text: m.junk()})
		}
	}
}

// spoil changes one place of the tree.
func (m *mutator) spoil(tree *value) {
	var nodes []*value
	tree.all(func(v *value) bool { nodes = append(nodes, v); return true })
	v := pick(m, nodes)
	switch {
	case v == tree && m.one(50), m.one(60):
		*v = value{text: m.junk()}
	case len(v.items) > 0:
		m.spoilItems(v, nodes)
	case v.open == '{':
		v.insert(0, m.key(`""`), &value{text: m.junk()})
	case v.open == '[':
		v.insert(0, "", &value{text: m.number()})
	case strings.HasPrefix(v.text, `"`):
		m.spoilString(v)
	default:
		m.spoilNumber(v)
	}
}

func (v *value) insert(i int, key string, item *value) {
	v.items = slices.Insert(v.items, i, item)
	if v.open == '{' {
		v.keys = slices.Insert(v.keys, i, key)
	}
}

func (v *value) drop(i int) {
	v.items = slices.Delete(v.items, i, i+1)
	if v.open == '{' {
		v.keys = slices.Delete(v.keys, i, i+1)
	}
}

func (m *mutator) spoilItems(v *value, nodes []*value) {
	i, j := m.IntN(len(v.items)), m.IntN(len(v.items))
	object := v.open == '{'
	key := ""
	if object {
		key = v.keys[i]
	}
	switch m.IntN(14) {
	case 0:
		v.drop(i)
	case 1, 2: // twice, perhaps not quite the same
		item := v.items[i].clone()
		if m.one(2) {
			m.spoil(item)
		}
		v.insert(m.IntN(len(v.items)+1), key, item)
	case 3: // the other's value
		v.items[i], v.items[j] = v.items[j], v.items[i]
	case 4: // another order
		item := v.items[i]
		v.drop(i)
		v.insert(m.IntN(len(v.items)+1), key, item)
	case 5, 6:
		if object {
			v.keys[i] = m.key(key)
		}
	case 7: // the other's key
		if object {
			v.keys[i] = v.keys[j]
		}
	case 8: // something from elsewhere
		v.items[i] = pick(m, nodes).clone()
	case 9: // one level down
		v.items[i] = &value{open: pick(m, []json.Delim{'[', '{'}), keys: []string{key}, items: []*value{v.items[i]}}
	case 10: // the members by position
		v.open, v.keys = '[', nil
	default: // something unheard of
		v.insert(m.IntN(len(v.items)+1), m.key(`"extra"`), &value{text: m.junk()})
	}
}

// key returns a key to stand in the place of another.
func (m *mutator) key(old string) string {
	switch m.IntN(4) {
	case 0:
		return m.quote(pick(m, names), 0)
	case 1:
		return m.quote(strings.Trim(old, `"`)+pick(m, names), 3)
	case 2:
		return pick(m, []string{`"Dtype"`, `"dtype "`, `"type"`, `"\u005f_metadata__"`, `"__METADATA__"`, `null`, `1`, `dtype`, ``, m.quote(strings.Trim(old, `"`), 3)})
	}
	return m.insert(m.respell(old))
}

func (m *mutator) spoilString(v *value) {
	switch m.IntN(6) {
	case 0, 1:
		v.text = `"` + pick(m, dtypes) + `"`
	case 2: // nearly as an enum may be written
		*v = value{open: '{', keys: []string{v.text}, items: []*value{{text: pick(m, []string{"null", "[]", "{}", "0", `""`})}}}
	case 3:
		v.text = m.quote(pick(m, append(names, "f32", "F32 ", "F8_E4M3FN", "I4", "C128")), 5)
	default:
		v.text = m.insert(m.respell(v.text))
	}
}

// respell returns the same string in other escapes; what is no string stays as it is.
func (m *mutator) respell(text string) string {
	var s string
	if json.Unmarshal([]byte(text), &s) != nil {
		return text
	}
	return m.quote(s, pick(m, []int{1, 3}))
}

// insert puts something difficult into a text.
func (m *mutator) insert(text string) string {
	at := m.IntN(len(text) + 1)
	return text[:at] + pick(m, evil) + text[at:]
}

var evil = []string{`\ud800`, `\udc00`, `\ud83d\ude00`, `\uD83D\uDE00`, `\ud800\ud800`, `\ud83d\u0041`, `\udbff\udfff`, `\ud83d😀`, `\ud83d\n`, `\x41`, `\u00g0`, `\u12`, `\U0041`,
	`\`, `\'`, `\0`, `\/`, `\b\f\n\r\t`, `\u0000`, `\uFFFF`, `"`, `\"`, `\\`, "\x00", "\x1f", "\n", "\t", "\x7f", "é", "\u2028", "😀", "\ufffd", "\ufeff", "\U0010ffff",
	"\xff", "\xc0\x80", "\xc1\xbf", "\x80", "\xed\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x90\x80\x80", "\xf0\x8f\xbf\xbf", "\xf5\x80\x80\x80", "\xe2\x82", "\xf0\x9f\x98"}

// quote returns s as a JSON string. One in so many characters is escaped that need not be; 0: none.
func (m *mutator) quote(s string, escaped int) string {
	b := []byte{'"'}
	for _, r := range s {
		switch short := strings.IndexRune("\"\\/\b\f\n\r\t", r); {
		case r >= 0x20 && r != '"' && r != '\\' && (escaped == 0 || !m.one(escaped)):
			b = utf8.AppendRune(b, r)
		case short >= 0 && (escaped == 0 || m.one(2)):
			b = append(b, '\\', `"\/bfnrt`[short])
		case r > 0xffff:
			b = fmt.Appendf(b, `\u%04x\u%04X`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return string(append(b, '"'))
}

func (m *mutator) spoilNumber(v *value) {
	if n, err := strconv.ParseUint(v.text, 10, 64); err == nil && !m.one(3) {
		v.text = strconv.FormatUint(pick(m, []uint64{n + 1, n - 1, n * 2, n / 2, n + 8, 0, 1, n + uint64(m.IntN(9)), pick(m, edges)}), 10)
		return
	}
	v.text = m.number()
}

// number returns a number, or nearly one, at an edge of what readers can hold.
func (m *mutator) number() string {
	switch m.IntN(4) {
	case 0:
		return strconv.FormatUint(pick(m, edges)+uint64(m.IntN(3))-1, 10)
	case 1:
		return pick(m, []string{"18446744073709551616", "18446744073709551617", "184467440737095516150", "-0", "-1", "-9223372036854775808", "-9223372036854775809", "-18446744073709551616",
			"0.0", "-0.0", "1.0", "4e0", "1E+2", "0e999", "0e99999999999", "-0e+99999999999", "1e99999999999", "1e2147483650", "1e4294967297", "1e-2147483650", "1e-99999999999", "00", "01", "-", "+1", ".5", "1.", "1.e1", "1e", "1e+", "0x1", "1_000", "NaN", "Infinity", "-Infinity", "1e1.5", "--1", "1-"})
	}
	// Digits with a point and an exponent that make it about 1e308, now and then about 1e-308.
	digits := pick(m, []string{"17976931348623157", "17976931348623158", "17976931348623159", "1797693134862315807", "18446744073709551615", "18446744073709551616", "1", "9", "2"})
	digits += strings.Repeat(pick(m, []string{"0", "9", "5"}), pick(m, []int{0, 0, 1, 3, 20, 290, 300}))
	if m.one(4) {
		digits = strconv.FormatUint(m.Uint64(), 10)
	}
	point := m.IntN(len(digits)) + 1
	e := 309 - point + m.IntN(4) - 2
	if m.one(4) {
		e = -e
	}
	text := digits[:point]
	if point < len(digits) {
		text += "." + digits[point:]
	}
	if m.one(4) {
		text, e = "0."+strings.Repeat("0", m.IntN(30))+digits, e+point+m.IntN(30)
	}
	return pick(m, []string{"", "", "-"}) + text + pick(m, []string{"e", "E"}) + pick(m, []string{"", "", "0"}) + strconv.Itoa(e)
}

// junk returns a value that nobody asked for.
func (m *mutator) junk() string {
	switch m.IntN(6) {
	case 0, 1:
		return m.number()
	case 2: // as deep as is allowed, or not quite
		depth := 120 + m.IntN(10)
		open, shut := strings.Repeat("[", depth), strings.Repeat("]", depth)
		if m.one(2) {
			open, shut = strings.Repeat(`{"a":`, depth)+"0", strings.Repeat("}", depth)
		}
		if m.one(8) {
			shut = shut[1:]
		}
		return open + shut
	case 3:
		return m.insert(m.quote(pick(m, names), 3))
	}
	return pick(m, []string{"null", "true", "false", "nul", "True", "undefined", "", "[]", "{}", `""`, `"x"`, "'x'", "[1,]", "[,]", `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, "[null]", `{"a":{"b":[1,2.5,"c"]}}`,
		`{"a":1,"a":2}`, `["U8",[4],[0,4]]`, `["U8",[0],[0,0]]`, `{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, `{"U8":null}`, "[0,0]", "[0,0,0]", "[2]", "1 2", "[1 2]", "/**/1", "1//"})
}

// scar changes a few bytes of a text.
func (m *mutator) scar(s string) string {
	i := m.IntN(len(s) + 1)
	j := min(len(s), i+1+m.IntN(3))
	switch m.IntN(6) {
	case 0:
		return s[:i] + s[j:]
	case 1:
		return s[:j] + s[i:]
	case 2:
		return m.insert(s)
	case 3:
		return s[:i] + string(rune(m.IntN(256))) + s[j:]
	case 4:
		return s[:i] + string([]byte{byte(m.IntN(256))}) + s[j:]
	}
	return s[:i] + string(`{}[],:"\0123456789eE+-. `[m.IntN(24)]) + s[i:]
}
