//go:build unix

// Cachedbuild builds a Go program that a module pins, once per machine, and
// prints the path of the binary.
//
//	cachedbuild [-note TEXT] MODULE-DIRECTORY PACKAGE [go build flags]
//
// The binary is kept in the user's cache directory, under the digest of the
// module's go.sum: the same pins find the same binary, other pins build anew.
// With the binary in the cache it needs no network. Progress goes to stderr.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	cacheName     = "vault-plugin-secrets-alicloud"
	progressEvery = 15 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	flags := flag.NewFlagSet("cachedbuild", flag.ExitOnError)
	note := flags.String("note", "", "said on stderr before a build begins")
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	if flags.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: cachedbuild [-note TEXT] MODULE-DIRECTORY PACKAGE [go build flags]")
		os.Exit(2)
	}
	b := build{dir: flags.Arg(0), pkg: flags.Arg(1), flags: flags.Args()[2:], note: *note, stderr: os.Stderr}
	binary, err := b.binary(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cachedbuild:", err)
		os.Exit(1)
	}
	fmt.Println(binary)
}

// A build is one program of one module.
type build struct {
	dir, pkg string
	flags    []string
	note     string
	stderr   io.Writer
}

// binary is the path of the built program, built now if it is not in the cache.
func (b build) binary(ctx context.Context) (string, error) {
	name := path.Base(b.pkg)
	sum, err := os.ReadFile(filepath.Join(b.dir, "go.sum"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(sum)
	kept := filepath.Join(cache, cacheName, name+"-"+hex.EncodeToString(digest[:8]))
	binary := filepath.Join(kept, name)
	if executable(binary) {
		return binary, nil
	}
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return "", err
	}
	// The kernel drops the lock when its holder dies, however it dies.
	lock, err := os.OpenFile(filepath.Join(kept, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := b.lock(ctx, lock, name); err != nil {
		return "", err
	}
	if executable(binary) { // by the holder we waited for
		return binary, nil
	}
	part := binary + ".part"
	if err := b.compile(ctx, name, part); err != nil {
		return "", err
	}
	return binary, os.Rename(part, binary)
}

// lock waits until no other process builds the same program.
func (b build) lock(ctx context.Context, f *os.File, name string) error {
	said := false
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if !said {
			fmt.Fprintf(b.stderr, "%s: another process is building it; waiting\n", name)
			said = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// compile runs go build, and says every 15 seconds how far it is.
func (b build) compile(ctx context.Context, name, output string) error {
	start := time.Now()
	fmt.Fprintf(b.stderr, "%s: building it from Go modules, once per machine. %s\n", name, b.note)
	args := append([]string{"build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", output}, b.flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, b.pkg)...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // lets go remove its work directory
	cmd.WaitDelay = 10 * time.Second
	progress, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var downloaded, compiled atomic.Int64
	last := make(chan []string, 1)
	go func() { last <- follow(progress, &downloaded, &compiled) }()

	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	var tail []string
	for reading := true; reading; {
		select {
		case tail = <-last:
			reading = false
		case <-tick.C:
			fmt.Fprintf(b.stderr, "%s: %v: %d modules downloaded, %d packages compiled\n",
				name, time.Since(start).Round(time.Second), downloaded.Load(), compiled.Load())
		}
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s: go build: %w\n%s", name, err, strings.Join(tail, "\n"))
	}
	fmt.Fprintf(b.stderr, "%s: built in %v\n", name, time.Since(start).Round(time.Second))
	return nil
}

// follow counts the lines of go build -v until it ends, and returns the last of them.
func follow(r io.Reader, downloaded, compiled *atomic.Int64) []string {
	const keep = 20
	var tail []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "go: downloading ") {
			downloaded.Add(1)
			continue
		}
		compiled.Add(1)
		if tail = append(tail, line); len(tail) > keep {
			tail = tail[1:]
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line too long must not stop go build
	return tail
}

func executable(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
