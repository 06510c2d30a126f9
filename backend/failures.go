package backend

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

const (
	// The pauses between two warnings of one kind double from the first to the
	// longest, and begin again when all has been well for the longest.
	firstWarningPause   = time.Minute
	longestWarningPause = time.Hour

	failureMemory     = 24 * time.Hour // for which a failure that is over can be read
	longestReason     = 600            // bytes of it that are kept
	maxFailingObjects = 1000           // of one kind, that are told apart
)

// failureKind is work in the background that may fail: no request waits for it,
// or none is told.
type failureKind struct {
	name    string // before "_failure", the field of config/caller-identity
	what    string // the failure, for that field
	failing string // logged
	well    string // logged when it is over

	// quiet is for how long no failure means that it is over, because the work
	// would have been repeated. 0: only success ends it.
	quiet time.Duration
}

// Names of the kinds.
const (
	failedCredentials = "credentials"
	failedAccount     = "account"
	failedCalls       = "calls"
	failedRotation    = "rotation"
	failedRollback    = "rollback"
	failedExpiry      = "expiry"
	failedLeaseCheck  = "lease_check"
)

// failureKinds is the table. A new kind is a line here, and one in api.md.
func failureKinds() []failureKind {
	return []failureKind{
		{
			name: failedCredentials, what: "The last renewal of the mount's own credentials failed. It is repeated when they are next needed",
			failing: "the mount's own credentials cannot be renewed", well: "the mount's own credentials are renewed again",
		},
		{
			name: failedAccount, what: "The mount cannot assume the RAM roles that are named, and so not work in their accounts. It is repeated when they are next needed",
			failing: "a RAM role of assume_role_arn cannot be assumed", well: "the RAM roles of assume_role_arn can be assumed again",
			quiet: 3 * time.Hour,
		},
		{
			name: failedCalls, what: "Calls of Alibaba Cloud had to be repeated in the last five minutes, whether or not they succeeded then",
			failing: "calls of Alibaba Cloud have to be repeated", well: "calls of Alibaba Cloud need no repetition any longer",
			quiet: 5 * time.Minute,
		},
		{
			name: failedRotation, what: "Rotations fail, of the keys that are named: config, static-role/<name>, or a key that was in config before and is to be cleaned up",
			failing: "a rotation failed and will be repeated", well: "rotations do not fail any longer",
			quiet: 3 * time.Hour,
		},
		{
			name: failedRollback, what: "Issues that did not end cannot be rolled back yet: the RAM users and roles that are named may be left",
			failing: "a rollback of an unfinished issue failed and will be repeated", well: "rollbacks do not fail any longer",
			quiet: 5 * time.Minute,
		},
		{
			name: failedExpiry, what: "What leases stood for that are over cannot be removed yet: the RAM users and roles that are named are still there",
			failing: "what a lease stood for that is over cannot be removed yet, and it will be tried again", well: "nothing of a lease that is over is left any longer",
			quiet: 15 * time.Minute,
		},
		{
			name: failedLeaseCheck, what: "Leases were renewed although RAM could not be asked whether their user still exists",
			failing: "leases are renewed without having seen their RAM user", well: "leases are no longer renewed without having seen their RAM user",
			quiet: time.Hour,
		},
	}
}

// failures is what fails in the background of one mount: it warns of each kind,
// less and less often, and remembers the last failures for whoever asks. Times
// and reasons are in memory only.
type failures struct {
	log   hclog.Logger
	mount func() string // its path

	mu    sync.Mutex
	kinds map[string]*failing
}

// failing is one kind, while it fails and for failureMemory after that.
type failing struct {
	failureKind

	objects map[string]time.Time // that fail now, with their last failure
	since   time.Time
	last    time.Time
	times   int
	object  string // the last
	reason  string
	code    string    // what of the reason names nobody: "AssumeRole: NoPermission"
	next    time.Time // zero: when it is next needed
	over    time.Time // zero: it fails still

	pause  time.Duration // after the last warning
	warned time.Time
	told   bool // of what began since
}

func newFailures(log hclog.Logger, mount func() string) *failures {
	f := &failures{log: log, mount: mount, kinds: map[string]*failing{}}
	for _, k := range failureKinds() {
		f.kinds[k.name] = &failing{failureKind: k, objects: map[string]time.Time{}}
	}
	return f
}

// failed says that work of that kind has failed, for the object (a key, a RAM
// user, an action; "" where there is one only), and when the next try is, zero
// for when it is next needed. A nil *failures is told nothing.
func (f *failures) failed(kind, object string, err error, next time.Time) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now, k := time.Now(), f.kinds[kind]
	f.settle(k, now)
	if len(k.objects) == 0 {
		k.since, k.times, k.over, k.told = now, 0, time.Time{}, false
	}
	if _, known := k.objects[object]; known || len(k.objects) < maxFailingObjects {
		k.objects[object] = now
	}
	k.last, k.object, k.reason, k.code, k.next = now, object, shortened(oneLine(err)), nameless(err), next
	k.times++
	if now.Sub(k.warned) < k.pause {
		return
	}
	k.pause = min(max(2*k.pause, firstWarningPause), longestWarningPause)
	k.warned, k.told = now, true
	f.log.Warn(k.failing, f.logged(k, "since", stamp(k.since), "times", k.times, "next", nextTry(k.next), "error", k.reason)...)
}

