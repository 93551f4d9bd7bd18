package format

import (
	"errors"
	"fmt"
	"strconv"
)

// The kinds of errors in a header, in the order of their precedence: of several
// faults [Read] reports the first kind. Each matches one error of the reference
// implementation. Test for them with [errors.Is].
var (
	ErrHeaderTooSmall = errors.New("file too small for a header")      // HeaderTooSmall
	ErrHeaderTooLarge = errors.New("header larger than 100 MB")        // HeaderTooLarge
	ErrHeaderLength   = errors.New("header runs past the end of file") // InvalidHeaderLength
	ErrHeaderUTF8     = errors.New("header is not UTF-8")              // InvalidHeader
	ErrHeaderJSON     = errors.New("header is not what it should be")  // InvalidHeaderDeserialization
	ErrOffsets        = errors.New("hole or overlap in data")          // InvalidOffset
	ErrOverflow       = errors.New("shape overflows")                  // ValidationOverflow; also a dimension that does not fit an int
	ErrSubByte        = errors.New("tensor ends inside a byte")        // MisalignedSlice
	ErrSize           = errors.New("shape and data_offsets disagree")  // TensorInvalidInfo
	ErrCoverage       = errors.New("data and length of file disagree") // MetadataIncompleteBuffer
	ErrTruncated      = fmt.Errorf("%w: file truncated", ErrCoverage)  // bytes are missing
	ErrTrailing       = fmt.Errorf("%w: bytes left over", ErrCoverage) // bytes at the end belong to no tensor
)

// Error is a departure from the format.
type Error struct {
	Offset  int64  // where in the file: a byte of the header, or the file's length where data is missing
	Tensor  string // the tensor concerned, or ""
	Warning bool   // readers accept it; only [Check] reports it
	Err     error  // what is wrong, in words; matches one of the kinds of this package
}

// Error returns one line: the tensor, quoted, if there is one, and what is wrong.
func (e *Error) Error() string {
	if e.Tensor != "" {
		return fmt.Sprintf("tensor %s: %v", quote(e.Tensor), e.Err)
	}
	return e.Err.Error()
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// quote quotes a name; of one that is too long for a line, its beginning and its end.
func quote(name string) string {
	const most, kept = 240, 100
	if len(name) > most {
		return fmt.Sprintf("%q...%q", name[:kept], name[len(name)-kept:])
	}
	return strconv.Quote(name)
}

// fault says in its own words what is wrong, and matches a kind.
type fault struct {
	kind error
	text string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

func faultf(kind error, format string, args ...any) error {
	return &fault{kind, fmt.Sprintf(format, args...)}
}
