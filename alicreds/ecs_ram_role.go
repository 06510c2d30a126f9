package alicreds

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

const (
	typeECSRAMRole = "ecs_ram_role"

	securityCredentials = "/latest/meta-data/ram/security-credentials/"
)

// ECSRAMRoleOptions of an ECSRAMRole. The zero value asks for the instance's
// role, whatever it is.
type ECSRAMRoleOptions struct {
	RoleName string // "" means the one the metadata service names

	// DisableIMDSv1 asks with a session token or not at all. With a Metadata
	// of your own, say so there.
	DisableIMDSv1 bool

	Metadata *Metadata // nil means one of the provider's own
}

// ECSRAMRole asks the ECS metadata service for the session of the RAM role
// attached to the instance. It is the type ecs_ram_role.
//
// Where no connection to a metadata service comes about, or no role is
// attached, or the service is switched off, it is not set up; the first takes a
// second (ConnectTimeout) to find out. A service that took a connection or
// answered before is there: what it then does not answer is a failure. It is
// repeated, and takes 6 s (six times the longer timeout) at most with everything
// else that Retrieve asks.
type ECSRAMRole struct {
	role     string
	metadata *Metadata
}

// NewECSRAMRole checks the options and asks nothing.
func NewECSRAMRole(o ECSRAMRoleOptions) (ECSRAMRole, error) {
	if o.RoleName != "" && !roleName(o.RoleName) {
		return ECSRAMRole{}, failed(typeECSRAMRole, "the role name must have 1 to 64 letters, digits or characters of . @ - _")
	}
	if o.Metadata != nil && o.DisableIMDSv1 && !o.Metadata.onlyV2 {
		return ECSRAMRole{}, failed(typeECSRAMRole, "IMDSv1 is to be disabled in the Metadata, too")
	}
	if o.Metadata == nil {
		metadata, err := NewMetadata(MetadataOptions{DisableIMDSv1: o.DisableIMDSv1})
		if err != nil {
			return ECSRAMRole{}, &Error{Source: typeECSRAMRole, Err: err}
		}
		o.Metadata = metadata
	}
	return ECSRAMRole{role: o.RoleName, metadata: o.Metadata}, nil
}

// Retrieve returns the session that the metadata service currently has.
func (p ECSRAMRole) Retrieve(ctx context.Context) (Credentials, error) {
	if p.metadata == nil {
		return Credentials{}, failed(typeECSRAMRole, "%w: it has no metadata client", ErrUnavailable)
	}
	patient, cancel := context.WithTimeout(ctx, p.metadata.patience)
	defer cancel()
	c, err := p.session(patient)
	if err != nil {
		return Credentials{}, p.explain(ctx, err)
	}
	return c, nil
}

func (p ECSRAMRole) session(ctx context.Context) (Credentials, error) {
	role, kept := p.role, false
	if role == "" {
		var err error
		if role, kept, err = p.metadata.roleName(ctx); err != nil {
			if isNotFound(err) && !errors.Is(err, errSessionToken) {
				err = fmt.Errorf("%w: no RAM role is attached to the instance, or this is not ECS: %w", ErrUnavailable, err)
			}
			return Credentials{}, err
		}
	}
	body, err := p.metadata.get(ctx, securityCredentials+role)
	if err != nil {
		p.metadata.forgetRole()
		switch {
		case isNotFound(err) && kept: // the instance has another role now
			return p.session(ctx)
		case isNotFound(err):
			err = fmt.Errorf("the instance has no RAM role of the name %s: %w", role, err)
		}
		return Credentials{}, err
	}
	c, err := readCoded(body, true)
	if err != nil {
		return Credentials{}, fmt.Errorf("%s: %w", metadataAction, err)
	}
	c.Source = typeECSRAMRole
	return c, nil
}

func isNotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// explain tells "not on ECS" from failures.
func (p ECSRAMRole) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, errMetadataOff):
		return failed(typeECSRAMRole, "%w: %w", ErrUnavailable, err)
	case p.metadata.absent(err):
		return failed(typeECSRAMRole, "%w: no metadata service answers, this is not an ECS instance: %w", ErrUnavailable, err)
	}
	return &Error{Source: typeECSRAMRole, Err: err}
}

// readCoded reads temporary keys that come with a Code, as the metadata
// service and credentials URIs send them. Code must be Success; credentials
// URIs may leave out that and the Expiration.
func readCoded(body []byte, required bool) (Credentials, error) {
	var reply *struct {
		Code *string
		temporaryKeys
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return Credentials{}, fmt.Errorf("a field of the reply has the wrong type")
		}
		return Credentials{}, fmt.Errorf("the reply is not a JSON object")
	}
	switch {
	case reply == nil:
		return Credentials{}, fmt.Errorf("the reply is not a JSON object")
	case reply.Code == nil && required:
		return Credentials{}, fmt.Errorf("the reply has no Code")
	case reply.Code != nil && *reply.Code != "Success":
		return Credentials{}, fmt.Errorf("the reply's Code is %s", cmp.Or(codeWord(*reply.Code), "not Success"))
	}
	if !required {
		return reply.temporaryKeys.unlimited()
	}
	return reply.temporaryKeys.credentials()
}
