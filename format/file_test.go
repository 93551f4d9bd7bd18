package format_test

import "encoding/binary"

// file returns a file with the given JSON text and so many zero bytes of data.
func file(text string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return append(append(b, text...), make([]byte, data)...)
}
