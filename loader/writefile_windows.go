package loader

import (
	"errors"
	"io/fs"
	"os"
)

// lockFile does nothing: a file that is open cannot be removed.
func lockFile(*os.File) error { return nil }

// removeLeftover removes a new file if nobody has it open.
func removeLeftover(name string) { os.Remove(name) }

func (t *target) own(fs.FileInfo) {}

// rename closes and renames a new file: one that is open cannot be renamed.
func rename(f *os.File, path string) error {
	if err := f.Close(); err != nil {
		return err
	}
	err := os.Rename(f.Name(), path)
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err // it names the temporary name, too
	}
	return err
}

// syncDir does nothing: directories cannot be synced.
func syncDir(string) error { return nil }
