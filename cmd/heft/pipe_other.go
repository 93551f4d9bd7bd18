//go:build !unix && !windows

package main

// surviveClosedPipe has nothing to do: there is no signal, or one that does not kill.
func surviveClosedPipe() {}

// isClosedPipe cannot tell a closed pipe from another error.
func isClosedPipe(error) bool { return false }
