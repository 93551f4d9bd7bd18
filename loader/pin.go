package loader

// Pin locks the region, rounded out to whole pages, in memory until
// [Region.Unpin] or [Model.Close]: it reads what is not there yet, as
// [Region.Prefetch] does, and then neither memory pressure nor
// [Region.Evict] can take it out. Pins are counted: one page may be pinned by
// several regions, and a region more than once.
//
// The limit RLIMIT_MEMLOCK (ulimit -l) is on the memory of the whole process,
// 8 MiB where nobody raised it; the error names it and what was wanted. Nothing
// is then pinned that was not before.
//
// Errors: errors.ErrUnsupported with [CopyOnWrite], where locking would copy
// every page, with [BackendRead], and on Windows; a *[FaultError] for a page
// that cannot be read.
func (r *Region) Pin() error { return r.use("pin", r.m.store.pin) }

// Unpin undoes one [Region.Pin] of r. Pages that others pin, of this region or
// of regions that share the page, stay pinned. It is an error if r is not pinned.
func (r *Region) Unpin() error { return r.use("unpin", r.m.store.unpin) }

// use calls f as a user of the model.
func (r *Region) use(op string, f func(*Region) error) error {
	if err := r.m.acquire(op); err != nil {
		return err
	}
	defer r.m.release()
	return f(r)
}
