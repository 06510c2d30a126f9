package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// cloud is STS and RAM as the configured principal. It is safe for concurrent
// use, made once per configuration, and keeps its connections and keys.
type cloud struct {
	api *openapi.Client
	own alicreds.Provider // the mount's own credentials, cached
	sts alicreds.STSOptions

	ram, resourceManager service

	usernameTemplate, sessionTemplate, policyNameTemplate string // defaults of roles

	identity atomic.Pointer[identity] // asked for once
	sessions sessions                 // kept for reuse_ttl; they end with the config
}

// newCloud checks what validate leaves to alicreds and openapi. It calls nothing.
func newCloud(c *config, system logical.SystemView) (*cloud, error) {
	return newCloudOver(nil, nil, c, system)
}

// newCloudOver is newCloud with an HTTP client that is not made from c, and a
// metadata service that others use too; either may be nil.
func newCloudOver(client *http.Client, metadata *alicreds.Metadata, c *config, system logical.SystemView) (*cloud, error) {
	retries := 0 // openapi's default, 3
	if c.MaxRetries != nil {
		if retries = *c.MaxRetries; retries == 0 {
			retries = -1
		}
	}
	api, err := openapi.New(openapi.Options{
		HTTP:           client,
		CACertificate:  []byte(c.CACertificate),
		ConnectTimeout: c.ConnectTimeout,
		Timeout:        c.Timeout,
		MaxRetries:     retries,
		UserAgent:      "vault-plugin-secrets-alicloud/" + version,
	})
	if err != nil {
		return nil, fmt.Errorf("ca_certificate: %w", err) // the only option that New refuses
	}
	sts := alicreds.STSOptions{
		Endpoint:          c.STSEndpoint,
		FallbackEndpoints: c.STSFallbackEndpoints,
		Region:            c.Region,
		VPC:               c.Network == networkVPC,
		Client:            api,
	}
	own, err := c.provider(c.credentialType(), sessionOptions{
		RoleARN: c.RoleARN, RoleSessionName: c.RoleSessionName, Policy: c.Policy, ExternalID: c.ExternalID, Duration: c.RoleSessionExpiration,
		Metadata: metadata,
	}, sts, system)
	if err != nil {
		return nil, err
	}
	return &cloud{
		api: api, own: alicreds.NewCache(own, alicreds.CacheOptions{}), sts: sts,
		ram:              service{cmp.Or(c.RAMEndpoint, c.host("ram")), ramVersion},
		resourceManager:  service{cmp.Or(c.ResourceManagerEndpoint, c.host("resourcemanager")), resourceManagerVersion},
		usernameTemplate: c.UsernameTemplate, sessionTemplate: c.RoleSessionNameTemplate, policyNameTemplate: c.PolicyNameTemplate,
	}, nil
}

func (c *cloud) close() { c.api.CloseIdleConnections() }

type identity struct {
	alicreds.Identity
	source string
}

func (c *cloud) callerIdentity(ctx context.Context) (identity, error) {
	own, err := c.own.Retrieve(ctx)
	if err != nil {
		return identity{}, err
	}
	id, err := alicreds.CallerIdentity(ctx, own.Keys(), c.sts)
	return identity{id, sourcePath(own.Source)}, err
}

// principal is who the mount is to a trust policy: the user, or the role whose
// session it works with.
func (i identity) principal() string {
	role, found := strings.CutPrefix(i.ARN, "acs:ram::"+i.AccountID+":assumed-role/")
	if !found {
		return i.ARN
	}
	role, _, _ = strings.Cut(role, "/")
	return "acs:ram::" + i.AccountID + ":role/" + role
}

// call sends a RAM call. repeatable says that executing it twice does no harm.
func (c *cloud) call(ctx context.Context, repeatable bool, action string, params map[string]string, out any) error {
	return c.send(ctx, c.ram, repeatable, action, params, out)
}

func (c *cloud) send(ctx context.Context, to service, repeatable bool, action string, params map[string]string, out any) error {
	own, err := c.own.Retrieve(ctx)
	if err != nil {
		return err
	}
	return c.api.Do(ctx, to.request(repeatable, action, params, own.Keys()), out)
}

// createUser creates a user under a random name of ours, so a user of that name
// that already exists is what an earlier attempt of this call left.
func (c *cloud) createUser(ctx context.Context, name, comments string) error {
	err := c.call(ctx, true, "CreateUser", map[string]string{"UserName": name, "Comments": comments}, nil)
	return unless(err, "EntityAlreadyExists.User")
}

// createPolicy is to createUser as policies are to users.
func (c *cloud) createPolicy(ctx context.Context, name, document, description string) error {
	err := c.call(ctx, true, "CreatePolicy", map[string]string{
		"PolicyName": name, "PolicyDocument": document, "Description": description,
	}, nil)
	return unless(err, "EntityAlreadyExists.Policy")
}

