package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// secretType is the type of all leases, the built-in engine's.
const secretType = "alicloud"

// Values of role_type in lease data, the built-in engine's.
const (
	leaseRAM     = "ram"
	leaseSTS     = "sts"
	leaseRAMRole = "ram_role" // ours: that engine cannot delete a RAM role, and says so
)

func (b *backend) secret() *framework.Secret {
	return &framework.Secret{
		Type: secretType,
		Fields: map[string]*framework.FieldSchema{
			"access_key":     {Type: framework.TypeString, Description: "AccessKey ID."},
			"secret_key":     {Type: framework.TypeString, Description: "AccessKey secret."},
			"security_token": {Type: framework.TypeString, Description: "Sessions: the token to send with every call."},
			"password":       {Type: framework.TypeString, Description: "console_login: the password to sign in to the console with."},
		},
		Renew:  b.renew,
		Revoke: b.revoke,
	}
}

// lease is the internal data of a lease, after its way through JSON.
type lease struct {
	RoleType string `json:"role_type"`
	RoleName string `json:"role_name"`
	issued
}

func readLease(req *logical.Request) (lease, error) {
	var l lease
	if req.Secret == nil {
		return l, fmt.Errorf("the request carries no lease")
	}
	if err := recode(req.Secret.InternalData, &l); err != nil {
		return l, fmt.Errorf("the lease data: %w", err)
	}
	if l.RoleType != leaseRAM && l.RoleType != leaseSTS && l.RoleType != leaseRAMRole {
		return l, fmt.Errorf("role_type %q of the lease is unknown", l.RoleType)
	}
	return l, nil
}

// leaseOf answers credentials that cannot be revoked, with a lease that ends
// when they do or when it was asked to, whichever comes first.
func (b *backend) leaseOf(c credsRequest, creds alicreds.Credentials, ttl time.Duration) (*logical.Response, error) {
	data := map[string]interface{}{"credential_type": c.role.roleType.name}
	for field, value := range map[string]string{
		"access_key": creds.AccessKeyID, "secret_key": creds.AccessKeySecret, "security_token": creds.SecurityToken,
		"bearer_token": creds.BearerToken, "arn": creds.RoleARN,
	} {
		if value != "" {
			data[field] = value
		}
	}
	if !creds.Expiration.IsZero() {
		data["expiration"] = creds.Expiration.UTC().Format(time.RFC3339)
		left := time.Until(creds.Expiration)
		switch {
		case left <= 0:
			return nil, errors.New("the credentials have expired already: check the clock of the Vault server")
		case ttl == 0:
			ttl = min(left, c.maxTTL)
		default:
			ttl = min(ttl, left)
		}
	}
	if c.role.NoLease {
		return &logical.Response{Data: data}, nil
	}
	resp := b.Secret(secretType).Response(data, map[string]interface{}{"role_type": leaseSTS})
	resp.Secret.TTL, resp.Secret.MaxTTL, resp.Secret.Renewable = ttl, ttl, false
	return resp, nil
}

// leaseData is what a lease carries, as it comes back from Vault.
func (u issued) leaseData(roleType, roleName string) (map[string]interface{}, error) {
	data := map[string]interface{}{}
	err := recode(u, &data)
	data["secret_type"] = secretType
	data["role_type"] = roleType
	data["role_name"] = roleName
	return data, err
}

// renew extends the lease of a RAM user by what the role says now. Its refusals
// are errors: of a response Vault would print all fields.
func (b *backend) renew(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	if b.readOnlyNode() {
		return nil, logical.ErrReadOnly
	}
	l, err := readLease(req)
	if err != nil {
		return nil, err
	}
	if l.RoleType != leaseRAM {
		return nil, errors.New("a session cannot be renewed: read creds/ again for a new one")
	}
	if err := b.accounted(ctx, req.Storage, &l); err != nil {
		return nil, err
	}
	r, err := loadRole(ctx, req.Storage, l.RoleName)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("role %s has been deleted so no further renewals are allowed", l.RoleName)
	}
	cloud, err := b.cloud(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	switch gone, err := b.userGone(ctx, cloud, l); {
	case gone:
		return nil, fmt.Errorf("the RAM user %s of this lease no longer exists: read creds/ again for a new one", l.UserName)
	case err != nil: // the renewal needs nothing of RAM, and must outlive its outages
		b.failures.failed(failedLeaseCheck, l.UserName, err, time.Time{})
	default:
		b.failures.succeeded(failedLeaseCheck, l.UserName)
	}
	longest := b.System().MaxLeaseTTL()
	if longest <= 0 {
		return nil, errNoMaximum
	}
	if r.MaxTTL > 0 {
		longest = min(longest, r.MaxTTL)
	}
	asked := req.Secret.Increment // by the client, which Vault heeds up to the maximum
	resp := &logical.Response{Secret: req.Secret}
	resp.Secret.TTL, resp.Secret.MaxTTL = r.TTL, r.MaxTTL
	if r.TTL == 0 {
		resp.Secret.TTL = min(b.System().DefaultLeaseTTL(), longest)
	}
	now, ttl := time.Now(), max(asked, resp.Secret.TTL)
	if resp.Secret.TTL <= 0 { // Vault has a default that is not known here
		ttl = longest
	}
	if err := b.prolong(ctx, req.Storage, l.issued, now.Add(min(ttl, longest)), now.Add(longest)); err != nil {
		return nil, err
	}
	b.counters.leaseRenewed()
	return resp, nil
}

// userGone asks whether the user of a lease was deleted. One that was made a moment
// ago is not to be seen everywhere yet.
func (b *backend) userGone(ctx context.Context, c *cloud, l lease) (bool, error) {
	switch {
	case c == nil:
		return false, errors.New(b.notConfigured())
	case ram.Unseen(l.CreatedAt):
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return c.as(l.accountRole).Gone(ctx, l.entity(), l.origin())
}

// revoke ends what the lease stands for: a RAM user or RAM role is deleted with
// all it has. Any other session ends by itself, because Alibaba Cloud has no way
// to end it earlier.
func (b *backend) revoke(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	if b.readOnlyNode() {
		return nil, logical.ErrReadOnly // before anything is removed
	}
	l, err := readLease(req)
	if err != nil {
		return nil, err
	}
	if l.RoleType == leaseSTS {
		b.counters.leaseRevoked(l.RoleType)
		return nil, nil
	}
	if err := b.accounted(ctx, req.Storage, &l); err != nil {
		return nil, err
	}
	cloud, err := b.cloud(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	if cloud == nil {
		return nil, errors.New(seeAlso(
			fmt.Sprintf("unable to delete access key because no credentials are configured: %s lives on until config is written", l.name()), helpPage+helpLeases))
	}
	ctx, cancel := cleaningUp(ctx)
	defer cancel()
	if err := b.remove(ctx, req.Storage, cloud, l.issued); err != nil {
		return nil, errors.New(seeAlso(fmt.Sprintf("deleting %s: %s", l.name(), advised(err)), helpPage+helpLeases))
	}
	b.counters.leaseRevoked(l.RoleType)
	return nil, nil
}
