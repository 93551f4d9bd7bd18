//go:build !linux && !darwin

package loader

import "errors"

// headroom cannot tell how many bytes of memory the process can still have.
func headroom() (int64, error) { return 0, errors.ErrUnsupported }
