//go:build !linux

package main

import (
	"errors"
	"fmt"
)

// processes cannot tell which processes map files of the model.
func (l *listing) processes() (list []process, hidden int, err error) {
	return nil, 0, fmt.Errorf("processes that map %s: %w", l.name, errors.ErrUnsupported)
}
