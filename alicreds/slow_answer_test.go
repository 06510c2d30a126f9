package alicreds

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// MetadataOver is a Metadata that asks over a transport of a test, which may be in the
// bubble of the test. What it carries has been sent, as by a socket.
func MetadataOver(carrier http.RoundTripper, o MetadataOptions) (*Metadata, error) {
	m, err := NewMetadata(o)
	if err != nil {
		return nil, err
	}
	m.http.Transport = transport(func(r *http.Request) (*http.Response, error) {
		httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
		return carrier.RoundTrip(r)
	})
	return m, nil
}

func textAnswer(text string) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}
}

// dribble is the body of an answer that goes on for ever, a byte a second.
type dribble struct{ ctx context.Context }

func (d dribble) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (dribble) Close() error { return nil }

// TestSlowAnswers: a timeout is that of the whole answer, not of its beginning.
func TestSlowAnswers(t *testing.T) {
	t.Parallel()
	slow := transport(func(r *http.Request) (*http.Response, error) {
		answer := textAnswer("")
		answer.Body = dribble{r.Context()}
		return answer, nil
	})
	for name, c := range map[string]struct {
		build func() (Provider, error)
		after time.Duration
	}{
		"metadata": {func() (Provider, error) {
			m, err := NewMetadata(MetadataOptions{ConnectTimeout: 2 * time.Second, Timeout: 4 * time.Second, DisableIMDSv1: true})
			m.http.Transport = slow
			return ECSRAMRole{metadata: m}, err
		}, 12750 * time.Millisecond}, // three requests and their pauses
		"credentials URI": {func() (Provider, error) {
			p, err := NewCredentialsURI("http://agent", CredentialsURIOptions{Timeout: 7 * time.Second})
			p.http.Transport = slow
			return p, err
		}, 7 * time.Second},
		"login": {func() (Provider, error) {
			return NewOAuth(OAuthTokens{AccessToken: "a"}, OAuthOptions{Site: "CN", HTTP: &http.Client{Transport: slow}})
		}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, err := c.build()
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began := time.Now()
				_, err = p.Retrieve(ctx)
				if took := time.Since(began); err == nil || took != c.after {
					t.Errorf("waited %s, want %s: %v", took, c.after, err)
				}
			})
		})
	}
}

// TestMetadataHasPatience: the answers of one Retrieve, each at the last moment
// and each of no use, take no longer than the doc comment says.
func TestMetadataHasPatience(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"no answer": func(r *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"late failures": func(r *http.Request) (*http.Response, error) {
			time.Sleep(900 * time.Millisecond)
			failed := textAnswer("")
			if failed.StatusCode = http.StatusInternalServerError; r.Method == http.MethodPut {
				failed = textAnswer("token")
			}
			return failed, nil
		},
	} {
		for _, onlyV2 := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m, err := NewMetadata(MetadataOptions{DisableIMDSv1: onlyV2})
				if err != nil {
					t.Fatal(err)
				}
				m.http.Transport = transport(answer)
				began := time.Now()
				_, err = ECSRAMRole{metadata: m}.Retrieve(t.Context())
				if took := time.Since(began); err == nil || took > 7*time.Second {
					t.Errorf("%s, only v2 %t: %v after %s", name, onlyV2, err, took)
				}
			})
		}
	}
}

// TestMetadataTokenEnds: a session token is asked for anew before its six
// hours are over, and not much earlier.
func TestMetadataTokenEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, err := NewMetadata(MetadataOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tokens := 0
		m.http.Transport = transport(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPut {
				if life := r.Header.Get("X-aliyun-ecs-metadata-token-ttl-seconds"); life != "21600" {
					t.Errorf("asked for a token of %s s", life)
				}
				tokens++
				return textAnswer("token-" + strings.Repeat("i", tokens)), nil
			}
			if got, want := r.Header.Get("X-aliyun-ecs-metadata-token"), "token-"+strings.Repeat("i", tokens); got != want {
				t.Errorf("sent %s, want %s", got, want)
			}
			return textAnswer("node"), nil
		})
		for _, step := range []struct {
			at     time.Duration
			tokens int
		}{{0, 1}, {5 * time.Hour, 1}, {6*time.Hour - time.Second, 2}, {7 * time.Hour, 2}, {12 * time.Hour, 3}} {
			time.Sleep(step.at - time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))
			if _, err := m.get(t.Context(), "/latest/meta-data/instance-id"); err != nil || tokens != step.tokens {
				t.Errorf("after %s: %d tokens, want %d (%v)", step.at, tokens, step.tokens, err)
			}
		}
	})
}
