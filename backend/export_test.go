package backend

import (
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// What package backend_test is handed: how an engine is made, and what errors
// become before somebody reads them.

type Options = options

var (
	New = newBackend

	Answer          = answer
	Explained       = explained
	RotationFailure = rotationFailure
	Refuse          = refuse
	Fixes           = fixes
)

// Paths are those that an engine serves.
func Paths(b logical.Backend) []*framework.Path { return b.(*backend).Paths }

// Rest waits for the rounds that a tick has begun.
func Rest(b logical.Backend) {
	b.(*backend).queue.Wait()
	b.(*backend).endings.rounds.Wait()
}
