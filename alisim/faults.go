package alisim

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// FaultKind says what goes wrong with a call.
type FaultKind string

// The kinds of faults. All act on calls whose signature was right: a refused signature uses up no fault.
const (
	FaultRefuse        FaultKind = "refuse"          // answer with Code and Status, without effect
	FaultThrottle      FaultKind = "throttle"        // answer Throttling.User (or Code) with an x-ratelimit-user-api header, without effect
	FaultError500      FaultKind = "error500"        // answer 500 InternalError, without effect
	FaultRedirect302   FaultKind = "redirect302"     // answer 302 as STS does over its limit, without effect
	FaultDelay         FaultKind = "delay"           // wait Delay, then go on
	FaultApplyThenDrop FaultKind = "apply_then_drop" // take effect, then close the connection without an answer
	FaultApplyThenFail FaultKind = "apply_then_fail" // take effect, then answer 500 InternalError
	FaultDrop          FaultKind = "drop"            // close the connection before any effect
	FaultHold          FaultKind = "hold"            // stop the call until Release; see Fault.Hold
	FaultMalform       FaultKind = "malform"         // take effect, then spoil the answer; see Fault.Malform
	FaultNoRequestID   FaultKind = "no_request_id"   // take effect, then answer as none of the cloud's services does: RequestId (also in the header), HostId and Recommend are missing
	FaultTwice         FaultKind = "twice"           // deliver the request twice, with one nonce: take effect, then answer what the second delivery gets
)

// Fault makes calls fail on purpose. The first fault that matches a call acts on it; the others do not see the call.
type Fault struct {
	Action      string        // action to hit, for example "CreateAccessKey"; empty: every action
	Account     string        // account id whose principals' calls it hits; empty: every caller's, the unsigned ones too
	Kind        FaultKind     // what happens
	Skip        int           // let that many matching calls through first
	Count       int           // hit that many calls, then be gone; 0: all
	Probability float64       // hit a matching call with this probability; 0: always
	Seed        uint64        // of the dice of Probability, so that a run can be repeated
	Code        string        // refuse, throttle: the error code; default ServiceUnavailable and Throttling.User
	Status      int           // refuse, throttle: the HTTP status; default 503 and 400
	Message     string        // refuse: the message; has a default
	Delay       time.Duration // delay: how long; throttle: the TimeLeft of the header, default 1 s, or no such header if RetryAfter is set
	RetryAfter  time.Duration // refuse, throttle: the answer carries x-acs-retry-after, in milliseconds; 0: it does not
	Hold        string        // hold: "before" (default) stops the call before its effect, "after" between effect and answer
	Malform     string        // malform: how, for example remove:Expiration, set:SecurityToken=null, html, huge, stall; docs/alisim.md has the list
}

type faultJSON struct {
	Action      string    `json:"action,omitempty"`
	Account     string    `json:"account,omitempty"`
	Kind        FaultKind `json:"kind"`
	Skip        int       `json:"skip,omitempty"`
	Count       int       `json:"count,omitempty"`
	Probability float64   `json:"probability,omitempty"`
	Seed        uint64    `json:"seed,omitempty"`
	Code        string    `json:"code,omitempty"`
	Status      int       `json:"status,omitempty"`
	Message     string    `json:"message,omitempty"`
	Delay       span      `json:"delay,omitempty"`
	RetryAfter  span      `json:"retry_after,omitempty"`
	Hold        string    `json:"hold,omitempty"`
	Malform     string    `json:"malform,omitempty"`
}

// MarshalJSON prints Delay as a Go duration, for example "250ms".
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultJSON{f.Action, f.Account, f.Kind, f.Skip, f.Count, f.Probability, f.Seed, f.Code, f.Status, f.Message, span(f.Delay), span(f.RetryAfter), f.Hold, f.Malform})
}

// UnmarshalJSON reads what MarshalJSON prints.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var j faultJSON
	if err := decodeStrict(data, &j); err != nil {
		return err
	}
	*f = Fault{j.Action, j.Account, j.Kind, j.Skip, j.Count, j.Probability, j.Seed, j.Code, j.Status, j.Message, time.Duration(j.Delay), time.Duration(j.RetryAfter), j.Hold, j.Malform}
	return nil
}

