package alicreds

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// maxProfileFile bounds config.json and the INI file. Real ones have a few KiB.
const maxProfileFile = 1 << 20

// envProfile chooses in both files.
const envProfile = "ALIBABA_CLOUD_PROFILE"

// readProfileFile reads a whole regular file of up to 1 MiB. It says
// ErrUnavailable when there is none. Errors name the path and quote nothing.
func readProfileFile(path string) ([]byte, error) {
	data, err := readRegularFile(path, maxProfileFile)
	switch {
	case errors.Is(err, errNotRegular):
		return nil, err
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no file %s", ErrUnavailable, path)
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, withoutPath(err))
	case len(data) > maxProfileFile:
		return nil, fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return data, nil
}

var errNotRegular = errors.New("is not a regular file")

// readRegularFile reads up to limit bytes, and one more to tell that there are
// more. Nothing but a regular file is opened: opening a named pipe waits.
func readRegularFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", path, errNotRegular)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
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
	variable := "HOME"
	if runtime.GOOS == "windows" {
		variable = "USERPROFILE"
	}
	home := getenv(variable)
	if home == "" {
		return "", fmt.Errorf("%w: there is no home directory to look in, because %s is not set", ErrUnavailable, variable)
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
