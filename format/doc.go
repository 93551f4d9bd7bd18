// Package format says what a safetensors file says: the header, the index of a
// sharded checkpoint, every rule of the format, reading and writing.
//
// It needs an [io.ReaderAt] or an [io.Writer] and knows nothing of files or
// mappings. [Read] accepts and rejects exactly what the reference
// implementation (the Rust crate safetensors 0.8) accepts and rejects, with
// one departure: a dimension that does not fit an int is [ErrOverflow].
//
// # Hostile input
//
// Every byte of a file is taken to be hostile. No number from a file sizes an
// allocation before it has been checked against the bytes that are there.
// Reading a header takes time linear in its length and memory of at most 16
// times its length. Names and metadata come out verbatim: they may hold terminal escapes,
// path separators or nothing at all.
package format
