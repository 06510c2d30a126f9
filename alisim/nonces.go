package alisim

import (
	"crypto/sha256"
	"sync"
	"time"
)

// A nonce is remembered for at least 15 minutes, as the cloud does. Two generations of fingerprints do that in bounded
// memory; maxNonces bounds one generation.
const (
	nonceGeneration = 15 * time.Minute
	maxNonces       = 4 << 20
)

type nonces struct {
	mu       sync.Mutex
	rotateAt time.Time
	young    map[[16]byte]struct{}
	old      map[[16]byte]struct{}
}

// use reports whether the nonce is new for the key, and remembers it.
func (n *nonces) use(now time.Time, keyID, nonce string) bool {
	sum := sha256.Sum256([]byte(keyID + "\x00" + nonce))
	mark := [16]byte(sum[:16])
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.young == nil || now.After(n.rotateAt) || len(n.young) >= maxNonces {
		n.old, n.young = n.young, map[[16]byte]struct{}{}
		n.rotateAt = now.Add(nonceGeneration)
	}
	if _, used := n.young[mark]; used {
		return false
	}
	if _, used := n.old[mark]; used {
		return false
	}
	n.young[mark] = struct{}{}
	return true
}

func (n *nonces) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.young, n.old = nil, nil
}
