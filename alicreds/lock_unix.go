//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package alicreds

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// tryLock takes the lock unless another open file has it. It ends with the
// file, also when the process is killed.
func tryLock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}

// giveTo makes the file belong to the owner of another one. Only root can
// give a file away; for others it is theirs already, or an error.
func giveTo(f *os.File, other fs.FileInfo) error {
	theirs, ok := other.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	ours, ok := info.Sys().(*syscall.Stat_t)
	if !ok || ours.Uid == theirs.Uid && ours.Gid == theirs.Gid {
		return nil
	}
	return f.Chown(int(theirs.Uid), int(theirs.Gid))
}

// syncDirectory flushes a rename to disk. Without it a crash may bring the old
// file back, which is complete, too, so a failure does not matter.
func syncDirectory(name string, sync func(*os.File) error) {
	if d, err := os.Open(name); err == nil {
		_ = sync(d)
		_ = d.Close()
	}
}
