package openapi_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// byHost is a transport in memory that behaves by host.
type byHost struct {
	hosts map[string]func(*http.Request) (*http.Response, error)

	mu    sync.Mutex
	asked []string
}

func (b *byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	b.asked = append(b.asked, r.URL.Host)
	b.mu.Unlock()
	return b.hosts[r.URL.Host](r)
}

func TestFallbacks(t *testing.T) {
	t.Parallel()
	ok, refused := status(200, good), status(403, coded("NoPermission"))
	type hosts = map[string]func(*http.Request) (*http.Response, error)
	for name, tc := range map[string]struct {
		hosts      hosts
		repeatable bool
		asked      string
		failed     bool
	}{
		"the first answers":                 {hosts: hosts{"a": ok, "b": ok}, asked: "a"},
		"the first refuses":                 {hosts: hosts{"a": refused, "b": ok}, asked: "a", failed: true},
		"the first cannot be reached":       {hosts: hosts{"a": unreachable, "b": ok}, asked: "a b"},
		"the second refuses":                {hosts: hosts{"a": unreachable, "b": refused}, asked: "a b", failed: true},
		"the first breaks, repeatable":      {hosts: hosts{"a": dropped, "b": ok}, repeatable: true, asked: "a b"},
		"the first breaks, once only":       {hosts: hosts{"a": dropped, "b": ok}, asked: "a", failed: true},
		"neither can be reached":            {hosts: hosts{"a": unreachable, "b": unreachable}, asked: "a b a b", failed: true},
		"the first fails to serve":          {hosts: hosts{"a": status(500, ``), "b": ok}, repeatable: true, asked: "a a", failed: true},
		"the first is unavailable":          {hosts: hosts{"a": status(503, coded("ServiceUnavailable")), "b": ok}, repeatable: true, asked: "a a", failed: true},
		"throttled calls stay where it was": {hosts: hosts{"a": status(429, coded("Throttling")), "b": ok}, asked: "a a", failed: true},
		"a server error stays there, too":   {hosts: hosts{"a": dropped, "b": status(500, ``)}, repeatable: true, asked: "a b b", failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				transport := &byHost{hosts: tc.hosts}
				c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}, MaxRetries: 1})
				if err != nil {
					t.Fatal(err)
				}
				r := call("a")
				r.Fallbacks, r.Repeatable = []string{"b"}, tc.repeatable
				err = c.Do(t.Context(), r, nil)
				if got := strings.Join(transport.asked, " "); got != tc.asked || (err != nil) != tc.failed {
					t.Errorf("asked %s: %v, want %s", got, err, tc.asked)
				}
				if name == "neither can be reached" && (!strings.Contains(err.Error(), "cannot reach a:") || !strings.Contains(err.Error(), "cannot reach b:")) {
					t.Errorf("Do = %v, want both endpoints named", err)
				}
			})
		})
	}
}

func TestFallbackIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &byHost{hosts: map[string]func(*http.Request) (*http.Response, error){"a": unreachable, "b": status(200, good)}}
		c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		r := call("a")
		r.Fallbacks = []string{"b"}
		for _, pause := range []time.Duration{0, 30 * time.Second, 31 * time.Second} {
			time.Sleep(pause)
			if err := c.Do(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"a", "b", "b", "a", "b"}; !slices.Equal(transport.asked, want) {
			t.Errorf("asked %v, want %v", transport.asked, want)
		}
		transport.hosts["a"], transport.hosts["b"], transport.asked = status(200, good), unreachable, nil
		for range 2 {
			if err := c.Do(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"b", "a", "a"}; !slices.Equal(transport.asked, want) {
			t.Errorf("asked %v, want %v", transport.asked, want)
		}
	})
}

// An endpoint that answers again is no longer asked last.
func TestOutageEndsWithAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &byHost{hosts: map[string]func(*http.Request) (*http.Response, error){"a": unreachable, "b": unreachable}}
		c, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: transport}, MaxRetries: -1})
		if err != nil {
			t.Fatal(err)
		}
		r := call("a")
		r.Fallbacks = []string{"b"}
		if err := c.Do(t.Context(), r, nil); err == nil {
			t.Fatal("an answer from nowhere")
		}
		transport.hosts["b"], transport.asked = status(200, good), nil
		for range 2 {
			if err := c.Do(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"a", "b", "b"}; !slices.Equal(transport.asked, want) {
			t.Errorf("asked %v, want %v", transport.asked, want)
		}
	})
}

func TestFallbackIsChecked(t *testing.T) {
	t.Parallel()
	c, err := openapi.New(openapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := call("sts.aliyuncs.com")
	r.Fallbacks = []string{"http://sts.aliyuncs.com"}
	var network *openapi.NetworkError
	if err := c.Do(t.Context(), r, nil); err == nil || errors.As(err, &network) {
		t.Errorf("Do = %v, want a refusal before anything is sent", err)
	}
}
