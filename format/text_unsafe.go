//go:build !purego

package format

import (
	"strings"
	"unsafe"
)

// asString returns b as a string without copying. b must not change afterwards.
func asString(b []byte) string {
	// SAFETY: the caller gives b up to the string; nothing writes to it again.
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// rawBytes returns n bytes that may be anything: they are about to be read
// into, and zeroing a long header first takes as long as reading its numbers.
func rawBytes(n int) []byte {
	var b strings.Builder
	b.Grow(n + 1)
	b.WriteByte(0)
	// SAFETY: String returns the buffer itself (strings/builder.go, Go 1.26), in
	// which Grow has made room for n bytes behind the first; it is reached through
	// b alone, which ends here.
	return unsafe.Slice(unsafe.StringData(b.String()), n)
}
