// Package loader says where the bytes of a model live: it maps safetensors
// files and hands out their tensors as views that copy nothing.
//
//	m, err := loader.Open("model.safetensors")
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	return m.Guard(func() error {
//		t, err := m.Tensor("h.0.attn.weight")
//		if err != nil {
//			return err
//		}
//		w, err := tensor.Of[float32](t) // the page cache itself, not a copy
//		...
//	})
//
// [Open] reads headers only. The data is mapped, and the kernel brings a page
// in when it is first touched, or earlier when [Region.Prefetch] asks for it.
// All processes that open a file share one copy of it in memory.
//
// # How long views last
//
// A view is valid until [Model.Close], and inside a [Model.Guard] until the
// Guard returns. Nothing but Close ever unmaps: a [Model] that is forgotten
// costs address space, never a crash. After Close the
// addresses stay reserved, so that a view kept too long faults instead of
// showing another model's weights; only when more than 1 TiB of address space
// (64 MiB where pointers have 32 bits) has been retired in this way is the
// oldest of it given back to the kernel.
//
// # Writing
//
// Writing through a view of a model opened [ReadOnly] faults: inside a Guard that
// is a [FaultError], outside it ends the program. With [CopyOnWrite] views may be
// written and the file never changes. With [ReadWrite] they are the file, and
// [Model.Sync] makes what was written durable.
//
// # What a mapping cannot promise
//
// A page that the kernel cannot supply, because the file was truncated or its
// disk failed, is a signal that kills the process; inside a Guard it is a
// [FaultError]. A file truncated inside a page, truncated and written again, or
// changed in place shows zeros or other weights without any fault:
// [Model.Changed] tells. Results count when both Guard and Changed return nil.
//
// [BackendRead] reads tensors into memory of the process instead. Its I/O
// errors come from the calls that read, at the price of the copy.
//
// # Platforms
//
//   - Linux: everything.
//   - macOS and Windows: built and vetted, not run by the authors; files are
//     mapped, residency is not known. On Windows the addresses of a closed
//     model can be taken by another thread between unmapping and reserving.
//   - Elsewhere: the Read backend.
package loader
