package alicreds_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// TestMain lets this test binary be the command of an External: with
// ALICREDS_COMMAND in front of the arguments it acts as one of commands.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "ALICREDS_COMMAND" {
		command, ok := commands[os.Args[2]]
		if !ok {
			fmt.Fprintln(os.Stderr, "no such command")
			os.Exit(2)
		}
		os.Exit(command(os.Args[3:]))
	}
	// With -race each command would wait a second before it exits.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// commands by name; they return the exit status.
var commands = map[string]func(args []string) int{
	"print": func(args []string) int {
		fmt.Print(args[0])
		return 0
	},
	"arguments": func(args []string) int {
		_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"access_key_id": strings.Join(args, "|"), "access_key_secret": "s"})
		return 0
	},
	"fail": func([]string) int {
		fmt.Print(goodOutput)
		fmt.Fprintln(os.Stderr, "fake-secret-value")
		return 3
	},
	"flood": func([]string) int {
		for range 1 << 10 {
			fmt.Print(strings.Repeat("x", 1<<10))
		}
		return 0
	},
	// count appends a line to a file and prints what was asked for.
	"count": func(args []string) int {
		f, err := os.OpenFile(args[0], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 1
		}
		fmt.Fprintln(f, "ran")
		fmt.Print(args[1])
		return 0
	},
	// family starts a child that holds the output open, tells its process
	// id, and waits or ends.
	"family": func(args []string) int {
		child := exec.Command(os.Args[0], "ALICREDS_COMMAND", "hang")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return 1
		}
		if err := os.WriteFile(args[0], []byte(strconv.Itoa(child.Process.Pid)), 0o600); err != nil {
			return 1
		}
		if args[1] == "end" {
			fmt.Print(goodOutput)
			return 0
		}
		_ = child.Wait()
		return 0
	},
	"hang": func([]string) int {
		<-time.After(time.Minute) // is killed long before
		return 0
	},
	"login":    login,
	"metadata": metadata,
	"stderr": func([]string) int {
		fmt.Fprint(os.Stderr, "log in first")
		return 1
	},
}

const goodOutput = `{"mode": "AK", "access_key_id": "LTAI5tFAKEFAKEFAKE", "access_key_secret": "fake-secret-value"}`

// commandLine runs one of commands. Words are quoted for the splitter.
func commandLine(name string, args ...string) string {
	words := append([]string{os.Args[0], "ALICREDS_COMMAND", name}, args...)
	for i, word := range words {
		words[i] = "'" + strings.ReplaceAll(word, "'", `'"'"'`) + "'"
	}
	return strings.Join(words, " ")
}

func external(t *testing.T, o alicreds.ExternalOptions, name string, args ...string) alicreds.External {
	t.Helper()
	p, err := alicreds.NewExternal(commandLine(name, args...), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExternal(t *testing.T) {
	t.Parallel()
	in1h := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for name, c := range map[string]struct {
		output string
		want   alicreds.Credentials
	}{
		"AccessKey": {goodOutput, alicreds.Credentials{AccessKeyID: fakeID, AccessKeySecret: fakeSecret}},
		"no mode":   {`{"access_key_id": "a", "access_key_secret": "b"}`, alicreds.Credentials{AccessKeyID: "a", AccessKeySecret: "b"}},
		"session": {
			`{"mode": "ststoken", "access_key_id": "a", "access_key_secret": "b", "sts_token": "c", "expiration": "` + in1h.Format(time.RFC3339) + `"}` + "\n",
			alicreds.Credentials{AccessKeyID: "a", AccessKeySecret: "b", SecurityToken: "c", Expiration: in1h},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := external(t, alicreds.ExternalOptions{}, "print", c.output).Retrieve(t.Context())
			c.want.Source = "external"
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestExternalRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command []string
		want    string
	}{
		"fails":               {[]string{"fail"}, "exit status 3"},
		"nothing":             {[]string{"print", ""}, "one JSON object"},
		"not JSON":            {[]string{"print", "fake-secret-value"}, "one JSON object"},
		"null":                {[]string{"print", "null"}, "one JSON object"},
		"an array":            {[]string{"print", `["fake-secret-value"]`}, "one JSON object"},
		"two objects":         {[]string{"print", goodOutput + goodOutput}, "one JSON object"},
		"no id":               {[]string{"print", `{"access_key_secret": "fake-secret-value"}`}, "access_key_id"},
		"null id":             {[]string{"print", `{"access_key_id": null, "access_key_secret": "fake-secret-value"}`}, "access_key_id"},
		"id not a string":     {[]string{"print", `{"access_key_id": 1, "access_key_secret": "fake-secret-value"}`}, "not a string"},
		"no secret":           {[]string{"print", `{"access_key_id": "a"}`}, "access_key_secret"},
		"secret not a string": {[]string{"print", `{"access_key_id": "a", "access_key_secret": ["fake-secret-value"]}`}, "not a string"},
		"no token":            {[]string{"print", `{"mode": "StsToken", "access_key_id": "a", "access_key_secret": "fake-secret-value"}`}, "sts_token"},
		"another mode":        {[]string{"print", `{"mode": "RamRoleArn", "access_key_id": "a", "access_key_secret": "fake-secret-value"}`}, "neither AK nor StsToken"},
		"bad expiration":      {[]string{"print", `{"access_key_id": "a", "access_key_secret": "b", "expiration": "soon"}`}, "Expiration"},
		"expired":             {[]string{"print", `{"access_key_id": "a", "access_key_secret": "b", "expiration": "2015-01-01T00:00:00Z"}`}, "expired at 2015-01-01T00:00:00Z"},
		"too much output":     {[]string{"flood"}, "64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := external(t, alicreds.ExternalOptions{}, c.command[0], c.command[1:]...).Retrieve(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an error about %q", err, c.want)
			}
			if errors.Is(err, alicreds.ErrUnavailable) {
				t.Errorf("it is set up, and says otherwise: %v", err)
			}
			if strings.Contains(err.Error(), fakeSecret) || strings.Contains(err.Error(), os.Args[0]) {
				t.Errorf("the error quotes the command or what it printed: %v", err)
			}
		})
	}
}

