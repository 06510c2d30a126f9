package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

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

// rollback cleans up after an issue that did not end. An error keeps the entry:
// Vault offers it again every minute, for as long as it takes, because an entry
// given up would be a RAM user forgotten.
func (b *backend) rollback(ctx context.Context, req *logical.Request, kind string, data interface{}) error {
	if b.readOnlyNode() {
		return logical.ErrReadOnly // not nil: that would delete the entry
	}
	if kind != walIssue {
		return fmt.Errorf("the WAL entry is of an unknown kind %q", kind)
	}
	var u issued
	if err := recode(data, &u); err != nil {
		return fmt.Errorf("the WAL entry: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cleanUpTimeout)
	defer cancel()
	cloud, err := b.cloud(ctx, req.Storage)
	if err != nil {
		return err
	}
	if cloud == nil {
		return fmt.Errorf("%s may be left behind: %s", u.name(), notConfigured)
	}
	if err := b.remove(ctx, req.Storage, cloud, u); err != nil {
		b.Logger().Error("rollback of an unfinished issue failed and will be repeated", "name", u.name(), "error", err)
		return err
	}
	b.Logger().Info("rolled back an unfinished issue", "name", u.name())
	return nil
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
