package loader

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Stats tells what a model costs and how it is read, at one moment and without
// a lock: what other goroutines and processes do meanwhile may show in one
// number and not yet in another. Sizes are in bytes, in whole pages where they
// come from the kernel.
//
// The bytes of the mapping, Mapped to Locked, come from /proc/self/smaps: they
// are of this process alone, and 0 with [BackendRead], which maps nothing.
type Stats struct {
	Mapped   int64 // address space that shows the files
	MappedIn int64 // in page tables: touching it does not fault (Rss)
	Huge     int64 // of MappedIn, mapped 2 MiB at a time (FilePmdMapped, ShmemPmdMapped)
	Shared   int64 // of MappedIn, pages of the page cache: one copy for all processes, whether or not others map it now
	Private  int64 // of MappedIn, pages that this process alone has, which it wrote to with [CopyOnWrite] (Anonymous)
	Locked   int64 // pinned (Locked)

	// Resident is the bytes of the model's tensors that are in memory, as
	// [Region.Resident] counts them: in the page cache, whoever maps them.
	Resident int64

	// MinorFaults and MajorFaults are the page faults of the whole process since
	// the model was opened, from getrusage(2). A major one waited for a device.
	MinorFaults, MajorFaults int64

	// PrefetchBytes and PrefetchTime are the size of the region of the last
	// [Region.Prefetch] that returned nil, and how long it took. Their quotient
	// is the rate of the device only if nothing was resident before.
	PrefetchBytes int64
	PrefetchTime  time.Duration

	FileSystem string // of the first file: "ext4", "overlayfs", "nfs", ...; or "unknown"
	Strategy   string // how Prefetch gets the bytes into memory, and why so: a line for people to read
}

// Stats returns the numbers that the platform has; those that it has not are 0,
// and the error then says which, and matches what it would be asked for alone:
// fs.ErrPermission for Resident where the kernel tells only owner and writers,
// errors.ErrUnsupported elsewhere than on Linux. With any other error, such as
// fs.ErrClosed, Stats is its zero value.
func (m *Model) Stats() (Stats, error) {
	if err := m.acquire("stats"); err != nil {
		return Stats{}, err
	}
	defer m.release()
	var s Stats
	s.PrefetchBytes, s.PrefetchTime = m.record.last()
	s.FileSystem, s.Strategy = "unknown", m.store.strategy()
	if len(m.files) > 0 {
		s.FileSystem = m.files[0].system.name
	}
	if m.record.fallback != nil {
		s.Strategy += fmt.Sprintf(", because mapping is not possible: %v", m.record.fallback)
	}
	err1 := m.measure(&s)
	var err2 error
	s.Resident, err2 = m.store.resident(m.module(""))
	return s, errors.Join(err1, err2)
}

// fileSystem is the kind of file system that a file is on.
type fileSystem struct {
	name   string
	remote bool
}

// record is what a model remembers for its statistics.
type record struct {
	faults   faults // of the process when the model was opened
	fallback error  // why the Read backend was chosen instead of mapping, or nil

	mu    sync.Mutex
	bytes int64
	took  time.Duration
}

// faults are the page faults of a process.
type faults struct{ minor, major int64 }

// prefetched notes a Prefetch that has succeeded.
func (r *record) prefetched(bytes int64, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes, r.took = bytes, took
}

// last returns what was noted last.
func (r *record) last() (bytes int64, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes, r.took
}
