package loader

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// headroom returns about how many bytes of memory the process can still have:
// what is free, and what the kernel can free without writing it anywhere, the
// pages of files and those that programs gave up.
func headroom() (int64, error) {
	var pages int64
	for _, name := range []string{"vm.page_free_count", "vm.page_pageable_external_count", "vm.page_purgeable_count"} {
		n, err := unix.SysctlUint32(name)
		if err != nil {
			return 0, fmt.Errorf("sysctl %s: %w: %w", name, errors.ErrUnsupported, err)
		}
		pages += int64(n)
	}
	return pages * int64(pageSize), nil
}
