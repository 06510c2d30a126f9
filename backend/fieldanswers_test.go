package backend_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// TestFieldAnswers sends every answer of answers.jsonl, from a local TLS server,
// through the client and through what the engine does with the call: it judges
// what the client makes of the answer, what Vault answers, what that tells (Code,
// HTTP status, RequestId and where to read more), how often the call was made,
// what is left in RAM, and that no secret is told or logged. What is right for a
// row is in the table of fieldanswers_table_test.go, a line for each.
func TestFieldAnswers(t *testing.T) {
	skipMatrix(t)
	t.Parallel()
	expected := expectationsByRow(t)
	var mu sync.Mutex
	wrong := map[int]string{}
	answers := fieldAnswers(t)
	t.Run("rows", func(t *testing.T) {
		for _, a := range answers {
			e, found := expected[a.row]
			delete(expected, a.row)
			if !found {
				wrong[a.row] = fmt.Sprintf("row %d, %s %s: it has no expectation", a.row, a.Action, a.Code)
				continue
			}
			t.Run(fmt.Sprintf("%d %s", e.row, e.label), func(t *testing.T) {
				t.Parallel()
				broken := "it could not be judged" // until it was
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					if broken != "" {
						wrong[a.row] = fmt.Sprintf("row %d, %s %s: %s", a.row, a.Action, a.Code, broken)
					}
				}()
				broken = e.judge(t, a)
			})
		}
	})
	for row := range expected {
		t.Errorf("row %d: there is an expectation for it, but no such row", row)
	}
	for _, a := range answers {
		if wrong[a.row] != "" {
			t.Error(wrong[a.row])
		}
	}
	fmt.Printf("rows %d wrong %d\n", len(answers), len(wrong))
	if len(answers) < 200 {
		t.Errorf("only %d rows", len(answers))
	}
}

func expectationsByRow(t *testing.T) map[int]expectation {
	t.Helper()
	expected := map[int]expectation{}
	for _, e := range fieldExpectations() {
		if _, twice := expected[e.row]; twice {
			t.Errorf("row %d has two expectations", e.row)
		}
		expected[e.row] = e
	}
	return expected
}

// class is what the client makes of an answer.
type class struct {
	name                                        string
	ok, throttled, temporary, absent, ambiguous bool
	attempts                                    int // of a call that is repeated once at most
}

var (
	goodAnswer       = class{name: "good", ok: true, attempts: 1}
	refusedCall      = class{name: "refusal", attempts: 1}
	nothingThere     = class{name: "does not exist", absent: true, attempts: 1}
	throttledCall    = class{name: "throttling", throttled: true, temporary: true, attempts: 2}
	outageAnswer     = class{name: "outage", temporary: true, ambiguous: true, attempts: 2}
	unusableAnswer   = class{name: "unusable", ambiguous: true, attempts: 1} // HTTP 200, and the call took effect
	incompleteAnswer = class{name: "incomplete", attempts: 1}                // of a provider, which says what is missing
	seenBefore       = class{name: "seen before", temporary: true, ambiguous: true, attempts: 2}
)

// ownHeading is for a code that has a heading of its own, or shares one with its
// family.
const ownHeading = "# a heading that is not the one for any other code"

// classOf prints what the client makes of an answer, in the words of class.
func classOf(err error) string {
	var c class
	var refused *openapi.Error
	c.ok, c.ambiguous = err == nil, openapi.Ambiguous(err)
	if errors.As(err, &refused) {
		c.throttled, c.temporary, c.absent = refused.Throttled(), refused.Temporary(), refused.NotExist()
	}
	return c.String()
}

func (c class) String() string {
	return fmt.Sprintf("ok %t, throttled %t, temporary %t, absent %t, ambiguous %t", c.ok, c.throttled, c.temporary, c.absent, c.ambiguous)
}

// expectation is what is right for one row.
type expectation struct {
	row     int
	label   string // for readers
	class   class
	results results
	why     string // where it is not obvious
}

// handled is where the engine meets the answer, and what comes of it there.
type handled struct {
	handling handling
	outcome  outcome
	says     []string // beside Code, HTTP status and RequestId, in any case; "#heading" is where to read more
	ownWords bool     // it says all by itself: neither Code nor RequestId nor a heading
	first    bool     // only the first call gets the answer
	calls    int      // of the action; 0: as many as the class has attempts
	hears    []string // calls that the cloud must hear after the answer: "Action Name=value"
}

type results []handled

// in begins the results of a row.
func in(h handling, o outcome, says ...string) results {
	return results{{handling: h, outcome: o, says: says}}
}

// and adds a result.
func (rs results) and(h handling, o outcome, says ...string) results {
	return append(rs, in(h, o, says...)...)
}

// The following change the last result.

func (rs results) last() *handled { return &rs[len(rs)-1] }

func (rs results) inOwnWords() results { rs.last().ownWords = true; return rs }

