package alicreds_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// member succeeds, or fails as it is told to, and counts.
type member struct {
	name  string
	err   error
	calls int
}

func (m *member) Retrieve(context.Context) (alicreds.Credentials, error) {
	m.calls++
	if m.err != nil {
		return alicreds.Credentials{}, m.err
	}
	return alicreds.Credentials{AccessKeyID: m.name, AccessKeySecret: "fake", Source: m.name}, nil
}

var (
	errAbsent = fmt.Errorf("%w: absent", alicreds.ErrUnavailable)
	errBroken = errors.New("broken")
)

func TestChain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		options     alicreds.ChainOptions
		members     []error
		want        string // the member that answers, by number
		asked       string // how often each is asked in two calls
		text        string
		unavailable bool
		broken      bool
	}{
		"the first":                 {members: []error{nil, nil}, want: "0", asked: "2 0"},
		"the second":                {members: []error{errAbsent, nil}, want: "1", asked: "1 2"},
		"always from the start":     {options: alicreds.ChainOptions{AlwaysWalk: true}, members: []error{errAbsent, nil}, want: "1", asked: "2 2"},
		"a failure ends it":         {members: []error{errAbsent, errBroken, nil}, asked: "2 2 0", text: "no credentials:\n  - not set up: absent\n  - broken", broken: true},
		"unless told not to":        {options: alicreds.ChainOptions{FallThrough: true}, members: []error{errBroken, nil}, want: "1", asked: "1 2"},
		"nothing set up":            {members: []error{errAbsent, errAbsent}, asked: "2 2", text: "no credentials:\n  - not set up: absent\n  - not set up: absent", unavailable: true},
		"falling through a failure": {options: alicreds.ChainOptions{FallThrough: true}, members: []error{errBroken, errAbsent}, asked: "2 2", text: "no credentials:\n  - broken\n  - not set up: absent", broken: true},
		"nobody":                    {text: "no credentials: the chain is empty", unavailable: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var members []*member
			var providers []alicreds.Provider
			for i, err := range tc.members {
				m := &member{name: fmt.Sprint(i), err: err}
				members, providers = append(members, m), append(providers, m)
			}
			chain := alicreds.NewChain(tc.options, providers...)
			for range 2 {
				got, err := chain.Retrieve(t.Context())
				if got.Source != tc.want || (err == nil) != (tc.want != "") {
					t.Fatalf("got %s, %v", got, err)
				}
				if err == nil {
					continue
				}
				var all *alicreds.ChainError
				if !errors.As(err, &all) || err.Error() != tc.text {
					t.Errorf("got %v\nwant %s", err, tc.text)
				}
				if errors.Is(err, alicreds.ErrUnavailable) != tc.unavailable || errors.Is(err, errBroken) != tc.broken {
					t.Errorf("%v: unavailable %t, broken %t", err, errors.Is(err, alicreds.ErrUnavailable), errors.Is(err, errBroken))
				}
			}
			asked := []string{}
			for _, m := range members {
				asked = append(asked, fmt.Sprint(m.calls))
			}
			if got := strings.Join(asked, " "); got != tc.asked {
				t.Errorf("asked %s, want %s", got, tc.asked)
			}
		})
	}
}

func TestChainRemembersSuccessOnly(t *testing.T) {
	t.Parallel()
	first, second := &member{name: "first", err: errAbsent}, &member{name: "second", err: errAbsent}
	chain := alicreds.NewChain(alicreds.ChainOptions{}, first, second)
	if _, err := chain.Retrieve(t.Context()); err == nil {
		t.Fatal("no error")
	}
	first.err = nil
	if got, err := chain.Retrieve(t.Context()); err != nil || got.Source != "first" {
		t.Errorf("after a total failure: %s, %v", got, err)
	}
	first.err, second.err = errAbsent, nil
	if _, err := chain.Retrieve(t.Context()); !errors.Is(err, errAbsent) {
		t.Errorf("the winner fails: %v, want its error and no other identity", err)
	}
}

func TestChainStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	second := &member{name: "second"}
	chain := alicreds.NewChain(alicreds.ChainOptions{FallThrough: true}, alicreds.ProviderFunc(func(ctx context.Context) (alicreds.Credentials, error) {
		cancel()
		return alicreds.Credentials{}, ctx.Err()
	}), second)
	if _, err := chain.Retrieve(ctx); !errors.Is(err, context.Canceled) || second.calls != 0 {
		t.Errorf("got %v, the second was asked %d times", err, second.calls)
	}
}

func TestChainRace(t *testing.T) {
	t.Parallel()
	key := accessKey(t)
	chain := alicreds.NewChain(alicreds.ChainOptions{}, alicreds.NewEnvironment(environment()), key)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if got, err := chain.Retrieve(t.Context()); err != nil || got.Source != "access_key" {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	all.Wait()
	mustNotPrint(t, chain, fakeSecret)
}

// place is where a default chain runs: an environment and a metadata service.
func place(t *testing.T, i *instance, env ...string) *alicreds.Chain {
	t.Helper()
	metadata := patientMetadata(t, i.URL, false)
	sts := newDesk(t, answers(200, sessionJSON()))
	env = append(env, "HOME", t.TempDir(), "USERPROFILE", t.TempDir())
	chain, err := alicreds.Default(alicreds.DefaultOptions{Getenv: environment(env...), STSOptions: sts.sts(t), Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func offECS(t *testing.T) *instance {
	t.Helper()
	i := newInstance(t)
	i.URL = "http://" + whereNobodyListens(t)
	return i
}

func TestDefault(t *testing.T) {
	t.Parallel()
	uri := newDesk(t, answers(200, codedJSON()))
	token := file(t, jwt("{}"))
	oidc := []string{"ALIBABA_CLOUD_OIDC_TOKEN_FILE", token, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", providerARN, "ALIBABA_CLOUD_ROLE_ARN", roleARN}
	keys := []string{"ALIBABA_CLOUD_ACCESS_KEY_ID", "i", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s"}
	for name, tc := range map[string]struct {
		env  []string
		off  bool // not on ECS
		want string
		text string
	}{
		"keys":                  {env: append(keys, oidc...), want: "default/env"},
		"oidc":                  {env: oidc, want: "default/oidc_role_arn"},
		"metadata":              {want: "default/ecs_ram_role"},
		"metadata before URI":   {env: []string{"ALIBABA_CLOUD_CREDENTIALS_URI", uri.URL}, want: "default/ecs_ram_role"},
		"URI":                   {env: []string{"ALIBABA_CLOUD_CREDENTIALS_URI", uri.URL}, off: true, want: "default/credentials_uri"},
		"URI, metadata is off":  {env: []string{"ALIBABA_CLOUD_CREDENTIALS_URI", uri.URL, "ALIBABA_CLOUD_ECS_METADATA_DISABLED", "True"}, want: "default/credentials_uri"},
		"half of the keys":      {env: keys[:2], text: "env: ALIBABA_CLOUD_ACCESS_KEY_SECRET is empty, although ALIBABA_CLOUD_ACCESS_KEY_ID is not"},
		"two thirds of oidc":    {env: oidc[:4], text: "oidc_role_arn: role_arn and ALIBABA_CLOUD_ROLE_ARN are empty"},
		"a role is not oidc":    {env: oidc[4:], want: "default/ecs_ram_role"},
		"oidc without its file": {env: append([]string{"ALIBABA_CLOUD_OIDC_TOKEN_FILE", token + "x"}, oidc[2:]...), text: token + "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInstance(t)
			if tc.off {
				i = offECS(t)
			}
			got, err := place(t, i, tc.env...).Retrieve(t.Context())
			if got.Source != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %s, %v", got, err)
			}
			if tc.text != "" && (!strings.Contains(err.Error(), tc.text) || errors.Is(err, alicreds.ErrUnavailable)) {
				t.Errorf("got %v, want %s", err, tc.text)
			}
		})
	}
}

func TestDefaultListsEveryMember(t *testing.T) {
	t.Parallel()
	_, err := place(t, offECS(t)).Retrieve(t.Context())
	if !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	rest := err.Error()
	for _, want := range []string{
		"default: no credentials:",
		"\n  - env: not set up: ALIBABA_CLOUD_ACCESS_KEY_ID is empty",
		"\n  - oidc_role_arn: not set up: ALIBABA_CLOUD_OIDC_TOKEN_FILE is empty",
		"\n  - ecs_ram_role: not set up: no metadata service answers, this is not an ECS instance: ",
		"\n  - credentials_uri: not set up: ALIBABA_CLOUD_CREDENTIALS_URI is empty",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Errorf("%v\nlacks, or has not in its place, %q", err, want)
			continue
		}
		rest = after
	}
}

// One generated session name for the life of the chain, or the configured one.
func TestDefaultSessionName(t *testing.T) {
	t.Parallel()
	oidc := []string{"ALIBABA_CLOUD_OIDC_TOKEN_FILE", file(t, jwt("{}")), "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", providerARN, "ALIBABA_CLOUD_ROLE_ARN", roleARN}
	for _, env := range [][]string{oidc, append(oidc, "ALIBABA_CLOUD_ROLE_SESSION_NAME", "pod-7")} {
		sts := newDesk(t, answers(200, sessionJSON()))
		chain, err := alicreds.Default(alicreds.DefaultOptions{Getenv: environment(env...), STSOptions: sts.sts(t)})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := chain.Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		first, second := sts.requests[0].PostForm.Get("RoleSessionName"), sts.requests[1].PostForm.Get("RoleSessionName")
		if first != second || first == "" || len(env) > 6 && first != "pod-7" {
			t.Errorf("session names %q and %q", first, second)
		}
	}
}

func TestDefaultChecks(t *testing.T) {
	t.Parallel()
	if _, err := alicreds.Default(alicreds.DefaultOptions{STSOptions: alicreds.STSOptions{Endpoint: "http://x"}}); err == nil {
		t.Error("accepts a bad endpoint")
	}
	if _, err := alicreds.Default(alicreds.DefaultOptions{Getenv: environment("ALIBABA_CLOUD_STS_REGION", "no region/")}); err == nil {
		t.Error("accepts a bad region")
	}
}

// A provider that could not be reached, or that failed and was passed over, is asked
// again 5 minutes later. One that is not set up is not.
func TestChainMakesRoom(t *testing.T) {
	t.Parallel()
	lost := openapi.Unanswered("instance metadata", "100.100.100.200", false, errors.New("timed out"))
	for name, c := range map[string]struct {
		err  error
		o    alicreds.ChainOptions
		room bool
	}{
		"not set up":         {alicreds.ErrUnavailable, alicreds.ChainOptions{}, false},
		"not reached":        {fmt.Errorf("%w: %w", alicreds.ErrUnavailable, lost), alicreds.ChainOptions{}, true},
		"failed, falls on":   {errors.New("broken"), alicreds.ChainOptions{FallThrough: true}, true},
		"unset, falls on":    {alicreds.ErrUnavailable, alicreds.ChainOptions{FallThrough: true}, false},
		"not reached, walks": {fmt.Errorf("%w: %w", alicreds.ErrUnavailable, lost), alicreds.ChainOptions{AlwaysWalk: true}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			err := c.err
			keys := func(source string) alicreds.Credentials {
				return alicreds.Credentials{AccessKeyID: "id", AccessKeySecret: fakeSecret, Source: source}
			}
			chain := alicreds.NewChain(c.o,
				alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) {
					if err != nil {
						return alicreds.Credentials{}, err
					}
					return keys("own"), nil
				}),
				alicreds.ProviderFunc(func(context.Context) (alicreds.Credentials, error) { return keys("next"), nil }))
			if got := get(t, chain); got.Source != "next" {
				t.Errorf("%s: got %s", name, got)
			}
			err = nil
			time.Sleep(4 * time.Minute)
			want := "next"
			if c.o.AlwaysWalk {
				want = "own"
			}
			if got := get(t, chain); got.Source != want {
				t.Errorf("%s: after 4 minutes got %s", name, got)
			}
			if c.room {
				want = "own"
			}
			time.Sleep(time.Minute)
			if got := get(t, chain); got.Source != want {
				t.Errorf("%s: after 5 minutes got %s, want %s", name, got.Source, want)
			}
		})
	}
}