type accessKey struct {
	AccessKeyID     string `json:"AccessKeyId"`
	AccessKeySecret string
}

// createAccessKey is never repeated after an ambiguous failure: RAM tells the
// secret once, and would keep a key that nobody knows.
func (c *cloud) createAccessKey(ctx context.Context, user string) (accessKey, error) {
	var out struct{ AccessKey accessKey }
	if err := c.call(ctx, false, "CreateAccessKey", map[string]string{"UserName": user}, &out); err != nil {
		return accessKey{}, err
	}
	if out.AccessKey.AccessKeyID == "" || out.AccessKey.AccessKeySecret == "" {
		return accessKey{}, errors.New("CreateAccessKey: the answer lacks the AccessKeyId or the AccessKeySecret")
	}
	return out.AccessKey, nil
}

// createRole is to createUser as roles are to users.
func (c *cloud) createRole(ctx context.Context, name, trust, description string, longest time.Duration) error {
	err := c.call(ctx, true, "CreateRole", map[string]string{
		"RoleName": name, "AssumeRolePolicyDocument": trust, "Description": description,
		"MaxSessionDuration": strconv.Itoa(int(longest / time.Second)),
	}, nil)
	return unless(err, "EntityAlreadyExists.Role")
}

// attach attaches the policy to the user or role.
func (c *cloud) attach(ctx context.Context, u issued, p remotePolicy) error {
	action, kind, params := "AttachPolicyToUser", "User", map[string]string{"UserName": u.UserName}
	if u.RAMRole != "" {
		action, kind, params = "AttachPolicyToRole", "Role", map[string]string{"RoleName": u.RAMRole}
	}
	params["PolicyName"], params["PolicyType"] = p.Name, p.Type
	return unless(c.call(ctx, true, action, params, nil), "EntityAlreadyExists."+kind+".Policy")
}

func (c *cloud) addToGroup(ctx context.Context, user, group string) error {
	err := c.call(ctx, true, "AddUserToGroup", map[string]string{"UserName": user, "GroupName": group}, nil)
	return unless(err, "EntityAlreadyExists.User.Group")
}

// exists asks for the user or role.
func (c *cloud) exists(ctx context.Context, u issued) error {
	if u.RAMRole != "" {
		return c.call(ctx, true, "GetRole", map[string]string{"RoleName": u.RAMRole}, nil)
	}
	return c.call(ctx, true, "GetUser", map[string]string{"UserName": u.UserName}, nil)
}

// The removals below succeed when what they remove is already gone.

func (c *cloud) deleteAccessKey(ctx context.Context, user, id string) error {
	params := map[string]string{"UserName": user, "UserAccessKeyId": id}
	err := gone(c.call(ctx, true, "DeleteAccessKey", params, nil))
	var refused *openapi.Error
	if !errors.As(err, &refused) || refused.Temporary() || refused.Code == noPermission {
		return err
	}
	// The console deletes disabled keys only; whether the API ever insists is
	// not documented. Disabling first costs a call only where it does.
	off := map[string]string{"UserName": user, "UserAccessKeyId": id, "Status": "Inactive"}
	if c.call(ctx, true, "UpdateAccessKey", off, nil) != nil {
		return err
	}
	return gone(c.call(ctx, true, "DeleteAccessKey", params, nil))
}

func (c *cloud) detachPolicy(ctx context.Context, user string, p remotePolicy) error {
	return gone(c.call(ctx, true, "DetachPolicyFromUser", map[string]string{
		"UserName": user, "PolicyName": p.Name, "PolicyType": p.Type,
	}, nil))
}

func (c *cloud) detachFromRole(ctx context.Context, role string, p remotePolicy) error {
	return gone(c.call(ctx, true, "DetachPolicyFromRole", map[string]string{
		"RoleName": role, "PolicyName": p.Name, "PolicyType": p.Type,
	}, nil))
}

func (c *cloud) removeFromGroup(ctx context.Context, user, group string) error {
	return gone(c.call(ctx, true, "RemoveUserFromGroup", map[string]string{"UserName": user, "GroupName": group}, nil))
}

func (c *cloud) deleteLoginProfile(ctx context.Context, user string) error {
	return gone(c.call(ctx, true, "DeleteLoginProfile", map[string]string{"UserName": user}, nil))
}

func (c *cloud) unbindMFADevice(ctx context.Context, user string) error {
	return gone(c.call(ctx, true, "UnbindMFADevice", map[string]string{"UserName": user}, nil))
}

// deleteUser, deleteRole and deletePolicy do tell that there is none, because right after
// the creation that is not yet to be believed.

func (c *cloud) deleteUser(ctx context.Context, user string) error {
	return c.call(ctx, true, "DeleteUser", map[string]string{"UserName": user}, nil)
}

func (c *cloud) deleteRole(ctx context.Context, role string) error {
	return c.call(ctx, true, "DeleteRole", map[string]string{"RoleName": role}, nil)
}

