// Package tensor says what an array of weights is: element types, shapes,
// typed views over bytes, slices and conversion.
//
// A [Tensor] is a view. It never owns its bytes and copying it copies no data;
// how long the bytes stay valid is up to whoever made the view (for tensors of
// a loader.Model: until Close). [Of] turns a view into a typed slice without
// copying, [Append] copies the same elements out, and [AppendFloat32] converts.
// [Tensor.Rows] cuts a view to some rows; [Spans] tells where any other
// selection lies, for those who read or write only that.
//
// Data is little-endian and in C order, as safetensors files hold it. On
// big-endian machines, and in builds with the tag purego, [Of] can view bytes
// only; everything else works everywhere. Nothing in this package does I/O.
package tensor
