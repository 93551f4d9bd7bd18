package format

import (
	"io"
	"iter"
)

// Check stub.
func Check(r io.ReaderAt, size int64) iter.Seq[*Error] { return func(func(*Error) bool) {} }
