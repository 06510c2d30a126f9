package backend

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// How long a refusal is remembered: the first time, at most, and of how many
// requests.
const (
	firstPause  = time.Second
	longestWait = 30 * time.Second
	maxRefusals = 1000
)

// refusals remembers which sessions STS has refused, so that readers that ask
// without a pause do not become as many calls. The zero value is empty. Whoever
// makes an equal request would have got the same answer; nobody else gets it.
type refusals struct {
	mu      sync.Mutex
	known   map[sessionRequest]refusedSession
	changes int // counts the calls of forget
}

type refusedSession struct {
	err   error
	at    time.Time
	pause time.Duration
	until time.Time // longer than pause while one request tries
}

// attempt obtains, unless the same request was refused a moment ago. The pause
// doubles with each refusal; when it is over one request tries, and the others
// wait for what it hears.
func (r *refusals) attempt(ask sessionRequest, obtain func() error) error {
	r.mu.Lock()
	now, last, changes := time.Now(), r.known[ask], r.changes
	if now.Before(last.until) {
		r.mu.Unlock()
		return fmt.Errorf("%w (remembered: STS is asked again in %s, or once the role or config is written)", last.err, wholeSeconds(last.until.Sub(now)))
	}
	if last.err != nil {
		trying := last
		trying.until = now.Add(last.pause)
		r.known[ask] = trying
	}
	r.mu.Unlock()
	err := obtain()
	r.heard(ask, last, changes, err)
	return err
}

// heard keeps a refusal. Of requests that were on their way at once the first
// counts, and none that began before the role was written.
func (r *refusals) heard(ask sessionRequest, last refusedSession, changes int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		delete(r.known, ask)
		return
	case r.changes != changes, !lasting(err), !r.known[ask].at.Equal(last.at):
		return
	}
	pause := min(max(firstPause, 2*last.pause), longestWait)
	if now.Sub(last.until) > longestWait {
		pause = firstPause // nobody has asked for long
	}
	if len(r.known) >= maxRefusals {
		for key, old := range r.known {
			if now.After(old.until) {
				delete(r.known, key)
			}
		}
	}
	if r.known == nil {
		r.known = map[sessionRequest]refusedSession{}
	}
	if len(r.known) < maxRefusals {
		r.known[ask] = refusedSession{err: err, at: now, pause: pause, until: now.Add(pause)}
	}
}

// forget follows a change of the role.
func (r *refusals) forget(role string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes++
	for ask := range r.known {
		if ask.role == role {
			delete(r.known, ask)
		}
	}
}

// lasting tells whether the same request is likely to be refused for a while. A
// refusal of the mount's own key or clock says nothing of the request, and no
// answer, an outage or throttling nothing at all.
func lasting(err error) bool {
	refused, ok := errors.AsType[*openapi.Error](err)
	if !ok || refused.Code == "" || refused.Temporary() {
		return false
	}
	family, _, _ := strings.Cut(refused.Code, ".")
	return !slices.Contains([]string{
		"InvalidAccessKeyId", "InvalidSecurityToken", "MissingSecurityToken", "SignatureDoesNotMatch", "IncompleteSignature", "InvalidTimeStamp",
	}, family)
}

// wholeSeconds is a duration for people, rounded up.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
