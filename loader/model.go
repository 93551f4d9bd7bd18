package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"

	"heft/format"
	"heft/tensor"
)

// Model is a set of named tensors in one file or many. It may be used from any
// goroutine. After [Model.Close], all methods that can return an error return
// one that matches fs.ErrClosed.
type Model struct {
	path     string // as errors call the model: what was given to Open
	mode     Mode
	files    []*file
	index    placer // which file holds a tensor; nil where there is but one file
	store    store
	lifetime lifetime
	record   record
	syncs    syncs
}

// A placer knows which of a model's files holds a tensor: the index of a
// sharded model, or the names of files taken together.
type placer interface {
	Lookup(name string) (file int, ok bool)
}

// file is one file of a model.
type file struct {
	path    string
	f       *os.File // held open for diagnosis, Changed, and reading around the mapping
	id      identity
	system  fileSystem
	header  *format.Header
	place   int    // in Model.files
	members int    // how many of the header's tensors belong to the model
	data    []byte // the file mapped, from its first byte; nil if it is not mapped
	addr    uintptr
}

// store is where the bytes of a model are: mapped or heap. Its methods are
// called by users of the model only, but for close, which has no user beside it.
type store interface {
	bytes(f *file, e format.Entry) ([]byte, error)
	prefetch(r *Region) job
	evict(r *Region) (int64, error)
	resident(r *Region) (int64, error)
	advise(r *Region, a Advice) error
	pin(r *Region) error
	unpin(r *Region) error
	strategy() string
	close()
}

// fail returns err as an error about the model.
func (m *Model) fail(op string, err error) error { return pathError(op, m.path, err) }

// acquire adds a user of the model, who must call release.
func (m *Model) acquire(op string) error {
	if err := m.lifetime.acquire(); err != nil {
		return m.fail(op, err)
	}
	return nil
}

func (m *Model) release() {
	if m.lifetime.release() {
		m.teardown()
	}
}

// Close marks the model closed and returns. The views become invalid: at once,
// or when the last [Model.Guard] or [Region.Prefetch] that is under way
// returns. It may be called anywhere, inside a Guard too, and more than once.
//
// Close waits for nobody. On a remote file system, where closing a file, and
// unmapping one that was written to, can wait for the other side, that is left to
// a goroutine, which a server that never answers keeps, with descriptor and
// mapping, for ever.
//
// Views of the Read backend stay valid. The error is that of a [Model.Sync]
// that failed, or nil; Close itself writes nothing out.
func (m *Model) Close() error {
	if m.lifetime.close() {
		m.teardown()
	}
	return m.syncs.err()
}

func (m *Model) teardown() {
	m.store.close()
	for _, f := range m.files {
		if f.system.remote {
			go f.f.Close() // close(2) asks the other side and waits for its answer
			continue
		}
		f.f.Close() // what was written is Sync's concern: no error is of interest
	}
}

// Tensor returns the named tensor. It is a view that is valid until
// [Model.Close]. Its bytes may be written as the [Mode] says; where they may
// not, or where the disk has no room for them, writing faults.
// Mapped, it allocates nothing and reads nothing. With [BackendRead] the first
// call reads the tensor, and all calls return the same memory until it is evicted.
//
// Errors: [ErrNotFound], fs.ErrClosed; with BackendRead a *[FaultError].
func (m *Model) Tensor(name string) (tensor.Tensor, error) {
	if err := m.acquire("tensor"); err != nil {
		return tensor.Tensor{}, err
	}
	defer m.release()
	f, e, err := m.find(name)
	if err != nil {
		return tensor.Tensor{}, err
	}
	return m.view(f, e)
}

// find returns the place of the named tensor.
func (m *Model) find(name string) (*file, format.Entry, error) {
	place, ok := 0, true
	if m.index != nil {
		place, ok = m.index.Lookup(name)
	}
	if ok {
		f := m.files[place]
		if e, ok := f.header.Lookup(name); ok {
			return f, e, nil
		}
	}
	return nil, format.Entry{}, m.fail("tensor", fmt.Errorf("%q: %w", name, ErrNotFound))
}

