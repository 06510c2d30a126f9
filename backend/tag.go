package backend

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// Both are local to the cluster: a replicated mount has the same id in several
// clusters, and each has leases and an index of its own.
const (
	// tagKey keeps what tells this mount in this cluster apart from every other:
	// "vault ", the id of the mount, and a random part, as it was first made. Anybody
	// who may list users can read it.
	tagKey = "tag"

	// markSecretKey keeps what nobody can read: the key of the proofs in marks.
	markSecretKey = "mark_secret"
)

const (
	markSecretLength = 32 // bytes
	proofLength      = 20 // bytes of the HMAC, 32 characters

	maxMark = 128 // characters of a user's comments, from RAM's reference
)

// marks are what this mount writes on what it creates: its tag, and a proof that
// it made just this, which nobody can copy to anything else.
type marks struct {
	tag    string
	secret []byte
}

// of is the mark of an entity or policy in an account. note follows it, as far as
// there is room.
func (m marks) of(e ram.Entity, account, note string) string {
	mark := strings.TrimSpace(m.tag + " " + m.proof(e, account) + " " + note)
	return mark[:min(len(mark), maxMark)]
}

// prove tells whether this mount has made the entity or policy of this comment in
// the account. A mark of versions before proofs proves nothing.
func (m marks) prove(comment string, e ram.Entity, account string) bool {
	rest, found := strings.CutPrefix(comment, m.tag+" ")
	proof, _, _ := strings.Cut(rest, " ")
	return found && hmac.Equal([]byte(proof), []byte(m.proof(e, account)))
}

func (m marks) proof(e ram.Entity, account string) string {
	mac := hmac.New(sha256.New, m.secret)
	mac.Write([]byte(strings.Join([]string{string(e.Kind), account, e.Name}, "\n"))) // none of them has a line break
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:proofLength]))
}

// marks are made once for the mount in this cluster.
func (b *backend) marks(ctx context.Context, s logical.Storage) (marks, error) {
	b.mu.RLock()
	own := b.ownMarks
	b.mu.RUnlock()
	if own.tag != "" {
		return own, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	tag, err := kept(ctx, s, tagKey, func() string { return "vault " + b.uuid + " " + strings.ToLower(rand.Text()[:8]) })
	if err != nil {
		return marks{}, err
	}
	secret, err := kept(ctx, s, markSecretKey, func() []byte {
		secret := make([]byte, markSecretLength)
		_, _ = rand.Read(secret) // never fails
		return secret
	})
	if err != nil {
		return marks{}, err
	}
	b.ownMarks = marks{tag, secret}
	return b.ownMarks, nil
}

// kept is what is stored under a key, made when it is first needed.
func kept[T any](ctx context.Context, s logical.Storage, key string, first func() T) (T, error) {
	stored, err := load[T](ctx, s, key)
	if err == nil && stored == nil {
		made := first()
		stored, err = &made, save(ctx, s, key, &made)
	}
	if err != nil {
		return *new(T), err
	}
	return *stored, nil
}