// succeeded says that work of that kind is well for the object.
func (f *failures) succeeded(kind, object string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now, k := time.Now(), f.kinds[kind]
	if _, failed := k.objects[object]; failed {
		delete(k.objects, object)
		f.end(k, now)
	}
	f.settle(k, now)
}

// look settles what is over because it has been quiet.
func (f *failures) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.kinds {
		f.settle(k, time.Now())
	}
}

// settle forgets the objects that have been quiet; f.mu is held.
func (f *failures) settle(k *failing, now time.Time) {
	failed := len(k.objects)
	for object, last := range k.objects {
		if k.quiet > 0 && now.Sub(last) >= k.quiet {
			delete(k.objects, object)
		}
	}
	if failed > 0 {
		f.end(k, now)
	}
	if len(k.objects) == 0 && now.Sub(k.last) >= longestWarningPause {
		k.pause = 0
	}
}

// end says so when nothing of the kind fails any longer; f.mu is held.
func (f *failures) end(k *failing, now time.Time) {
	if len(k.objects) > 0 {
		return
	}
	k.over = now
	if k.told {
		f.log.Info(k.well, f.logged(k, "failed_since", stamp(k.since), "times", k.times)...)
	}
}

// logged are the arguments of a line about the kind; f.mu is held.
func (f *failures) logged(k *failing, more ...any) []any {
	args := []any{"mount", f.mount()}
	if k.object != "" {
		args = append(args, "of", k.object)
	}
	if others := len(k.objects) - 1; others > 0 {
		args = append(args, "others", others)
	}
	return append(args, more...)
}

// forget forgets what was said of a kind: it was about a config that is gone.
func (f *failures) forget(kind string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.kinds[kind]
	f.kinds[kind] = &failing{failureKind: k.failureKind, objects: map[string]time.Time{}, pause: k.pause, warned: k.warned}
}

// failureFields are the fields of an answer that read fills in.
func failureFields() map[string]*framework.FieldSchema {
	fields := map[string]*framework.FieldSchema{"last_failure": {
		Type: framework.TypeString, Required: true,
		Description: "What failed last in the background on this node, within a day, since the plugin started: which of the fields below, and what that says or said. Empty: nothing did.",
	}}
	for _, k := range failureKinds() {
		fields[k.name+"_failure"] = &framework.FieldSchema{Type: framework.TypeString, Description: k.what + ". Left out: not so."}
	}
	return fields
}

// read is what fails now, by field, and what failed last.
func (f *failures) read() (fields map[string]any, last string) {
	f.look()
	f.mu.Lock()
	defer f.mu.Unlock()
	fields = map[string]any{}
	for _, k := range f.kinds {
		if len(k.objects) > 0 {
			fields[k.name+"_failure"] = k.String()
		}
	}
	if newest := f.latest(); newest != nil {
		last = newest.name + ": " + newest.String()
	}
	fields["last_failure"] = last
	return fields, last
}

// String tells the kind in one sentence.
func (k *failing) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "since %s", stamp(k.since))
	if k.times > 1 {
		fmt.Fprintf(&s, ", %d times, last at %s", k.times, stamp(k.last))
	}
	switch {
	case !k.over.IsZero():
		fmt.Fprintf(&s, ", over since %s", stamp(k.over))
	default:
		s.WriteString(", next try " + nextTry(k.next))
	}
	s.WriteString(": ")
	if k.object != "" {
		s.WriteString(k.object)
		if others := len(k.objects) - 1; others > 0 {
			fmt.Fprintf(&s, " and %d more", others)
		}
		s.WriteString(": ")
	}
	s.WriteString(k.reason)
	return s.String()
}

// nameless is what of a failure names nobody: the action, and the service's code.
func nameless(err error) string {
	if refused, ok := errors.AsType[*openapi.Error](err); ok {
		return refused.Action + ": " + cmp.Or(refused.Code, "HTTP "+strconv.Itoa(refused.Status))
	}
	if silent, ok := errors.AsType[*openapi.NetworkError](err); ok {
		return silent.Action + ": no answer"
	}
	return "see config/caller-identity"
}

// failingNow is a kind that fails, without the names of what does.
type failingNow struct {
	objects, times int
	since          time.Time
	code           string
}

// now is what fails at the moment, by kind.
func (f *failures) now() map[string]failingNow {
	f.look()
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]failingNow{}
	for name, k := range f.kinds {
		if len(k.objects) > 0 {
			out[name] = failingNow{len(k.objects), k.times, k.since, k.code}
		}
	}
	return out
}

// latest is the kind that failed last, in failureMemory; nil: none did. f.mu is held.
func (f *failures) latest() (newest *failing) {
	for _, k := range f.kinds {
		if k.times > 0 && time.Since(k.last) < failureMemory && (newest == nil || newest.last.Before(k.last)) {
			newest = k
		}
	}
	return newest
}

// lastNameless is what failed last, when and with which code; "" where nothing did.
func (f *failures) lastNameless() (kind string, at time.Time, code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.latest()
	if k == nil {
		return "", at, ""
	}
	return k.name, k.last, k.code
}

func nextTry(next time.Time) string {
	if next.IsZero() {
		return "when it is next needed"
	}
	return stamp(next)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// shortened bounds a text that something outside may have had a part in.
func shortened(text string) string {
	if len(text) <= longestReason {
		return text
	}
	return strings.ToValidUTF8(text[:longestReason], "") + " ..."
}