func TestExternalNotFound(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"alicreds-no-such-program fake-secret", filepath.Join(t.TempDir(), "fake-secret")} {
		p, err := alicreds.NewExternal(command, alicreds.ExternalOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Retrieve(t.Context())
		if err == nil || !strings.Contains(err.Error(), "not found") || strings.Contains(err.Error(), "fake-secret") {
			t.Errorf("got %v", err)
		}
	}
}

func TestExternalOptions(t *testing.T) {
	t.Parallel()
	if _, err := alicreds.NewExternal("  ", alicreds.ExternalOptions{}); err == nil {
		t.Error("an empty command was accepted")
	}
	if _, err := alicreds.NewExternal("get", alicreds.ExternalOptions{Timeout: -1}); err == nil {
		t.Error("a negative timeout was accepted")
	}
	if _, err := (alicreds.External{}).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the zero value: %v", err)
	}
	mustNotPrint(t, external(t, alicreds.ExternalOptions{}, "print", fakeSecret), fakeSecret)

	var stderr bytes.Buffer
	_, err := external(t, alicreds.ExternalOptions{Stderr: &stderr}, "stderr").Retrieve(t.Context())
	if err == nil || stderr.String() != "log in first" {
		t.Errorf("stderr is %q, %v", stderr.String(), err)
	}

	saved := 0
	p := external(t, alicreds.ExternalOptions{Save: func(_ context.Context, c alicreds.Credentials) error {
		if c.AccessKeyID == fakeID {
			saved++
		}
		return errors.New("full")
	}}, "print", goodOutput)
	if _, err := p.Retrieve(t.Context()); err != nil || saved != 1 {
		t.Errorf("saved %d times, %v", saved, err)
	}
}

func TestExternalArguments(t *testing.T) {
	t.Parallel()
	p := external(t, alicreds.ExternalOptions{}, "arguments", "two words", "", `"'\$HOME`, "*")
	got, err := p.Retrieve(t.Context())
	if want := `two words||"'\$HOME|*`; err != nil || got.AccessKeyID != want {
		t.Errorf("the command got %q, %v; want %q", got.AccessKeyID, err, want)
	}
}

func TestExternalConcurrent(t *testing.T) {
	t.Parallel()
	ran := filepath.Join(t.TempDir(), "ran")
	in1h := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	cache := alicreds.NewCache(external(t, alicreds.ExternalOptions{}, "count", ran,
		`{"mode": "StsToken", "access_key_id": "a", "access_key_secret": "b", "sts_token": "c", "expiration": "`+in1h+`"}`),
		alicreds.CacheOptions{})
	defer cache.Close()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if c, err := cache.Retrieve(t.Context()); err != nil || c.AccessKeyID != "a" {
				t.Errorf("got %v, %v", c, err)
			}
		})
	}
	all.Wait()
	if lines, err := os.ReadFile(ran); err != nil || string(lines) != "ran\n" {
		t.Errorf("the command left %q, %v: it is to run once", lines, err)
	}
}