func (f Fault) validate() error {
	kinds := []FaultKind{
		FaultRefuse, FaultThrottle, FaultError500, FaultRedirect302, FaultDelay,
		FaultApplyThenDrop, FaultApplyThenFail, FaultDrop, FaultHold, FaultMalform, FaultNoRequestID, FaultTwice,
	}
	switch {
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("alisim: unknown fault kind %q", f.Kind)
	case f.Skip < 0 || f.Count < 0 || f.Delay < 0 || f.RetryAfter < 0:
		return fmt.Errorf("alisim: skip, count, delay and retry_after of a fault must not be negative")
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("alisim: probability %v is not between 0 and 1", f.Probability)
	case f.Kind == FaultDelay && f.Delay == 0:
		return fmt.Errorf("alisim: a delay fault needs a delay")
	case f.Hold != "" && f.Hold != "before" && f.Hold != "after":
		return fmt.Errorf(`alisim: hold must be "before" or "after", not %q`, f.Hold)
	case f.Status != 0 && (f.Status < 300 || f.Status > 599):
		return fmt.Errorf("alisim: status %d is not a refusal", f.Status)
	}
	if f.Kind == FaultMalform {
		return checkMalform(f.Malform)
	}
	return nil
}

// faults is the fault layer of every door.
type faults struct {
	mu      sync.Mutex
	active  []activeFault
	latency time.Duration
	held    map[chan bool]struct{} // receives whether the call may go on
}

type activeFault struct {
	Fault
	dice *rand.Rand
	left int
}

func (f *faults) add(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = append(f.active, activeFault{Fault: fault, dice: rand.New(rand.NewPCG(fault.Seed, 0)), left: fault.Count})
}

// take returns the fault that hits a call of this action by a principal of this account, if any, and the latency of the
// moment.
func (f *faults) take(action, account string) (hit Fault, latency time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.active {
		a := &f.active[i]
		if a.Action != "" && a.Action != action || a.Account != "" && a.Account != account {
			continue
		}
		if a.Skip > 0 {
			a.Skip--
			continue
		}
		if a.Probability > 0 && a.dice.Float64() >= a.Probability {
			continue
		}
		hit = a.Fault
		if a.Count > 0 {
			if a.left--; a.left == 0 {
				f.active = slices.Delete(f.active, i, i+1)
			}
		}
		break
	}
	return hit, f.latency
}

func (f *faults) list() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Fault, 0, len(f.active))
	for _, a := range f.active {
		a.Count = a.left
		out = append(out, a.Fault)
	}
	return out
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = nil
}

func (f *faults) setLatency(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latency = d
}

func (f *faults) hold() (released chan bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil {
		f.held = map[chan bool]struct{}{}
	}
	released = make(chan bool, 1)
	f.held[released] = struct{}{}
	return released
}

func (f *faults) letGo(released chan bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, released)
}

func (f *faults) release(goOn bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.held)
	for released := range f.held {
		released <- goOn
	}
	f.held = nil
	return n
}

// AddFault adds a fault behind those already there. It refuses an unknown kind and fields that are out of
// bounds. It does not check that the Action exists: names are matched as they are, without a product in front
// and without wildcards, so "sts:AssumeRole" and "AssumeRol" never hit anything.
func (s *Server) AddFault(f Fault) error {
	if err := f.validate(); err != nil {
		return err
	}
	s.faults.add(f)
	return nil
}

// Faults returns the faults that still wait for calls, with what is left of their Skip and Count.
func (s *Server) Faults() []Fault { return s.faults.list() }

// ClearFaults removes all faults. Calls that are held stay held; see Release.
func (s *Server) ClearFaults() { s.faults.clear() }

// Release lets every held call go on and returns how many there were.
func (s *Server) Release() int { return s.faults.release(true) }

// SetLatency makes every later call take d longer: half of it passes before the call's effect and half after.
func (s *Server) SetLatency(d time.Duration) { s.faults.setLatency(d) }

// door is how a call is answered behind the fault layer: every door of the simulator (gateway, metadata service, ...)
// brings one and so gets latency, faults and journal for nothing.
type door struct {
	apply  func() answer         // does what the call asks for
	deny   func(*problem) answer // renders a refusal in the door's own format
	caller string                // account id of the verified caller, for faults; empty: none
	params map[string]string     // of the request, for its journal entry
}