// once is for an answer to the first call only, which is made so often.
func (rs results) once(calls int) results {
	rs.last().first, rs.last().calls = true, calls
	return rs
}

// times is for a call that is made more often than the client repeats it.
func (rs results) times(calls int) results { rs.last().calls = calls; return rs }

func (rs results) hearing(calls ...string) results { rs.last().hears = calls; return rs }

// judge returns what is wrong, on one line.
func (e expectation) judge(t *testing.T, a fieldAnswer) string {
	var wrong []string
	client := newReplay(t, a, e.class)
	client.result = e.results[0]
	client.judgeClient(e.class)
	wrong = append(wrong, client.wrong...)
	for _, p := range e.results {
		if p.handling.run == nil {
			continue
		}
		r := newReplay(t, a, e.class)
		r.result = p
		r.judgeResult()
		for _, complaint := range r.wrong {
			wrong = append(wrong, p.handling.name+": "+complaint)
		}
	}
	if len(wrong) > 0 && e.why != "" {
		wrong = append(wrong, "because "+e.why)
	}
	return strings.Join(wrong, "; ")
}

func (r *replay) judgeClient(want class) {
	a := r.cloud.answer
	err := r.sent()
	if got := classOf(err); got != want.String() {
		r.complain("the client: wanted %s (%v), got %s: %v", want.name, want, got, err)
	}
	var refused *openapi.Error
	if errors.As(err, &refused) && (refused.Code != a.Code || refused.Status != a.status || refused.RequestID != a.requestID) {
		r.complain("the client: wanted Code %q, HTTP %d, RequestId %q, got %+v", a.Code, a.status, a.requestID, *refused)
	}
	if a.Code != "" && refused == nil {
		r.complain("the client: %v is no refusal", err)
	}
	r.wantCalls(want.attempts)
	r.wantNoSecret(fmt.Sprint(err), fmt.Sprintf("%+v %#v", err, err))
}

func (r *replay) judgeResult() {
	p := r.result
	got := p.handling.run(r)
	if got.outcome != p.outcome {
		r.complain("wanted %s, got %s: %s", p.outcome, got.outcome, got.text)
	}
	for _, words := range r.wanted() {
		said := strings.Contains(strings.ToLower(got.text), strings.ToLower(words))
		if words == ownHeading {
			said = strings.Contains(got.text, "troubleshooting.md#") && !strings.Contains(got.text, "#any-other-code")
		}
		if !said {
			r.complain("it does not say %q: %s", words, got.text)
		}
	}
	calls := p.calls
	if calls == 0 {
		calls = r.class.attempts
	}
	r.wantCalls(calls)
	for _, call := range p.hears {
		if !r.cloud.heardOf(call) {
			r.complain("the cloud did not hear %s afterwards", call)
		}
	}
	r.wantNoSecret(got.text, r.logged.String())
}

// wanted is all that must be said.
func (r *replay) wanted() []string {
	a, p := r.cloud.answer, r.result
	words := slices.Clone(p.says)
	if p.ownWords || p.outcome == done {
		return words
	}
	if a.Code != "" {
		words = append(words, a.Code, fmt.Sprintf("HTTP %d", a.status))
	}
	words = append(words, a.requestID)
	if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "#") }) {
		return words
	}
	switch {
	case p.handling.help != "":
		return append(words, p.handling.help)
	case p.outcome == is502:
		return append(words, "#throttling")
	case p.outcome == is500:
		return append(words, "#no-answer")
	}
	return append(words, "#any-other-code")
}

// wantCalls counts the calls of the action, and wants them as far apart as the
// answer asked for.
func (r *replay) wantCalls(want int) {
	calls := r.cloud.calls(r.result.handling.action)
	if len(calls) != want {
		r.complain("%d calls of %s, want %d", len(calls), r.result.handling.action, want)
	}
	pause, _ := strconv.Atoi(r.cloud.answer.Headers["x-acs-retry-after"]) // 0 without
	for n := 1; n < len(calls); n++ {
		if gap := calls[n].at.Sub(calls[n-1].at); gap < time.Duration(pause)*time.Millisecond {
			r.complain("repeated after %v, where the answer asked for %d ms", gap, pause)
		}
	}
}

func (r *replay) wantNoSecret(texts ...string) {
	for _, secret := range slices.Concat(r.cloud.answer.secrets(), r.mountSecrets()) {
		for _, text := range texts {
			if strings.Contains(text, secret) {
				r.complain("%q is told: %s", secret, text)
			}
		}
	}
}

// heardOf looks for a call, written "Action" or "Action Name=value", after the
// first that got the answer.
func (c *fieldCloud) heardOf(call string) bool {
	action, param, _ := strings.Cut(call, " ")
	name, value, _ := strings.Cut(param, "=")
	heard := c.calls("")
	first := slices.IndexFunc(heard, func(h heardCall) bool { return h.seen })
	return first >= 0 && slices.ContainsFunc(heard[first+1:], func(h heardCall) bool {
		return h.action == action && h.params.Get(name) == value
	})
}
