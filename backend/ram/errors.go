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
	var refused *openapi.Error
	return errors.As(err, &refused) && (refused.Code == NoPermission || strings.HasPrefix(refused.Code, NoPermission+"."))
}

// VisibleWithin is how long RAM may take to show everywhere what was created.
// Alibaba Cloud says "a while"; tools in the field retry for seconds.
const VisibleWithin = 30 * time.Second

// HasCode tells whether err is the service's refusal with exactly that code.
func HasCode(err error, code string) bool {
	var refused *openapi.Error
	return errors.As(err, &refused) && refused.Code == code
}

// NotExist tells whether err says that the thing a call is about does not exist.
func NotExist(err error) bool {
	var refused *openapi.Error
	return errors.As(err, &refused) && refused.NotExist()
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
func deleteConflict(err error) bool {
	var refused *openapi.Error
	return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "DeleteConflict.")
}

// policiesInTheWay tells whether the refusal is about a policy and its holders.
func policiesInTheWay(err error) bool {
	var refused *openapi.Error
	return errors.As(err, &refused) && strings.Contains(refused.Code, "Policy")
}

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
