package backend

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
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

// remove cleans up in the cloud, then takes the user or role out of the index
// and its shared policies away where it was the last to hold them. It may be
// called any number of times.
func (b *backend) remove(ctx context.Context, s logical.Storage, c *cloud, u issued) error {
	if err := c.Remove(ctx, u.made()); err != nil {
		return err
	}
	if policies := b.holders.heldBy(u.name()); len(policies) > 0 || len(u.SharedPolicies) > 0 {
		for _, p := range policies { // what tidy removes is known by name only
			if !slices.Contains(u.SharedPolicies, p) {
				u.SharedPolicies = append(u.SharedPolicies, p)
			}
		}
		unused, err := b.holders.release(ctx, s, u)
		if err != nil {
			return err
		}
		var w ram.Wave
		for _, name := range unused {
			w.Add(func() error {
				stays, err := c.RemoveUnused(ctx, name, u.origin())
				if stays {
					b.Logger().Info("a policy of this mount is attached to something that is not of this mount, and stays", "policy", name)
				}
				return err
			})
		}
		if err := w.Run(); err != nil {
			b.holders.add(u.name(), u.SharedPolicies)
			return err
		}
	}
	return s.Delete(ctx, issuedPrefix+u.name())
}

// tagKey keeps what tells this mount in this cluster apart from every other: a
// replicated mount has the same id in several clusters, and each has leases and
// an index of its own. It is local to the cluster.
const tagKey = "tag"

// tag is kept as it was first made: "vault ", the id of the mount, and a random part.
func (b *backend) tag(ctx context.Context, s logical.Storage) (string, error) {
	b.mu.RLock()
	tag := b.ownTag
	b.mu.RUnlock()
	if tag != "" {
		return tag, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	stored, err := load[string](ctx, s, tagKey)
	if err != nil {
		return "", err
	}
	if stored == nil {
		made := "vault " + b.uuid + " " + strings.ToLower(rand.Text()[:8])
		if err := save(ctx, s, tagKey, &made); err != nil {
			return "", err
		}
		stored = &made
	}
	b.ownTag = *stored
	return b.ownTag, nil
}

// holders counts who uses which shared policy. The index in storage is the
// truth; this is its image, read when it is first needed.
type holders struct {
	mu     sync.Mutex
	loaded bool
	of     map[string]map[string]bool // policy to names of users and roles
}

// add counts name as a holder of the policies.
func (h *holders) add(name string, policies []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.put(name, policies)
}

func (h *holders) put(name string, policies []string) {
	for _, p := range policies {
		if h.of == nil {
			h.of = map[string]map[string]bool{}
		}
		if h.of[p] == nil {
			h.of[p] = map[string]bool{}
		}
		h.of[p][name] = true
	}
}

// others tells whether the policy is known to have another holder than the one
// that asks, so that it need not be created.
func (h *holders) others(policy string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.of[policy]) > 1
}

// heldBy returns the policies that name is known to hold.
func (h *holders) heldBy(name string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var held []string
	for p, by := range h.of {
		if by[name] {
			held = append(held, p)
		}
	}
	return held
}

// release takes the holder away, and returns the policies that nobody holds
// any longer.
func (h *holders) release(ctx context.Context, s logical.Storage, u issued) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.loaded {
		if err := h.load(ctx, s); err != nil {
			return nil, err
		}
	}
	var unused []string
	for _, p := range u.SharedPolicies {
		delete(h.of[p], u.name())
		if len(h.of[p]) == 0 {
			delete(h.of, p)
			unused = append(unused, p)
		}
	}
	return unused, nil
}

// load reads the index. Issues that a process before this one left unfinished
// are not in it; where they have attached a policy, RAM refuses to delete it.
func (h *holders) load(ctx context.Context, s logical.Storage) error {
	names, err := s.List(ctx, issuedPrefix)
	if err != nil {
		return fmt.Errorf("listing what was issued: %w", err)
	}
	for _, name := range names {
		entry, err := load[indexEntry](ctx, s, issuedPrefix+strings.TrimSuffix(name, "/"))
		if err != nil {
			return err
		}
		if entry != nil {
			h.put(name, entry.SharedPolicies)
		}
	}
	h.loaded = true
	return nil
}
