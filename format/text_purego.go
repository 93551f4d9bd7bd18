//go:build purego

package format

// asString returns b as a string. b must not change afterwards.
func asString(b []byte) string { return string(b) }

// rawBytes returns n bytes that may be anything.
func rawBytes(n int) []byte { return make([]byte, n) }
