package alicreds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// maxProfileFile bounds config.json and the INI file. Real ones have a few KiB.
const maxProfileFile = 1 << 20

// envProfile chooses in both files.
const envProfile = "ALIBABA_CLOUD_PROFILE"

// readProfileFile reads a whole regular file of up to 1 MiB. Errors name the
// path and quote nothing.
func readProfileFile(ctx context.Context, path string) ([]byte, error) {
	data, err := readRegularFile(ctx, path, maxProfileFile)
	switch {
	case errors.Is(err, errNotRegular):
		return nil, err
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s", path)
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, withoutPath(err))
	case len(data) > maxProfileFile:
		return nil, fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return data, nil
}

// readDefaultFile reads a file that nobody named. It says ErrUnavailable when
// there is none, and when this user may not even look, which is no more than
// another user's home directory. A file that is there and cannot be read was
// meant to be.
func readDefaultFile(ctx context.Context, path string) ([]byte, error) {
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no file %s", ErrUnavailable, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: this user may not look for a file %s", ErrUnavailable, path)
	}
	return readProfileFile(ctx, path)
}

// noSuchProfile is ErrUnavailable where somebody asked for a profile by its name,
// and this file does not have it. Another file of profiles may; any other
// identity would be one that nobody asked for.
type noSuchProfile struct {
	name, by string // by is the variable or option that asked
	err      error
}

func (n noSuchProfile) Error() string { return n.err.Error() }
func (n noSuchProfile) Unwrap() error { return n.err }

// nowhere is the error once there is nobody left to ask.
func (n noSuchProfile) nowhere() error {
	return fmt.Errorf("%s asks for the profile %s, which no file has: correct the name, or take it away to go on without a profile", n.by, shownName(n.name))
}

// asked is a profile that somebody asked for by name; the zero value is the
// usual one of the file.
type asked struct{ name, by string }

// profileAsked is the option, or what the environment asks for.
func profileAsked(option string, getenv func(string) string) (a asked, err error) {
	if option != "" {
		return asked{option, "the option Profile"}, nil
	}
	a.name, a.by, err = profileVariable(getenv)
	return a, err
}

// notHere makes a noSuchProfile of the failure to find the profile.
func (a asked) notHere(err error) error {
	if a.name == "" || !errors.Is(err, ErrUnavailable) {
		return err
	}
	return noSuchProfile{a.name, a.by, err}
}

var errNotRegular = errors.New("is not a regular file")

// readRegularFile reads up to limit bytes, and one more to tell that there are
// more. Nothing but a regular file is opened: opening a named pipe waits. A read
// that waits all the same, of /proc/kmsg or of a file system that does not answer,
// is left alone when the context ends, or after 10 s.
func readRegularFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	type content struct {
		data []byte
		err  error
	}
	read := make(chan content, 1)
	go func() {
		data, err := readWhole(ctx, path, limit)
		read <- content{data, err}
	}()
	select {
	case c := <-read:
		return c.data, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func readWhole(ctx context.Context, path string, limit int64) ([]byte, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", path, errNotRegular)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|withoutWaiting, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() { // it has been replaced meanwhile
		return nil, fmt.Errorf("%s %w", path, errNotRegular)
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Now()) })() // where the file has deadlines
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// settled is what the content of a file says about whether it is all there.
type settled int

const (
	broken    settled = iota // it cannot be
	plausible                // the end may be missing
	whole
)

const (
	readWait = 10 * time.Second

	settleWait  = time.Second
	settlePause = 20 * time.Millisecond
	settleAge   = 50 * time.Millisecond
)

// readSettled reads a file that somebody may be writing right now: not everybody
// replaces a file at once. What was written within the last moment is read again
// until it is whole or stays as it is, for a second at most.
func readSettled(ctx context.Context, path string, read func() (settled, error)) error {
	for deadline := time.Now().Add(settleWait); ; {
		age := time.Duration(-1)
		if info, err := os.Stat(path); err == nil {
			age = time.Since(info.ModTime()) // negative says nothing
		}
		state, err := read()
		patience := settleAge
		if state == broken {
			patience *= 10
		}
		if err != nil || state == whole || age < 0 || age >= patience || !time.Now().Before(deadline) {
			return err
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// withoutPath takes the path off that the os package puts in front.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// homeFile is a file below the home directory, which $HOME names, or
// %USERPROFILE% on Windows.
func homeFile(getenv func(string) string, elements ...string) (string, error) {
	home := getenv(homeVariable())
	if home == "" {
		return "", fmt.Errorf("%w: there is no home directory to look in, because %s is not set", ErrUnavailable, homeVariable())
	}
	return filepath.Join(append([]string{home}, elements...)...), nil
}

func withoutByteOrderMark(data []byte) []byte { return bytes.TrimPrefix(data, byteOrderMark) }

// shownName is a profile's name for errors, unless it does not look like one.
func shownName(name string) string {
	foreign := func(r rune) bool { return !strconv.IsPrint(r) }
	if len(name) > 64 || strings.ContainsFunc(name, foreign) {
		return "(of an odd name)"
	}
	return strconv.Quote(name)
}