// view makes a tensor of an entry of a file.
func (m *Model) view(f *file, e format.Entry) (tensor.Tensor, error) {
	if e.Size() == 0 {
		return tensor.New(e.Name, e.DType, e.Shape, nil)
	}
	b, err := m.store.bytes(f, e)
	if err != nil {
		return tensor.Tensor{}, err
	}
	return tensor.New(e.Name, e.DType, e.Shape, b)
}

// entries yields the tensors of the model in disk order.
func (m *Model) entries() iter.Seq2[*file, format.Entry] {
	return func(yield func(*file, format.Entry) bool) {
		for _, f := range m.files {
			whole := f.members == len(f.header.Tensors)
			for _, e := range f.header.Tensors {
				if !whole {
					if place, ok := m.index.Lookup(e.Name); !ok || place != f.place {
						continue
					}
				}
				if !yield(f, e) {
					return
				}
			}
		}
	}
}

// views yields a view of each of the entries, or the error in its place. A
// closed model ends it.
func (m *Model) views(entries iter.Seq2[*file, format.Entry]) iter.Seq2[tensor.Tensor, error] {
	one := func(f *file, e format.Entry) (tensor.Tensor, error) {
		if err := m.acquire("tensor"); err != nil {
			return tensor.Tensor{}, err
		}
		defer m.release()
		return m.view(f, e)
	}
	return func(yield func(tensor.Tensor, error) bool) {
		for f, e := range entries {
			t, err := one(f, e)
			if !yield(t, err) || errors.Is(err, fs.ErrClosed) {
				return
			}
		}
	}
}

// All yields all tensors in disk order: files in bytewise order of their names,
// in each file by offset. An error concerns one tensor, and the next ones
// follow if the loop goes on; only fs.ErrClosed ends it. Errors are those of
// [Model.Tensor].
func (m *Model) All() iter.Seq2[tensor.Tensor, error] { return m.views(m.entries()) }

// Entries yields the path of the file and the entry of each tensor, in the
// order of [Model.All]. It touches no data, and goes on working after Close.
func (m *Model) Entries() iter.Seq2[string, format.Entry] {
	return func(yield func(string, format.Entry) bool) {
		for f, e := range m.entries() {
			if !yield(f.path, e) {
				return
			}
		}
	}
}

// Files yields path and header of each file. A header may list more than
// [Model.Entries] does: what the index of a sharded model does not place in
// that file is no part of the model. It goes on working after Close.
func (m *Model) Files() iter.Seq2[string, *format.Header] {
	return func(yield func(string, *format.Header) bool) {
		for _, f := range m.files {
			if !yield(f.path, f.header) {
				return
			}
		}
	}
}

// Metadata returns the metadata of the model: of several files, the keys that
// all of them give the same value. It is nil if a file has none. The map is
// the caller's. It goes on working after Close.
func (m *Model) Metadata() map[string]string {
	var common map[string]string
	for i, f := range m.files {
		if i == 0 {
			common = maps.Clone(f.header.Metadata)
			continue
		}
		maps.DeleteFunc(common, func(k, v string) bool {
			w, ok := f.header.Metadata[k]
			return !ok || v != w
		})
		if f.header.Metadata == nil {
			return nil
		}
	}
	return common
}

// Changed returns nil while every file is what it was when it was opened, by
// size, modification and status change time, and inode; else an error that
// matches [ErrChanged] and says of which file what changed. What the kernel
// cannot see in a file's metadata it cannot tell: before Linux 6.13 two changes
// within one tick of the clock (up to 10 ms) bear the same time, and writes of other
// processes through a mapping change the time when they reach the disk. A new link or
// mode counts as a change, and so does a file renamed over the one that is open.
//
// With [ReadWrite], where writing through a view changes the times, only size and
// inode count.
func (m *Model) Changed() error {
	if err := m.acquire("stat"); err != nil {
		return err
	}
	defer m.release()
	for _, f := range m.files {
		if err := f.changed(m.mode); err != nil {
			return err
		}
	}
	return nil
}

// changed is Changed for one file. The model must not be closed meanwhile.
func (f *file) changed(mode Mode) error {
	now, err := identify(f.f)
	if err != nil {
		return pathError("stat", f.path, err)
	}
	if diff := f.id.diff(now, mode); diff != "" {
		return pathError("stat", f.path, fmt.Errorf("%w: %s", ErrChanged, diff))
	}
	return nil
}
