//go:build !purego

package format

import "unsafe"

// asString returns b as a string without copying. b must not change afterwards.
func asString(b []byte) string {
	// SAFETY: the caller gives b up to the string; nothing writes to it again.
	return unsafe.String(unsafe.SliceData(b), len(b))
}
