package backend

import (
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// Lengths of an STS session: the API's bounds, and its default, which every RAM
// role allows (a role's own maximum is 3600 seconds at least).
const (
	minSession     = 15 * time.Minute
	defaultSession = time.Hour
	maxSession     = 12 * time.Hour
)

// sessionRequest is what STS is asked for, by a config or for a reader of a role.
// It can be compared: readers share a session if their requests are equal.
type sessionRequest struct {
	role   string        // of the engine, that the session is for
	lease  time.Duration // that it is for
	source source        // of the keys or the token that it is asked with

	roleARN, name, policy, externalID, sourceIdentity string
	duration                                          time.Duration
}

// assumeRole is the request as AssumeRole takes it.
func (r sessionRequest) assumeRole() alicreds.RAMRoleARNOptions {
	return alicreds.RAMRoleARNOptions{
		RoleARN: r.roleARN, RoleSessionName: r.name, Policy: r.policy, ExternalID: r.externalID, SourceIdentity: r.sourceIdentity, Duration: r.duration,
	}
}
