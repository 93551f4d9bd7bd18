//go:build purego

package format

// asString returns b as a string. b must not change afterwards.
func asString(b []byte) string { return string(b) }
