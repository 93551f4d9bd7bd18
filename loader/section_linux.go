package loader

import (
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// startSync has the kernel begin to write a part of f to disk. It is a hint:
// errors come up when f is synced.
func startSync(f *os.File, off, n int64) {
	unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// kernelCopies returns open with its Sections ready to be moved by the kernel.
func (t *target) kernelCopies(open func(name string) (io.Reader, error)) func(name string) (io.Reader, error) {
	return func(name string) (io.Reader, error) {
		r, err := open(name)
		if s, ok := r.(*Section); ok && err == nil && s.Size() >= copyLeast && s.Size() <= math.MaxInt {
			return &kernelCopy{s: s, t: t}, nil
		}
		return r, err
	}
}

const (
	copyLeast = 64 << 10  // what takes longer to ask of the kernel than to read and write together with others
	copyStep  = 8 << 20   // what the kernel copies at a time
	writeStep = 256 << 10 // what else is read and written at a time
)

// kernelCopy moves a Section to a target. It is a reader that writes itself,
// as format.Encode wants it.
type kernelCopy struct {
	s    *Section
	t    *target
	done int64 // bytes of s that have been moved
}

func (k *kernelCopy) Read(b []byte) (int, error) { return k.s.Read(b) }
func (k *kernelCopy) Len() int                   { return int(k.s.Size() - k.done) }

// WriteTo moves the section to the end of the target, to which the writer
// writes: whole blocks are shared where the file system does that and they lie
// alike in both files, the rest is copied.
func (k *kernelCopy) WriteTo(w io.Writer) (int64, error) {
	if f, ok := w.(interface{ Flush() error }); ok { // as format.Encode's has
		if err := f.Flush(); err != nil {
			return 0, err
		}
	}
	if lo, hi := k.blocks(); lo < hi {
		if err := k.copy(lo); err != nil {
			return k.done, err
		}
		k.clone(hi)
	}
	if err := k.copy(k.s.Size()); err != nil {
		return k.done, err
	}
	return k.done, k.s.changed()
}

// blocks returns the part of the section that could be shared: whole blocks of
// the target's file system. It is empty if the blocks lie differently in both files.
func (k *kernelCopy) blocks() (lo, hi int64) {
	var st unix.Stat_t
	if k.t.cannotClone || unix.Fstat(int(k.t.f.Fd()), &st) != nil || st.Blksize <= 0 {
		return 0, 0
	}
	begin, block := k.s.begin, int64(st.Blksize)
	if (k.t.pos-begin)%block != 0 {
		return 0, 0
	}
	end := begin + k.s.Size()
	return (begin+block-1)/block*block - begin, end/block*block - begin
}

// clone shares the section up to hi with the target. The kernel does all of it or nothing.
func (k *kernelCopy) clone(hi int64) {
	if k.s.m.acquire("section") != nil {
		return // copy tells
	}
	defer k.s.m.release()
	n := hi - k.done
	err := unix.IoctlFileCloneRange(int(k.t.f.Fd()), &unix.FileCloneRange{
		Src_fd:      int64(k.s.file.f.Fd()),
		Src_offset:  uint64(k.s.begin + k.done),
		Src_length:  uint64(n),
		Dest_offset: uint64(k.t.pos),
	})
	if err != nil {
		k.t.cannotClone = true // copying is tried next, and tells what is wrong if that cannot be done either
		return
	}
	k.moved(n)
	k.s.Shared += n
}

// copy copies the section up to hi: in the kernel, or, from the first time that
// it does not, through memory of the process, where errors tell what they are about.
func (k *kernelCopy) copy(hi int64) error {
	for k.done < hi {
		n, err := k.copyRange(hi)
		switch {
		case err == unix.EINTR:
		case err != nil || n == 0:
			k.t.cannotCopy = true
			return k.through(hi)
		default:
			k.moved(n)
			k.s.Copied += n
		}
	}
	return nil
}

// copyRange has the kernel copy some of the section before hi. Closing the model
// ends that after a step: its descriptor is then no longer to be used.
func (k *kernelCopy) copyRange(hi int64) (int64, error) {
	if k.t.cannotCopy {
		return 0, unix.EOPNOTSUPP
	}
	if err := k.s.m.acquire("section"); err != nil {
		return 0, err
	}
	defer k.s.m.release()
	from, to := k.s.begin+k.done, k.t.pos
	n, err := unix.CopyFileRange(int(k.s.file.f.Fd()), &from, int(k.t.f.Fd()), &to, int(min(hi-k.done, copyStep)), 0)
	return int64(n), err
}

// through copies the section up to hi by reading and writing.
func (k *kernelCopy) through(hi int64) error {
	if k.t.buf == nil {
		k.t.buf = make([]byte, writeStep)
	}
	for k.done < hi {
		b := k.t.buf[:min(hi-k.done, writeStep)]
		if _, err := k.s.ReadAt(b, k.done); err != nil {
			return err
		}
		n, err := k.t.Write(b)
		k.done += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// moved notes that the kernel has put n bytes into the target.
func (k *kernelCopy) moved(n int64) {
	k.done += n
	k.t.wrote(n)
}
