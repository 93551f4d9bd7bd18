package loader

import (
	"sync"
	"sync/atomic"
)

// syncs is what a model remembers of writing its files out.
type syncs struct {
	mu     sync.Mutex            // held by the Sync that is under way
	failed atomic.Pointer[error] // what the first that failed returned
}

// err returns the error of the first Sync that failed, or nil.
func (s *syncs) err() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Sync returns nil once everything that was written through views of the model
// before the call is durable: it is on the disk and survives a power cut. Until
// then other processes see it, and it survives the end of this one, but the
// kernel writes it when it likes. In other modes than [ReadWrite] nothing has to
// reach a file, and Sync returns nil at once.
//
// After an error, which names the file, what was written since the Sync before
// may be in the file or not, in parts, and views may no longer show what the disk
// holds. The kernel reports a failed write once and then takes its pages for
// clean; so all later calls of Sync, of [Region.Sync] and of [Model.Close] return
// the same error. To go on, open the file again and write again.
//
// Close alone writes nothing out and does not tell whether the kernel did. A
// page written to where the disk is full is a fault; see [FaultError].
func (m *Model) Sync() error {
	if err := m.acquire("sync"); err != nil {
		return err
	}
	defer m.release()
	var whole []extent
	for _, f := range m.files {
		if f.id.size > f.header.DataOffset {
			whole = append(whole, extent{f, f.header.DataOffset, f.id.size})
		}
	}
	return m.sync(whole)
}

// Sync is [Model.Sync] for what was written to the region; more may become durable with it.
func (r *Region) Sync() error {
	if err := r.m.acquire("sync"); err != nil {
		return err
	}
	defer r.m.release()
	return r.m.sync(r.extents)
}

// sync writes extents, which are in disk order, out to their files. All files are
// tried, so that as much as possible is safe. One call runs at a time: the
// kernel would tell only one of two about an error.
func (m *Model) sync(extents []extent) error {
	if m.mode != ReadWrite {
		return nil
	}
	m.syncs.mu.Lock()
	defer m.syncs.mu.Unlock()
	if err := m.syncs.err(); err != nil {
		return err
	}
	var first error
	for i, x := range extents {
		err := x.flush()
		if last := i == len(extents)-1 || extents[i+1].file != x.file; last && err == nil {
			err = x.file.f.Sync()
		}
		if err != nil && first == nil {
			first = pathError("sync", x.file.path, err)
		}
	}
	if first != nil {
		m.syncs.failed.Store(&first)
	}
	return first
}
