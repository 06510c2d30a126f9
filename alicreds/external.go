package alicreds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

const (
	typeExternal = "external"

	defaultExternalTimeout = time.Minute
	maxExternalOutput      = 64 << 10

	// What the command leaves running may hold its output open. It is not
	// waited for any longer than this.
	externalWaitDelay = time.Second
)

// ExternalOptions of an External. The zero value is useful.
type ExternalOptions struct {
	Timeout time.Duration // of one run; default 60 s

	// Stderr receives what the command writes there; nil discards it. No
	// error ever quotes it, because it may hold secrets.
	Stderr io.Writer

	// Save is told about the credentials of every run, to keep them. When
	// it fails, Retrieve does not.
	Save func(ctx context.Context, c Credentials) error
}

// External runs a command that prints credentials as JSON, the mode External
// of the aliyun CLI:
//
//	{"mode": "StsToken", "access_key_id": "...", "access_key_secret": "...", "sts_token": "...", "expiration": "2006-01-02T15:04:05Z"}
//
// mode is AK or StsToken; only the latter wants an sts_token. Without an
// expiration it is not known when the keys expire: an External runs the
// command at every Retrieve, a Cache around it every minute.
//
// The command is started without a shell, in this process's environment,
// with no standard input, and as a process group of its own. It has 60 s, after which the whole
// group is killed, and may print 64 KiB.
type External struct {
	command sealed[externalCommand]
}

// externalCommand is an External's configuration.
type externalCommand struct {
	words []string
	ExternalOptions
}

// NewExternal splits the command line. White space separates, single and
// double quotes and, except on Windows, backslashes keep it from doing so;
// variables and wildcards mean nothing.
func NewExternal(command string, o ExternalOptions) (External, error) {
	words, err := splitCommand(command, runtime.GOOS == "windows")
	switch {
	case err != nil:
		return External{}, &Error{Source: typeExternal, Err: err}
	case o.Timeout < 0:
		return External{}, failed(typeExternal, "the timeout is negative")
	case o.Timeout == 0:
		o.Timeout = defaultExternalTimeout
	}
	return External{command: seal(externalCommand{words: words, ExternalOptions: o})}, nil
}

// Retrieve runs the command.
func (p External) Retrieve(ctx context.Context) (Credentials, error) {
	if p.command == nil {
		return Credentials{}, failed(typeExternal, "%w: it has no command", ErrUnavailable)
	}
	command := p.command()
	output, err := command.run(ctx)
	if err != nil {
		return Credentials{}, &Error{Source: typeExternal, Err: err}
	}
	c, err := readExternal(output)
	if err != nil {
		return Credentials{}, &Error{Source: typeExternal, Err: err}
	}
	if command.Save != nil {
		_ = command.Save(ctx, c) // the credentials are good all the same
	}
	return c, nil
}

// run returns what the command printed. Its errors name neither the command
// nor its arguments, because they may hold secrets.
func (c externalCommand) run(ctx context.Context) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	output := &cappedBuffer{limit: maxExternalOutput, full: cancel}
	cmd := exec.CommandContext(limited, c.words[0], c.words[1:]...)
	cmd.Stdout = output
	cmd.Stderr = c.Stderr
	cmd.WaitDelay = externalWaitDelay
	ownGroup(cmd)
	err := startAndWait(cmd)
	var status *exec.ExitError
	switch {
	case output.overflown:
		return nil, fmt.Errorf("the command printed more than 64 KiB")
	case ctx.Err() != nil:
		return nil, fmt.Errorf("the command was stopped: %w", ctx.Err())
	case limited.Err() != nil:
		return nil, fmt.Errorf("the command was stopped because it took longer than %s", c.Timeout)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return output.data.Bytes(), nil // it succeeded; what it left running does not matter
	case errors.As(err, &status):
		return nil, fmt.Errorf("the command failed: %s", status.ProcessState)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the command's program was not found")
	case errors.Is(err, exec.ErrDot):
		return nil, fmt.Errorf("the command's program is in the current directory: write ./ in front or give its whole path")
	}
	return nil, fmt.Errorf("the command could not be run: %w", withoutPath(err))
}

// cappedBuffer refuses to grow beyond the limit.
type cappedBuffer struct {
	data      bytes.Buffer
	limit     int
	overflown bool
	full      func()
}

func (b *cappedBuffer) Write(p []byte) (int, error) {
	if b.data.Len()+len(p) > b.limit {
		b.overflown = true
		b.full()
		return 0, errors.New("too much output")
	}
	return b.data.Write(p)
}

// readExternal reads what the command printed, and quotes none of it.
func readExternal(output []byte) (Credentials, error) {
	var printed *struct {
		Mode            string `json:"mode"`
		AccessKeyID     string `json:"access_key_id"`
		AccessKeySecret string `json:"access_key_secret"`
		STSToken        string `json:"sts_token"`
		Expiration      string `json:"expiration"`
	}
	if err := json.Unmarshal(output, &printed); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return Credentials{}, fmt.Errorf("the field %s of what the command printed is not a string", wrong.Field)
		}
		return Credentials{}, fmt.Errorf("the command did not print one JSON object")
	}
	switch {
	case printed == nil:
		return Credentials{}, fmt.Errorf("the command did not print one JSON object")
	case printed.AccessKeyID == "":
		return Credentials{}, fmt.Errorf("the command printed no access_key_id")
	case printed.AccessKeySecret == "":
		return Credentials{}, fmt.Errorf("the command printed no access_key_secret")
	case strings.EqualFold(printed.Mode, modeSTSToken):
		if printed.STSToken == "" {
			return Credentials{}, fmt.Errorf("the command printed the mode StsToken and no sts_token")
		}
	case printed.Mode != "" && !strings.EqualFold(printed.Mode, modeAK):
		// Keys meant to assume a role, say, are another identity than that role.
		return Credentials{}, fmt.Errorf("the command printed a mode that is neither AK nor StsToken, the two that hand out keys")
	}
	var token *string
	if printed.STSToken != "" {
		token = &printed.STSToken
	}
	keys, err := givenKeys(printed.AccessKeyID, printed.AccessKeySecret, token)
	if err != nil {
		return Credentials{}, fmt.Errorf("what the command printed: %w", err)
	}
	c, _ := fixedKeys(seal(keys), typeExternal)
	if printed.Expiration != "" {
		expiration, err := parseExpiration(printed.Expiration)
		if err != nil {
			return Credentials{}, fmt.Errorf("what the command printed: %w", err)
		}
		c.Expiration = expiration
		c.endWithin(maxDuration)
	}
	return c, nil
}
