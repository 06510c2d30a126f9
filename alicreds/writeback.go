package alicreds

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// Whoever holds the lock may be waiting for two answers of 10 s each.
	lockWait = 30 * time.Second

	firstLockPoll   = 2 * time.Millisecond
	longestLockPoll = 100 * time.Millisecond
)

// configFile is the aliyun CLI's config.json. Programs that use this package
// take turns to change it: each holds a lock on a file beside it, which is
// never removed because a lock on a removed file keeps nobody out.
//
// Where files cannot be locked, such as on NFS without a lock daemon, they are
// written all the same: the file is read anew right before, and replaced at once.
// A login that were not written would be lost for certain.
type configFile struct {
	path    string
	tryLock func(*os.File) (bool, error) // nil: the operating system's; a test has another
}

func (f configFile) read(ctx context.Context) ([]byte, error) { return readProfileFile(ctx, f.path) }

// errLocked means that somebody else kept the lock.
var errLocked = errors.New("another process is changing the file")

// unwritable means that nothing can be written to where the file is.
type unwritable struct{ err error }

func (u unwritable) Error() string { return u.err.Error() }
func (u unwritable) Unwrap() error { return u.err }

// lock keeps other processes from changing the file until unlock. It waits for
// the lock for 30 s at most, and does without where there are no locks. The error is an unwritable when there cannot be a
// lock.
func (f configFile) lock(ctx context.Context) (_ *lockedConfig, err error) {
	target, err := filepath.EvalSymlinks(f.path)
	if err != nil {
		return nil, unwritable{fmt.Errorf("finding %s: %w", f.path, withoutPath(err))}
	}
	if info, err := os.Stat(target); err == nil && info.Mode()&0o200 == 0 {
		return nil, unwritable{fmt.Errorf("%s is not to be written to, says its mode", f.path)} // which root could ignore
	}
	lock, err := openLock(target)
	if err != nil {
		return nil, unwritable{fmt.Errorf("locking %s: %w", f.path, withoutPath(err))}
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	try := f.tryLock
	if try == nil {
		try = tryLock
	}
	limited, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for pause := firstLockPoll; ; pause = min(2*pause, longestLockPoll) {
		got, err := try(lock)
		if got || err != nil {
			return &lockedConfig{configFile: f, target: target, held: lock}, nil
		}
		select {
		case <-time.After(pause):
		case <-limited.Done():
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("waiting to change %s: %w", f.path, err)
			}
			return nil, fmt.Errorf("waiting %s to change %s: %w", lockWait, f.path, errLocked)
		}
	}
}

// change is set with a lock of its own.
func (f configFile) change(ctx context.Context, profile string, fields []jsonField) error {
	lock, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.unlock()
	return lock.set(profile, fields)
}

// openLock opens the lock file, for the owner of the target if it is new.
func openLock(target string) (*os.File, error) {
	name := target + ".lock"
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(name, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(target); err == nil {
		_ = giveTo(lock, info) // the target's owner wants to lock it too, but we can without
	}
	return lock, nil
}

// lockedConfig is config.json while this process may change it.
type lockedConfig struct {
	configFile
	target string   // the file itself where the path is a link
	held   *os.File // whose lock it is
}

func (l *lockedConfig) unlock() { _ = l.held.Close() }

// set changes members of one profile, and nothing else. It reads the file
// anew, because the aliyun CLI does not take part in the locking. Nothing
// is written when the members are as they should be.
func (l *lockedConfig) set(profile string, fields []jsonField) error {
	before, err := l.read(context.Background()) // a new login is kept to the end
	if err != nil {
		return err
	}
	after, err := setInProfile(before, profile, fields)
	switch {
	case err != nil:
		return fmt.Errorf("changing %s: %w", l.path, err)
	case string(after) == string(before):
		return nil
	case len(after) > maxProfileFile:
		return fmt.Errorf("changing %s: it would be larger than 1 MiB", l.path)
	}
	if err := replaceFile(l.target, after, (*os.File).Sync); err != nil {
		return fmt.Errorf("changing %s: %w", l.path, withoutPaths(err))
	}
	return nil
}

// setInProfile edits the text of config.json. Every byte that does not
// belong to a changed member stays.
func setInProfile(text []byte, profile string, fields []jsonField) ([]byte, error) {
	for _, field := range fields {
		at, err := profileAt(text, profile)
		if err != nil {
			return nil, err
		}
		if _, there := jsonLast(jsonMembers(text, at), field.name); !there && string(field.value) == `""` {
			continue // means the same
		}
		text = setJSON(text, at, field)
	}
	return text, nil
}

// profileAt tells where the profile's object begins. Of several with the
// same name it is the first, which is the one the aliyun CLI reads.
func profileAt(text []byte, profile string) (int, error) {
	root, err := jsonObject(text)
	if err != nil {
		return 0, err
	}
	profiles, ok := jsonLast(jsonMembers(text, root), "profiles")
	if !ok || text[profiles.valueAt] != '[' {
		return 0, fmt.Errorf("it has no list of profiles")
	}
	for _, at := range jsonElements(text, profiles.valueAt) {
		if text[at] != '{' {
			continue
		}
		name, ok := jsonLast(jsonMembers(text, at), "name")
		if ok && decodesTo(text[name.valueAt:name.valueEnd], profile) {
			return at, nil
		}
	}
	return 0, fmt.Errorf("it has no profile %s any more", shownName(profile))
}

// replaceFile puts data in place of a file at once: whoever reads sees the
// old or the new file, also after a crash. Mode and owner stay. sync is
// (*os.File).Sync; a test watches when it is called.
func replaceFile(name string, data []byte, sync func(*os.File) error) (err error) {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = temporary.Close()
			_ = os.Remove(temporary.Name())
		}
	}()
	if err := giveTo(temporary, info); err != nil {
		return err
	}
	if err := temporary.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if _, err := temporary.Write(data); err != nil {
		return err
	}
	if err := sync(temporary); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), name); err != nil {
		return err
	}
	syncDirectory(filepath.Dir(name), sync)
	return nil
}

// withoutPaths takes paths off that the os package puts in front: one is
// that of a temporary file.
func withoutPaths(err error) error {
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return withoutPath(err)
}
