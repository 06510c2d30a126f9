package backend

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
)

// holders counts who uses which shared policy. The index in storage is the
// truth; this is its image, read when it is first needed.
type holders struct {
	mu     sync.Mutex
	loaded bool
	of     map[string]map[string]bool // policy to names of users and roles
	taken  map[string]string          // policy whose name somebody else has, to the one in its place
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

// heldByOthers tells whether the policy is known to have another holder than the
// one that asks, so that it need not be created.
func (h *holders) heldByOthers(policy string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.of[policy]) > 1
}

// instead is the policy in the place of one whose name is taken. Leases share it
// for as long as one of them holds it.
func (h *holders) instead(policy string, another func(string) string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := h.taken[policy]
	if len(h.of[name]) > 0 {
		return name
	}
	if h.taken == nil {
		h.taken = map[string]string{}
	}
	h.taken[policy] = another(policy)
	return h.taken[policy]
}

// drop takes back that name holds the policy: it turned out to be no policy of
// this mount.
func (h *holders) drop(name, policy string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.of[policy], name)
	if len(h.of[policy]) == 0 {
		delete(h.of, policy)
	}
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
