package alisim

import (
	"context"
	"sync"
	"time"
)

// Call is one request that a door received, as the journal keeps it. Params holds the request's own parameters, policy
// documents included; signatures, tokens and passwords are replaced by "[redacted]" and never kept.
type Call struct {
	Seq         int               `json:"seq"`
	Time        time.Time         `json:"time"` // the simulator's clock
	Service     string            `json:"service"`
	Action      string            `json:"action"`
	Params      map[string]string `json:"params,omitempty"`
	AccessKeyID string            `json:"access_key_id,omitempty"`
	Principal   string            `json:"principal,omitempty"` // ARN of the verified caller
	Signature   string            `json:"signature"`           // V1, V3, bearer, token (of the metadata service, CloudSSO or OAuth) or anonymous
	Status      int               `json:"status"`              // HTTP status of the answer; 0: none was sent (yet)
	Code        string            `json:"code,omitempty"`      // error code of the answer
	Applied     bool              `json:"applied"`             // the call changed something: an entity, or a session was issued
	Fault       string            `json:"fault,omitempty"`     // kind of the fault that hit the call
	Held        bool              `json:"held,omitempty"`      // stopped by a "hold" fault and not released yet
	RequestID   string            `json:"request_id"`
	Host        string            `json:"host"`
	RemoteAddr  string            `json:"remote_addr"`
	Connection  int64             `json:"connection"` // number of the TCP connection; 0: in process
}

// journal keeps the last calls in a ring.
type journal struct {
	mu      sync.Mutex
	limit   int
	seq     int
	ring    []Call        // index (Seq-1) % limit once full
	waiting chan struct{} // closed at the next change, nil while nobody waits
}

// add numbers the call and keeps it.
func (j *journal) add(c *Call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	c.Seq = j.seq
	if len(j.ring) < j.limit {
		j.ring = append(j.ring, *c)
	} else {
		j.ring[(c.Seq-1)%j.limit] = *c
	}
	j.changed()
}

// update replaces an entry that was added before its call was complete. An entry that the ring or a reset has dropped
// stays dropped.
func (j *journal) update(c *Call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if i := (c.Seq - 1) % j.limit; i < len(j.ring) && j.ring[i].Seq == c.Seq {
		j.ring[i] = *c
		j.changed()
	}
}

func (j *journal) changed() {
	if j.waiting != nil {
		close(j.waiting)
		j.waiting = nil
	}
}

// calls returns what is kept, oldest first, and a channel that is closed at the next change.
func (j *journal) calls() ([]Call, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.waiting == nil {
		j.waiting = make(chan struct{})
	}
	start := 0
	if len(j.ring) == j.limit {
		start = j.seq % j.limit
	}
	out := make([]Call, 0, len(j.ring))
	for i := range j.ring {
		c := j.ring[(start+i)%len(j.ring)]
		out = append(out, c)
	}
	return out, j.waiting
}

// forget empties the journal; numbering starts again at 1.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq, j.ring = 0, nil
	j.changed()
}

// Journal returns the calls received so far, oldest first: the last 100,000, or Options.JournalSize. The Params maps are
// shared and must not be changed.
func (s *Server) Journal() []Call {
	calls, _ := s.journal.calls()
	return calls
}

// ClearJournal forgets the calls received so far.
func (s *Server) ClearJournal() { s.journal.forget() }

// WaitFor returns the first journaled call that matches, waiting for it until ctx ends. A call appears in the journal
// once its answer is decided, and, if a "hold" fault stops it, already when it is stopped (Held is true then).
func (s *Server) WaitFor(ctx context.Context, match func(Call) bool) (Call, error) {
	for {
		calls, changed := s.journal.calls()
		for _, c := range calls {
			if match(c) {
				return c, nil
			}
		}
		select {
		case <-changed:
		case <-s.done:
			return Call{}, ErrClosed
		case <-ctx.Done():
			return Call{}, ctx.Err()
		}
	}
}

// secretParams are never kept, whatever the action.
var secretParams = map[string]bool{
	"SecurityToken": true, "BearerToken": true, "OIDCToken": true, "SAMLAssertion": true, "Signature": true,
	"Password": true, "NewPassword": true, "OldPassword": true, "AccessKeySecret": true, "SessionAccessKeySecret": true,
	"AuthenticationCode1": true, "AuthenticationCode2": true, "TokenCode": true,
}

// protocolParams belong to the envelope of a V1 request, not to its action.
var protocolParams = map[string]bool{
	"Action": true, "Version": true, "Format": true, "Timestamp": true, "AccessKeyId": true,
	"SignatureMethod": true, "SignatureVersion": true, "SignatureNonce": true, "SignatureType": true,
}

// redact makes the parameters of a request fit for the journal, in place: the request is over when it is called.
func redact(params map[string]string) map[string]string {
	for name := range params {
		switch {
		case protocolParams[name], name == "Signature":
			delete(params, name)
		case secretParams[name]:
			params[name] = "[redacted]"
		}
	}
	return params
}
