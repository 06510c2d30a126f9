package ram

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// NoPermission is the code of a refusal for want of permission.
const NoPermission = "NoPermission"

// Denied tells whether err is a refusal for want of permission.
func Denied(err error) bool {
	return code(err) == NoPermission || strings.HasPrefix(code(err), NoPermission+".")
}

// code is that of the service's refusal, "" where err is none.
func code(err error) string {
	if refused, ok := errors.AsType[*openapi.Error](err); ok {
		return refused.Code
	}
	return ""
}

// VisibleWithin is how long RAM may take to show everywhere what was created.
// Alibaba Cloud says "a while"; tools in the field retry for seconds.
const VisibleWithin = 30 * time.Second

// clocksDiffer is how far the clocks of two Vault nodes may be apart: the node that
// asks need not be the one that created.
const clocksDiffer = 30 * time.Second

// Unseen tells whether what was created then may not be visible everywhere yet. A
// time that lies further ahead than that comes from a clock that was wrong, and
// says nothing: what it belongs to has been there for a while.
func Unseen(created time.Time) bool {
	return time.Since(created).Abs() < VisibleWithin+clocksDiffer
}

// HasCode tells whether err is the service's refusal with exactly that code.
func HasCode(err error, want string) bool { return code(err) == want }

// NotExist tells whether err says that the thing a call is about does not exist.
func NotExist(err error) bool {
	refused, ok := errors.AsType[*openapi.Error](err)
	return ok && refused.NotExist()
}

// gone turns EntityNotExist, of whatever entity, into success.
func gone(err error) error {
	if NotExist(err) {
		return nil
	}
	return err
}

// alreadyThere turns EntityAlreadyExists of what was to be made into success. STS
// and RAM spell the code with an s and without.
func alreadyThere(err error, entity string) error {
	if HasCode(err, "EntityAlreadyExists."+entity) || HasCode(err, "EntityAlreadyExist."+entity) {
		return nil
	}
	return err
}

// deleteConflict tells whether RAM refused to delete something for what it still
// has or is used by. The code says which of the two is meant first in some
// refusals and last in others.
func deleteConflict(err error) bool { return strings.HasPrefix(code(err), "DeleteConflict.") }

// Eventually repeats a call on what was created a moment ago for as long as the
// service, which is eventually consistent, refuses it with the code, for
// [VisibleWithin] at most.
func Eventually(ctx context.Context, code string, call func() error) error {
	wait := 100 * time.Millisecond
	for deadline := time.Now().Add(VisibleWithin); ; wait = min(2*wait, 2*time.Second) {
		err := call()
		if !HasCode(err, code) || time.Now().After(deadline) || Pause(ctx, wait) != nil {
			return err
		}
	}
}

// Pause waits, or returns why the context ended.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