// exchange answers one call through the fault layer and writes it to the journal before the answer leaves.
// It panics with http.ErrAbortHandler to close the connection without an answer.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, c *Call, d door) {
	ctx := r.Context()
	if c.Params == nil {
		c.Params = redact(maps.Clone(d.params))
	}
	fault, latency := s.faults.take(c.Action, d.caller)
	c.Fault = string(fault.Kind)
	if !s.wait(ctx, latency/2) {
		s.abandon(c)
	}
	var a answer
	switch fault.Kind {
	case FaultDrop:
		s.abandon(c)
	case FaultDelay:
		if !s.wait(ctx, fault.Delay) {
			s.abandon(c)
		}
	case FaultHold:
		if fault.Hold != "after" && !s.stop(ctx, c) {
			s.abandon(c)
		}
	}
	switch fault.Kind {
	case FaultRefuse:
		a = d.deny(fault.refusal("ServiceUnavailable", http.StatusServiceUnavailable))
	case FaultThrottle:
		a = d.deny(fault.throttling())
	case FaultError500:
		a = d.deny(gatewayProblem("InternalError"))
	case FaultRedirect302:
		a = answer{status: http.StatusFound, header: http.Header{"Location": {"https://" + c.Host + "/"}}}
	default:
		a = d.apply()
	}
	switch {
	case fault.Kind == FaultApplyThenDrop:
		s.abandon(c)
	case fault.Kind == FaultMalform:
		a = a.malform(fault.Malform)
	case fault.Kind == FaultNoRequestID:
		a = a.withoutRequestID()
	case fault.Kind == FaultTwice:
		a = d.apply()
	case fault.Kind == FaultApplyThenFail && c.Applied:
		a = d.deny(gatewayProblem("InternalError"))
	case fault.Kind == FaultHold && fault.Hold == "after":
		if !s.stop(ctx, c) {
			s.abandon(c)
		}
	}
	if !s.wait(ctx, latency-latency/2) {
		s.abandon(c)
	}
	c.Status, c.Code = a.status, a.code
	s.record(c)
	if fault.Malform == "stall" && fault.Kind == FaultMalform {
		s.stall(ctx, w, a)
	}
	a.write(w)
}

func (f Fault) refusal(code string, status int) *problem {
	p := gatewayProblem(code)
	if f.Code != "" {
		p = refuse(status, f.Code, "The request was refused on purpose.")
		if known := gatewayProblem(f.Code); known.code == f.Code {
			p = known
		} else if known := ramProblem(f.Code); known.code == f.Code {
			p = known
		}
	}
	if f.Status != 0 {
		p.status = f.Status
	}
	if f.Message != "" {
		p.message = f.Message
	}
	if f.RetryAfter > 0 {
		p.header = http.Header{"X-Acs-Retry-After": {strconv.FormatInt(f.RetryAfter.Milliseconds(), 10)}}
	}
	return p
}

func (f Fault) throttling() *problem {
	p := f.refusal("Throttling.User", http.StatusBadRequest)
	switch {
	case f.RetryAfter == 0:
		p.header = rateLimitHeader(cmp.Or(f.Delay, time.Second))
	case f.Delay > 0:
		maps.Copy(p.header, rateLimitHeader(f.Delay))
	}
	return p
}

// rateLimitHeader is what a throttled answer carries. Lower case would be canonicalised by net/http anyway.
func rateLimitHeader(left time.Duration) http.Header {
	return http.Header{"X-Ratelimit-User-Api": {"Limit:100,Remain:0,TimeLeft:" + strconv.FormatInt(left.Milliseconds(), 10)}}
}

// wait passes time; false means that the client or the server has gone.
func (s *Server) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.done:
		return false
	}
}

// stop holds a call until it is released; false means that the client or the server has gone first, or that the call's
// world has: a held call does not survive Reset.
func (s *Server) stop(ctx context.Context, c *Call) bool {
	released := s.faults.hold()
	defer s.faults.letGo(released)
	c.Held = true
	s.record(c)
	defer func() { c.Held = false }()
	select {
	case goOn := <-released:
		return goOn
	case <-ctx.Done():
		return false
	case <-s.done:
		return false
	}
}

// abandon ends a call without an answer.
func (s *Server) abandon(c *Call) {
	s.record(c)
	panic(http.ErrAbortHandler)
}

// record puts the call into the journal, or brings its entry up to date.
func (s *Server) record(c *Call) {
	s.log.Info("call", "action", c.Action, "status", c.Status, "code", c.Code, "applied", c.Applied, "fault", c.Fault,
		"held", c.Held, "access_key_id", c.AccessKeyID, "request_id", c.RequestID)
	if c.Seq == 0 {
		s.journal.add(c)
		return
	}
	s.journal.update(c)
}
