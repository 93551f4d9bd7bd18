package loader

import (
	"cmp"
	"io"
)

// Section reads the bytes of one tensor as they are in its file, without
// mapping them: errors are errors, not faults. It becomes invalid with
// [Model.Close]. It is for one goroutine, but for ReadAt.
//
// [WriteFile] has the kernel move a Section, without a copy into the process,
// but for one of less than 64 KiB, which is read and written faster.
type Section struct {
	*io.SectionReader

	// What a WriteFile that returned nil did with the Section: bytes that old
	// and new file share since, by reflink; and bytes that the kernel copied,
	// by copy_file_range. What is in neither was read and written.
	Shared, Copied int64

	m     *Model
	file  *file
	begin int64 // in file
}

// Section returns the bytes of the named tensor for reading. Copying a tensor,
// or a model, takes no more than
//
//	loader.WriteFile(path, h, func(name string) (io.Reader, error) { return m.Section(name) })
//
// Errors: [ErrNotFound], fs.ErrClosed. Those of reading are *[FaultError], and
// [ErrChanged] in place of io.EOF if the tensor's file has changed by then.
func (m *Model) Section(name string) (*Section, error) {
	if err := m.acquire("section"); err != nil {
		return nil, err
	}
	defer m.release()
	f, e, err := m.find(name)
	if err != nil {
		return nil, err
	}
	return &Section{
		SectionReader: io.NewSectionReader(diagnosed{f}, e.Begin, e.Size()),
		m:             m,
		file:          f,
		begin:         e.Begin,
	}, nil
}

// Read reads on. At the end the error is io.EOF if the file is what was opened.
func (s *Section) Read(b []byte) (int, error) {
	n, err := s.SectionReader.Read(b)
	if err == io.EOF {
		err = cmp.Or(s.changed(), err)
	}
	return n, err
}

// changed returns an error if the section's file is no longer what was opened.
func (s *Section) changed() error {
	if err := s.m.acquire("stat"); err != nil {
		return err
	}
	defer s.m.release()
	return s.file.changed(s.m.mode)
}

// diagnosed reads a file, and answers what goes wrong with a FaultError.
type diagnosed struct{ *file }

func (d diagnosed) ReadAt(b []byte, off int64) (int, error) {
	n, err := d.f.ReadAt(b, off)
	if err != nil && n < len(b) {
		err = d.faultError(off+int64(n), err)
	}
	return n, err
}
