package main

import (
	"errors"
	"syscall"
)

// surviveClosedPipe has nothing to do: there is no signal.
func surviveClosedPipe() {}

// isClosedPipe reports whether an error says that nobody reads any more.
func isClosedPipe(err error) bool {
	const errNoData = syscall.Errno(232) // ERROR_NO_DATA, "the pipe is being closed": what WriteFile returns
	return errors.Is(err, errNoData) || errors.Is(err, syscall.ERROR_BROKEN_PIPE)
}
