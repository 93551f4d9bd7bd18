//go:build !(386 || amd64 || arm || arm64 || loong64 || mips64le || mipsle || ppc64le || riscv64 || wasm) || purego

package tensor

import "encoding/binary"

// cast returns data itself for uint8, the one view that the language gives
// without unsafe, and ErrByteOrder for all other elements.
func cast[T Element](data []byte) ([]T, error) {
	if s, ok := any(data).([]T); ok {
		return s, nil
	}
	return nil, ErrByteOrder
}

// load copies the elements that data holds to dst, which is exactly as long.
func load[T Element](dst []T, data []byte) {
	if _, err := binary.Decode(data, binary.LittleEndian, dst); err != nil {
		panic(err) // only for lengths that differ
	}
}
