//go:build unix

package main

import (
	"errors"
	"os/signal"
	"syscall"
)

// surviveClosedPipe makes writing to a pipe that nobody reads any more an
// error, about which run keeps silent, instead of a signal that kills.
func surviveClosedPipe() { signal.Ignore(syscall.SIGPIPE) }

// isClosedPipe reports whether an error says that nobody reads any more.
func isClosedPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
