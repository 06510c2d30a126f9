package alicreds

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes the lock unless another open file has it. It ends with the
// file, also when the process is killed.
func tryLock(f *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// giveTo does nothing: a file in a user's profile inherits who may use it.
func giveTo(*os.File, fs.FileInfo) error { return nil }

// syncDirectory does nothing: a directory cannot be flushed here.
func syncDirectory(string, func(*os.File) error) {}
