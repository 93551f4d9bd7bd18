//go:build !purego

package format_test

const purego = false
