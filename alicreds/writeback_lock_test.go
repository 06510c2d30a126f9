package alicreds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func temporaryConfig(t *testing.T) configFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"profiles":[{"name":"a"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return configFile{path: path}
}

// TestLockWait: whoever waits for the lock gets it, or stops waiting after
// 30 s or with its context.
func TestLockWait(t *testing.T) {
	t.Parallel()
	file := temporaryConfig(t)
	// A process that another test is just starting has our files open until it executes, and the
	// lock with them. The 30 s of the bubble are over sooner.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	synctest.Test(t, func(t *testing.T) {
		held, err := file.lock(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = file.lock(context.Background())
		if took := time.Since(began); !errors.Is(err, errLocked) || took != lockWait {
			t.Errorf("after %s: %v", took, err)
		}
		var cannot unwritable
		if errors.As(err, &cannot) {
			t.Errorf("a lock that somebody holds is taken for one that cannot be: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := file.lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		ended := make(chan error)
		go func() {
			next, err := file.lock(context.Background())
			if err == nil {
				next.unlock()
			}
			ended <- err
		}()
		time.Sleep(time.Second)
		held.unlock()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestLockNothing(t *testing.T) {
	t.Parallel()
	var cannot unwritable
	_, err := configFile{path: filepath.Join(t.TempDir(), "none")}.lock(context.Background())
	if !errors.As(err, &cannot) {
		t.Errorf("got %v", err)
	}
}

// TestReplaceFileFails: nothing stays of what could not be put in place.
func TestReplaceFileFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inPlace := filepath.Join(dir, "config.json")
	if err := os.MkdirAll(filepath.Join(inPlace, "a directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := replaceFile(inPlace, []byte("fake-secret-value"), (*os.File).Sync)
	if err == nil || strings.Contains(withoutPaths(err).Error(), dir) {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
	if err := replaceFile(filepath.Join(dir, "none"), nil, (*os.File).Sync); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestReplaceFileIsDurable: the new file is on disk before it takes the old
// one's place, and then its name is. A file that cannot be flushed does not.
func TestReplaceFileIsDurable(t *testing.T) {
	t.Parallel()
	file := temporaryConfig(t)
	before, err := file.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var flushed []string
	watch := func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		now, err := file.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			flushed = append(flushed, "the directory of "+string(now))
		} else {
			written, err := os.ReadFile(f.Name())
			flushed = append(flushed, fmt.Sprintf("%s beside %s, %v", written, now, err))
		}
		return f.Sync()
	}
	if err := replaceFile(file.path, []byte("new"), watch); err != nil {
		t.Fatal(err)
	}
	want := []string{"new beside " + string(before) + ", <nil>", "the directory of new"}
	if runtime.GOOS == "windows" {
		want = want[:1] // a directory cannot be flushed there
	}
	if !slices.Equal(flushed, want) {
		t.Errorf("flushed %q, want %q", flushed, want)
	}
	full := errors.New("disk full")
	if err := replaceFile(file.path, []byte("newer"), func(*os.File) error { return full }); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if text, err := file.read(t.Context()); err != nil || string(text) != "new" {
		t.Errorf("the file holds %s, %v", text, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(file.path)); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func TestSetLimits(t *testing.T) {
	t.Parallel()
	file := temporaryConfig(t)
	for name, c := range map[string]struct {
		profile string
		field   jsonField
		want    string
	}{
		"too large":  {"a", jsonField{"x", jsonText(strings.Repeat("x", maxProfileFile))}, "larger than 1 MiB"},
		"no profile": {"b", jsonField{"x", jsonText("x")}, `no profile "b"`},
	} {
		err := file.change(t.Context(), c.profile, []jsonField{c.field})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := file.read(t.Context()); err != nil || string(text) != `{"profiles":[{"name":"a"}]}` {
		t.Errorf("the file holds %s, %v", text, err)
	}
}

// TestSetKeepsOwner also when root writes, and gives the owner the lock.
func TestSetKeepsOwner(t *testing.T) {
	t.Parallel()
	file := temporaryConfig(t)
	owner := os.Geteuid()
	if owner == 0 {
		owner = 12345
		if err := os.Chown(file.path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	err := file.change(t.Context(), "a", []jsonField{{"x", jsonText("x")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file.path, file.path + ".lock"} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if got, known := ownerOf(info); known && got != owner {
			t.Errorf("%s is %d's, want %d's", name, got, owner)
		}
	}
}

// TestLockUnsupported: where files cannot be locked, as on NFS without a lock
// daemon, what was obtained is written all the same.
func TestLockUnsupported(t *testing.T) {
	t.Parallel()
	file := temporaryConfig(t)
	file.tryLock = func(*os.File) (bool, error) { return false, errors.New("no locks available") }
	if err := file.change(context.Background(), "a", sessionFields(Credentials{AccessKeyID: "i", AccessKeySecret: "s"})); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(file.path); !strings.Contains(string(text), `"access_key_id":"i"`) {
		t.Errorf("it is %s", text)
	}
}
