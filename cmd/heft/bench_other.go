//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

func (*benchmark) direct(context.Context, *meter) error {
	return fmt.Errorf("direct I/O on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func cpuTime() (time.Duration, error) { return 0, errors.ErrUnsupported }

func ownMemory() (int64, error) { return 0, errors.ErrUnsupported }