func (c *cloud) deletePolicy(ctx context.Context, name string) error {
	return c.call(ctx, true, "DeletePolicy", map[string]string{"PolicyName": name, "CascadingDelete": "true"}, nil)
}

// deleteSharedPolicy leaves it to RAM to refuse while anything has the policy.
// Only versions that somebody added go with it.
func (c *cloud) deleteSharedPolicy(ctx context.Context, name string) error {
	err := c.call(ctx, true, "DeletePolicy", map[string]string{"PolicyName": name}, nil)
	if hasCode(err, "DeleteConflict.Policy.Version") {
		err = c.deletePolicy(ctx, name)
	}
	return err
}

// What a user holds. A user that does not exist holds nothing.

func (c *cloud) accessKeysOf(ctx context.Context, user string) ([]string, error) {
	var out struct {
		AccessKeys struct{ AccessKey []accessKey }
	}
	err := gone(c.call(ctx, true, "ListAccessKeys", map[string]string{"UserName": user}, &out))
	var ids []string
	for _, k := range out.AccessKeys.AccessKey {
		ids = append(ids, k.AccessKeyID)
	}
	return ids, err
}

func (c *cloud) policiesOf(ctx context.Context, user string) ([]remotePolicy, error) {
	return c.attached(ctx, "ListPoliciesForUser", map[string]string{"UserName": user})
}

func (c *cloud) policiesOfRole(ctx context.Context, role string) ([]remotePolicy, error) {
	return c.attached(ctx, "ListPoliciesForRole", map[string]string{"RoleName": role})
}

func (c *cloud) attached(ctx context.Context, action string, params map[string]string) ([]remotePolicy, error) {
	var out struct {
		Policies struct {
			Policy []struct{ PolicyName, PolicyType string }
		}
	}
	err := gone(c.call(ctx, true, action, params, &out))
	var policies []remotePolicy
	for _, p := range out.Policies.Policy {
		policies = append(policies, remotePolicy{Name: p.PolicyName, Type: p.PolicyType})
	}
	return policies, err
}

func (c *cloud) groupsOf(ctx context.Context, user string) ([]string, error) {
	var out struct {
		Groups struct{ Group []struct{ GroupName string } }
	}
	err := gone(c.call(ctx, true, "ListGroupsForUser", map[string]string{"UserName": user}, &out))
	var groups []string
	for _, g := range out.Groups.Group {
		groups = append(groups, g.GroupName)
	}
	return groups, err
}

// detachEverywhere takes the custom policy from all users, groups and roles.
func (c *cloud) detachEverywhere(ctx context.Context, policy string) error {
	var out struct {
		Users  struct{ User []struct{ UserName string } }
		Groups struct{ Group []struct{ GroupName string } }
		Roles  struct{ Role []struct{ RoleName string } }
	}
	params := map[string]string{"PolicyName": policy, "PolicyType": "Custom"}
	if err := gone(c.call(ctx, true, "ListEntitiesForPolicy", params, &out)); err != nil {
		return err
	}
	detach := func(action, field, name string) error {
		return gone(c.call(ctx, true, action, map[string]string{field: name, "PolicyName": policy, "PolicyType": "Custom"}, nil))
	}
	var w wave
	for _, u := range out.Users.User {
		w.add(func() error { return detach("DetachPolicyFromUser", "UserName", u.UserName) })
	}
	for _, g := range out.Groups.Group {
		w.add(func() error { return detach("DetachPolicyFromGroup", "GroupName", g.GroupName) })
	}
	for _, r := range out.Roles.Role {
		w.add(func() error { return detach("DetachPolicyFromRole", "RoleName", r.RoleName) })
	}
	return w.run()
}

// whoami is callerIdentity, asked once.
func (c *cloud) whoami(ctx context.Context) (identity, error) {
	if id := c.identity.Load(); id != nil {
		return *id, nil
	}
	who, err := c.callerIdentity(ctx)
	if err == nil {
		c.identity.Store(&who)
	}
	return who, err
}

// gone turns EntityNotExist, of whatever entity, into success.
func gone(err error) error {
	if notExist(err) {
		return nil
	}
	return err
}

func notExist(err error) bool {
	var refused *openapi.Error
	return errors.As(err, &refused) && refused.NotExist()
}

// unless turns one code into success.
func unless(err error, code string) error {
	if hasCode(err, code) {
		return nil
	}
	return err
}

func hasCode(err error, code string) bool {
	var refused *openapi.Error
	return errors.As(err, &refused) && refused.Code == code
}

// eventually repeats a call on what was created a moment ago for as long as RAM,
// which is eventually consistent, answers that it does not exist.
func eventually(ctx context.Context, code string, call func() error) error {
	wait := 100 * time.Millisecond
	for deadline := time.Now().Add(visibleWithin); ; wait = min(2*wait, 2*time.Second) {
		err := call()
		if !hasCode(err, code) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}
