package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// walIssue marks the WAL entries of RAM users and roles. An entry is written
// before the first call that creates something, holds all names that will be used, and is
// deleted when the lease is about to be handed to Vault.
const walIssue = "issue"

func putWAL(ctx context.Context, s logical.Storage, u issued) (string, error) {
	id, err := framework.PutWAL(ctx, s, walIssue, u)
	if err == logical.ErrReadOnly {
		return "", err // bare: a standby forwards the request when it sees it
	}
	if err != nil {
		return "", fmt.Errorf("writing the WAL entry: %w", err)
	}
	return id, nil
}

// rollbackFor is for how long Vault offers an entry again. It does so every minute,
// and logs an error each time.
const rollbackFor = 24 * time.Hour

// rollback cleans up after an issue that did not end. An error keeps the entry, and
// Vault offers it again. After rollbackFor it becomes an entry of the index, whose
// lease is over: that is tried again as well, but less often and with less noise.
func (b *backend) rollback(ctx context.Context, req *logical.Request, kind string, data interface{}) error {
	if b.readOnlyNode() {
		return logical.ErrReadOnly // not nil: that would delete the entry
	}
	next := time.Now().Add(vaultTick)
	u, err := readWAL(kind, data)
	if err == nil {
		next, err = b.stalls.attempt(ctx, u.accountRole, func(ctx context.Context) error { return b.removeUnfinished(ctx, req.Storage, u) })
	}
	if err != nil && u.name() != "" && time.Since(u.CreatedAt) > rollbackFor {
		if kept := b.leaveToIndex(ctx, req.Storage, u); kept == nil {
			b.failures.succeeded(failedRollback, u.name())
			b.Logger().Warn("an unfinished issue could not be rolled back for a day: it is removed with the leases that are over", "name", u.name(), "error", oneLine(err))
			return nil
		}
	}
	if err != nil {
		b.failures.failed(failedRollback, u.name(), err, next)
		return err
	}
	b.failures.succeeded(failedRollback, u.name())
	b.Logger().Info("rolled back an unfinished issue", "name", u.name())
	return nil
}

// leaveToIndex ends the lease that u was made for. An entry that is there knows more
// than the WAL: RAM's id of the user, and devices that are bound to nobody.
func (b *backend) leaveToIndex(ctx context.Context, s logical.Storage, u issued) error {
	entry, err := b.indexed(ctx, s, u)
	if err != nil {
		return err
	}
	entry.EndsBy, entry.LeaseEnds = time.Now(), time.Now()
	return b.saveIssued(ctx, s, entry)
}

func readWAL(kind string, data interface{}) (u issued, err error) {
	if kind != walIssue {
		return u, fmt.Errorf("the WAL entry is of an unknown kind %q", kind)
	}
	if err := recode(data, &u); err != nil {
		return issued{}, fmt.Errorf("the WAL entry: %w", err)
	}
	return u, nil
}

func (b *backend) removeUnfinished(ctx context.Context, s logical.Storage, u issued) error {
	ctx, cancel := cleaningUp(ctx)
	defer cancel()
	cloud, err := b.cloud(ctx, s)
	if err != nil {
		return err
	}
	if cloud == nil {
		return fmt.Errorf("%s may be left behind: %s", u.name(), b.notConfigured())
	}
	return b.remove(ctx, s, cloud, u)
}

// recode reads what JSON has been through, such as a WAL entry or lease data,
// into to. Its error does not quote a value, as one of package json may.
func recode(from, to any) error {
	raw, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(raw, to)
	}
	if err != nil {
		return errors.New("not of the expected form")
	}
	return nil
}
