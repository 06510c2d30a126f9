package backend

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/sdk/logical"
)

// load reads the JSON value under key. It returns nil where there is none.
func load[T any](ctx context.Context, s logical.Storage, key string) (*T, error) {
	entry, err := s.Get(ctx, key)
	if err != nil {
		return nil, err // bare: Vault knows the errors of storage by their words
	}
	if entry == nil {
		return nil, nil
	}
	value := new(T)
	if err := entry.DecodeJSON(value); err != nil {
		// The decoder's own text may quote the value.
		return nil, fmt.Errorf("the value stored under %q is not of the expected form", key)
	}
	return value, nil
}

// save writes value as JSON under key.
func save[T any](ctx context.Context, s logical.Storage, key string, value *T) error {
	entry, err := logical.StorageEntryJSON(key, value)
	if err != nil {
		return fmt.Errorf("encoding %q: %w", key, err)
	}
	return s.Put(ctx, entry)
}
