//go:build linux && (386 || arm)

package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// On 32 bits a file can be larger than the address space.
func TestLargerThanAddressSpace(t *testing.T) {
	path := sparse(t, 1<<30)
	for _, n := range []int64{1<<31 - 1<<20, 3 << 30} { // too large for what is free; too large for an int
		header := fmt.Sprintf(`{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[2,%d],"data_offsets":[8,%d]}}`, n/2, 8+n)
		content := append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header...)
		write(t, "", path, content)
		if err := os.Truncate(path, int64(len(content))+8+n); err != nil {
			t.Skip(err)
		}
		m := mustOpen(t, path)
		if _, ok := m.store.(*heap); !ok {
			t.Errorf("%d bytes: the store is a %T", n, m.store)
		}
		bytesOf(t, m, "a")
		if n > 1<<31 {
			if _, err := m.Tensor("b"); err == nil || !strings.Contains(err.Error(), `tensor "b"`) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		if _, err := Open(path, WithBackend(BackendMmap)); !errors.Is(err, errCannotMap) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
