//go:build purego

package format_test

// purego says that the text of a header is copied once more.
const purego = true
