// Package tensor says what an array of weights is: element types, shapes,
// typed views over bytes, slices and conversion.
//
// A [Tensor] is a view. It never owns its bytes and copying it copies no data;
// how long the bytes stay valid is up to whoever made the view (for tensors of
// a loader.Model: until Close). [Of] turns a view into a typed slice without
// copying, [Append] copies the same elements out, and [AppendFloat32] converts.
//
// Data is little-endian and in C order, as safetensors files hold it. Nothing
// in this package does I/O.
package tensor
