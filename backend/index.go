package backend

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// issuedPrefix begins the index of what leases stand for, one entry for each
// RAM user and RAM role: a plugin cannot list its leases. It is local to the
// cluster, as leases are.
const issuedPrefix = "issued/"

type indexEntry struct {
	issued
	EndsBy time.Time `json:"ends_by"` // no lease lasts longer
}

func saveIssued(ctx context.Context, s logical.Storage, u issued, endsBy time.Time) error {
	return save(ctx, s, issuedPrefix+u.name(), &indexEntry{u, endsBy.UTC().Truncate(time.Second)})
}

// prolong moves the end of an entry after a renewal.
func prolong(ctx context.Context, s logical.Storage, u issued, endsBy time.Time) error {
	entry, err := load[indexEntry](ctx, s, issuedPrefix+u.name())
	if err != nil || entry == nil || !endsBy.After(entry.EndsBy) {
		return err
	}
	return saveIssued(ctx, s, entry.issued, endsBy)
}
