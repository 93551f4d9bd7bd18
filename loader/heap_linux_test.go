//go:build linux && !386 && !arm

package loader

import (
	"strings"
	"testing"
)

// TestReadMoreThanMemory asks for a copy of a tensor that takes no disk, but more memory than any machine has.
func TestReadMoreThanMemory(t *testing.T) {
	m := mustOpen(t, sparse(t, 8<<40), WithBackend(BackendRead))
	if _, err := m.Tensor("a"); err == nil || !strings.Contains(err.Error(), "8796093022208 bytes of memory") {
		t.Errorf("got %v", err)
	}
}
