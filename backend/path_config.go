package backend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const configKey = "config"

// configTypes are the credential types of the mount's own credentials.
var configTypes = []string{
	typeAccessKey, typeSTS, typeRAMRoleARN, typeOIDCRoleARN, typeECSRAMRole, typeRSAKeyPair, typeCredentialsURI, typeDefault,
}

// Bounds of the settings of API calls.
const (
	maxRetriesLimit = 10
	maxTimeout      = time.Minute
)

// config is stored under "config", seal-wrapped. Its access_key and secret_key
// are those of Vault's built-in engine, which ignores the rest.
type config struct {
	source

	RoleARN               string        `json:"role_arn,omitempty"`
	RoleSessionName       string        `json:"role_session_name,omitempty"`
	ExternalID            string        `json:"external_id,omitempty"`
	Policy                string        `json:"policy,omitempty"`
	RoleSessionExpiration time.Duration `json:"role_session_expiration,omitempty"`

	Region                  string        `json:"region,omitempty"`
	Network                 string        `json:"network,omitempty"`
	STSEndpoint             string        `json:"sts_endpoint,omitempty"`
	STSFallbackEndpoints    []string      `json:"sts_fallback_endpoints,omitempty"`
	RAMEndpoint             string        `json:"ram_endpoint,omitempty"`
	ResourceManagerEndpoint string        `json:"resource_manager_endpoint,omitempty"`
	CACertificate           string        `json:"ca_certificate,omitempty"`
	MaxRetries              *int          `json:"max_retries,omitempty"`
	ConnectTimeout          time.Duration `json:"connect_timeout,omitempty"`
	Timeout                 time.Duration `json:"timeout,omitempty"`

	UsernameTemplate        string `json:"username_template,omitempty"`
	RoleSessionNameTemplate string `json:"role_session_name_template,omitempty"`
	PolicyNameTemplate      string `json:"policy_name_template,omitempty"`

	rootRotation
}

// credentialType is the type that was written, or what the keys make it: a
// config of the built-in engine has no type, and no keys where that engine
// looks for credentials in its surroundings.
func (c *config) credentialType() string {
	switch {
	case c.CredentialType != "":
		return c.CredentialType
	case c.AccessKey == "" && c.SecretKey == "":
		return typeDefault
	}
	return typeAccessKey
}

func (b *backend) pathConfig() *framework.Path {
	return &framework.Path{
		Pattern:      "config",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix},
		Fields:       configFields(),
		// No existence check: a write must stay an update, because policies
		// written for the built-in engine grant no more than that.
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: &framework.PathOperation{
				Callback:                    b.writeConfig,
				Summary:                     "Configure the credentials the engine works with, and where its calls go.",
				DisplayAttrs:                &framework.DisplayAttributes{OperationVerb: "configure"},
				Responses:                   map[int][]framework.Response{http.StatusOK: {{Description: "Written, with warnings."}}, http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}}},
				ForwardPerformanceStandby:   true,
				ForwardPerformanceSecondary: true,
			},
			logical.ReadOperation: &framework.PathOperation{
				Callback:     b.readConfig,
				Summary:      "Read the configuration. Secrets are not part of it.",
				DisplayAttrs: &framework.DisplayAttributes{OperationSuffix: "configuration"},
				Responses: map[int][]framework.Response{http.StatusOK: {{
					Description: http.StatusText(http.StatusOK), Fields: configResponse(),
				}}},
			},
			logical.DeleteOperation: &framework.PathOperation{
				Callback:                    b.deleteConfig,
				Summary:                     "Delete the configuration. Until it is written again nothing can be issued or revoked.",
				DisplayAttrs:                &framework.DisplayAttributes{OperationSuffix: "configuration"},
				Responses:                   noContent(),
				ForwardPerformanceStandby:   true,
				ForwardPerformanceSecondary: true,
			},
		},
		HelpSynopsis:    configHelpSynopsis,
		HelpDescription: configHelpDescription,
	}
}

func configFields() map[string]*framework.FieldSchema {
	fields := map[string]*framework.FieldSchema{
		"credential_type": {
			Type: framework.TypeString,
			Description: `Where the engine's own credentials come from: "access_key", "sts" (with security_token), "ram_role_arn" (the ` +
				`role in role_arn, assumed with the keys given), "oidc_role_arn", "ecs_ram_role", "rsa_key_pair", "credentials_uri", or ` +
				`"default": the chain of all Credentials tools (environment, OIDC, profiles, instance role, URI). Without a type: ` +
				`access_key where keys are given, else default. Given keys always win over the environment.`,
			AllowedValues: allowed(configTypes),
		},
		"role_arn": {
			Type:        framework.TypeString,
			Description: "ram_role_arn, oidc_role_arn: the role this mount works as, acs:ram::<account>:role/<name>, in the same or another account.",
		},
		"role_session_name": {
			Type:        framework.TypeString,
			Description: "ram_role_arn, oidc_role_arn: session name that ActionTrail shows for this mount, 2 to 64 letters, digits and . @ - _.",
		},
		"external_id": {Type: framework.TypeString, Description: "ram_role_arn: external id that the role's trust policy asks for."},
		"policy":      {Type: framework.TypeString, Description: "ram_role_arn, oidc_role_arn: session policy that narrows what this mount may do, at most 2048 characters."},
		"role_session_expiration": {
			Type:        framework.TypeDurationSecond,
			Description: "ram_role_arn, oidc_role_arn, rsa_key_pair: length of the mount's own sessions, 900 to 43200 seconds; 0 means 3600. They are renewed by themselves.",
		},
		"region": {
			Type:        framework.TypeString,
			Description: `Region whose STS is called, such as "cn-beijing". RAM has one endpoint for all regions, and one for the VPCs of some.`,
		},
		"network": {
			Type:          framework.TypeString,
			Description:   `"public" (the default), or "vpc" to call STS by the VPC name of the region, and RAM by its VPC name where the region has one.`,
			AllowedValues: []interface{}{networkPublic, networkVPC},
		},
		"sts_endpoint": {
			Type:        framework.TypeString,
			Description: "Host or https URL of STS; beats region and network. http only for a loopback address.",
		},
		"sts_fallback_endpoints": {
			Type: framework.TypeCommaStringSlice,
			Description: "Hosts or https URLs of STS, tried in this order when one cannot be reached; never after an answer. With " +
				"neither region nor sts_endpoint: sts.us-east-1.aliyuncs.com after sts.aliyuncs.com.",
		},
		"ram_endpoint": {
			Type:        framework.TypeString,
			Description: "Host or https URL of RAM; default ram.aliyuncs.com, or with network=vpc ram.vpc-proxy.aliyuncs.com in the regions that have it.",
		},
		"resource_manager_endpoint": {
			Type: framework.TypeString,
			Description: "Host or https URL of Resource Management, which is asked only when RAM refuses a deletion for policies that it does not list; " +
				"default resourcemanager.aliyuncs.com, or with network=vpc resourcemanager.vpc-proxy.aliyuncs.com in the same regions.",
		},
		"ca_certificate": {Type: framework.TypeString, Description: "PEM certificates that replace the system's roots when the endpoints are verified."},
		"max_retries": {
			Type:        framework.TypeInt,
			Description: "How often a failed call is repeated, 0 to 10; default 3. Calls that may have taken effect are repeated only where that is harmless.",
		},
		"connect_timeout": {Type: framework.TypeDurationSecond, Description: "Limit for connecting, 1 to 60 seconds; 0 means 5 seconds."},
		"timeout":         {Type: framework.TypeDurationSecond, Description: "Limit for one attempt of a call, 1 to 60 seconds; 0 means 10 seconds."},
		"username_template": {
			Type:        framework.TypeString,
			Description: "Default of the roles: Go template of the names of RAM users and roles, with .DisplayName and .RoleName; 20 random characters are appended.",
		},
		"role_session_name_template": {
			Type:        framework.TypeString,
			Description: "Default of the roles: Go template of session names, with .DisplayName and .RoleName.",
		},
		"policy_name_template": {
			Type:        framework.TypeString,
			Description: "Go template of what the names of shared inline policies begin with, with .RoleName; default vault. A tag of the mount and a hash of the document are appended.",
		},
		"verify": {
			Type:        framework.TypeBool,
			Description: "Ask GetCallerIdentity first and store nothing when it is refused. Not stored itself; default false.",
		},
		"force": {
			Type:        framework.TypeBool,
			Description: "Take an access_key that a rotation has replaced, which is otherwise answered with a warning and not taken. Not stored itself; default false.",
		},
	}
	maps.Copy(fields, sourceFields())
	maps.Copy(fields, rootRotationFields())
	return fields
}

func allowed(values []string) []interface{} {
	list := make([]interface{}, len(values))
	for i, v := range values {
		list[i] = v
	}
	return list
}

func configResponse() map[string]*framework.FieldSchema {
	fields := configFields()
	for _, hidden := range append(sourceSecrets, "verify", "force") {
		delete(fields, hidden)
	}
	for _, seconds := range []string{
		"role_session_expiration", "identity_token_ttl", "connect_timeout", "timeout", "rotation_period", "rotation_window", "rotation_grace_period",
	} {
		fields[seconds].Type = framework.TypeInt64
	}
	maps.Copy(fields, rotationStateFields())
	return fields
}

func (b *backend) readConfig(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	c, err := load[config](ctx, req.Storage, configKey)
	if err != nil || c == nil {
		return nil, err
	}
	retries := 3
	if c.MaxRetries != nil {
		retries = *c.MaxRetries
	}
	network := c.Network
	if network == "" {
		network = networkPublic
	}
	data := map[string]interface{}{
		"role_arn":                  c.RoleARN,
		"role_session_name":         c.RoleSessionName,
		"external_id":               c.ExternalID,
		"policy":                    c.Policy,
		"role_session_expiration":   int64(c.RoleSessionExpiration / time.Second),
		"region":                    c.Region,
		"network":                   network,
		"sts_endpoint":              c.STSEndpoint,
		"sts_fallback_endpoints":    append([]string{}, c.STSFallbackEndpoints...),
		"ram_endpoint":              c.RAMEndpoint,
		"resource_manager_endpoint": c.ResourceManagerEndpoint,
		"ca_certificate":            c.CACertificate,
		"max_retries":               retries,
		"connect_timeout":           int64(c.ConnectTimeout / time.Second),
		"timeout":                   int64(c.Timeout / time.Second),

		"username_template":          c.UsernameTemplate,
		"role_session_name_template": c.RoleSessionNameTemplate,
		"policy_name_template":       c.PolicyNameTemplate,
	}
	c.read(data)
	delete(data, "bearer_token")
	c.readRotation(data)
	data["credential_type"] = c.credentialType()
	return &logical.Response{Data: data}, nil
}

func (b *backend) writeConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	var verified *config
	if data.Get("verify").(bool) {
		var err error
		if verified, _, err = b.mergeConfig(ctx, req.Storage, data); err == nil {
			err = b.verifyConfig(ctx, verified)
		}
		if err != nil {
			return rotationAnswer("verify: nothing was stored, because GetCallerIdentity failed", err)
		}
	}
	// One write at a time: two partial writes must not lose each other's fields,
	// nor those of a rotation.
	b.configWrite.Lock()
	defer b.configWrite.Unlock()
	c, warnings, err := b.mergeConfig(ctx, req.Storage, data)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return logical.ErrorResponse(refused.text), nil
	case err != nil:
		return nil, err
	case verified != nil && !reflect.DeepEqual(verified.source, c.source):
		return logical.ErrorResponse("verify: nothing was stored, because another write changed the keys in config meanwhile: try again"), nil
	}
	if err := save(ctx, req.Storage, configKey, c); err != nil {
		return nil, err
	}
	b.resetCloud()
	return warned(nil, append(c.warnings(), warnings...)), nil
}

// mergeConfig returns what a write makes of the stored config. A refusal is the
// user's mistake.
func (b *backend) mergeConfig(ctx context.Context, s logical.Storage, data *framework.FieldData) (c *config, warnings []string, err error) {
	if c, err = load[config](ctx, s, configKey); err != nil {
		return nil, nil, err
	}
	if c == nil {
		c = &config{}
		if err := firstWrite(data); err != nil {
			return nil, nil, refuse("%v", err)
		}
	}
	before := *c
	if err := c.update(data); err != nil {
		return nil, nil, refuse("%v", err)
	}
	switch forced := data.Get("force").(bool); {
	case forced:
	case before.madeByRotation() && c.AccessKey == before.AccessKey && c.SecretKey != before.SecretKey:
		warnings = append(warnings, fmt.Sprintf("secret_key was NOT stored: access_key %s was made by a rotation, and nobody but this mount knows its secret. "+
			"Leave secret_key out of the write, or give force=true if the secret is really that of this key.", c.AccessKey))
		c.SecretKey = before.SecretKey
	case before.rotatedAway(c.AccessKey):
		warnings = append(warnings, fmt.Sprintf("access_key %s was rotated away and was NOT stored: the mount goes on with %s, which a rotation put in its place. "+
			"Leave access_key and secret_key out of the write, or give force=true if the old key is really wanted. "+
			"In Terraform: lifecycle { ignore_changes = [access_key, secret_key_wo_version] }", c.AccessKey, before.AccessKey))
		c.AccessKey, c.SecretKey, c.SecurityToken = before.AccessKey, before.SecretKey, before.SecurityToken
	}
	warnings = append(warnings, c.followRotation(&before, time.Now())...)
	if err := c.validate(); err != nil {
		return nil, nil, refuse("%v", err)
	}
	candidate, err := newCloud(b.http, b.metadataOf(c), c, b.System())
	if err != nil {
		return nil, nil, refuse("%s", ofSource(err))
	}
	candidate.Close()
	return c, warnings, nil
}

func (b *backend) verifyConfig(ctx context.Context, c *config) error {
	candidate, err := newCloud(b.http, b.metadataOf(c), c, b.System())
	if err != nil {
		return err
	}
	defer candidate.Close()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	_, err = candidate.CallerIdentity(ctx)
	return err
}

// firstWrite refuses to guess where credentials come from, as the built-in engine
// does; empty keys do say it.
func firstWrite(data *framework.FieldData) error {
	for _, field := range []string{"access_key", "credential_type"} {
		if _, ok := data.GetOk(field); ok {
			return nil
		}
	}
	return errors.New("access_key is required: give access_key and secret_key, or say in credential_type where credentials come from")
}

// update takes the fields of a write; those that are not given keep their value.
func (c *config) update(data *framework.FieldData) error {
	if err := c.source.update(data); err != nil {
		return err
	}
	for field, to := range map[string]*string{
		"role_arn": &c.RoleARN, "role_session_name": &c.RoleSessionName, "external_id": &c.ExternalID, "policy": &c.Policy,
		"region": &c.Region, "network": &c.Network, "sts_endpoint": &c.STSEndpoint, "ram_endpoint": &c.RAMEndpoint,
		"resource_manager_endpoint": &c.ResourceManagerEndpoint,
		"ca_certificate":            &c.CACertificate, "username_template": &c.UsernameTemplate,
		"role_session_name_template": &c.RoleSessionNameTemplate, "policy_name_template": &c.PolicyNameTemplate,
	} {
		if v, ok := data.GetOk(field); ok {
			*to = strings.TrimSpace(v.(string))
		}
	}
	for field, to := range map[string]*time.Duration{
		"role_session_expiration": &c.RoleSessionExpiration, "connect_timeout": &c.ConnectTimeout, "timeout": &c.Timeout,
	} {
		if v, ok := data.GetOk(field); ok {
			*to = time.Duration(v.(int)) * time.Second
		}
	}
	if v, ok := data.GetOk("sts_fallback_endpoints"); ok {
		c.STSFallbackEndpoints = v.([]string)
	}
	if v, ok := data.GetOk("max_retries"); ok {
		n := v.(int)
		c.MaxRetries = &n
	}
	return c.rootRotation.update(data)
}

func (c *config) validate() error {
	t := c.credentialType()
	switch {
	case !slices.Contains(configTypes, t):
		return fmt.Errorf("credential_type %q is not known: use one of %s", t, strings.Join(configTypes, ", "))
	case c.AccessKey == "" && c.SecretKey != "":
		return errors.New("access_key is required: the AccessKey ID that belongs to secret_key")
	case c.AccessKey != "" && c.SecretKey == "":
		return errors.New("secret_key is required: the secret that belongs to access_key")
	case (t == typeRAMRoleARN || t == typeOIDCRoleARN) && c.RoleARN == "":
		return fmt.Errorf("role_arn is required when credential_type is %s", t)
	}
	if err := c.source.validate(t); err != nil {
		return err
	}
	switch c.Network {
	case "", networkPublic, networkVPC:
	default:
		return fmt.Errorf(`network %q is not known: use "public" or "vpc"`, c.Network)
	}
	if c.Network == networkVPC && c.Region == "" && c.STSEndpoint == "" {
		return errors.New("network=vpc needs a region: there is no VPC name of STS without one")
	}
	if err := checkEndpoints(map[string][]string{
		"sts_endpoint": {c.STSEndpoint}, "ram_endpoint": {c.RAMEndpoint}, "sts_fallback_endpoints": c.STSFallbackEndpoints,
		"resource_manager_endpoint": {c.ResourceManagerEndpoint},
	}); err != nil {
		return err
	}
	for field, template := range map[string]string{
		"username_template": c.UsernameTemplate, "role_session_name_template": c.RoleSessionNameTemplate, "policy_name_template": c.PolicyNameTemplate,
	} {
		if err := policy.CheckNameTemplate(template); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	if c.MaxRetries != nil && (*c.MaxRetries < 0 || *c.MaxRetries > maxRetriesLimit) {
		return fmt.Errorf("max_retries must be 0 to %d", maxRetriesLimit)
	}
	for field, d := range map[string]time.Duration{"connect_timeout": c.ConnectTimeout, "timeout": c.Timeout} {
		if d < 0 || d > maxTimeout {
			return fmt.Errorf("%s must be 0 to %d seconds", field, maxTimeout/time.Second)
		}
	}
	return c.validateRotation()
}

// warnings tell of what is stored and does not do what one might expect.
func (c *config) warnings() []string {
	var warnings []string
	switch t := c.credentialType(); t {
	case typeAccessKey, typeSTS, typeRAMRoleARN:
	default:
		if c.AccessKey != "" {
			warnings = append(warnings, fmt.Sprintf("access_key and secret_key are kept, but not used while credential_type is %s", t))
		}
	}
	if c.Network == networkVPC && c.RAMEndpoint == "" && !ram.InsideVPC(c.Region) {
		where := "in region " + c.Region
		if c.Region == "" {
			where = "that can be known without region"
		}
		warnings = append(warnings, fmt.Sprintf("network=vpc: RAM has no VPC name %s, so its calls go to %s, which needs a way to the Internet. "+
			"Sessions need STS only. Set ram_endpoint if RAM is reached by another name", where, ram.Host("ram", c.Region, true)))
	}
	return warnings
}

func (b *backend) deleteConfig(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	if !b.WriteSafeReplicationState() {
		return nil, logical.ErrReadOnly
	}
	waiting, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	release, err := b.rotations.take(waiting, configKey)
	if err != nil {
		return rotationAnswer("deleting config", err)
	}
	defer release()
	left := rootKey{b, req.Storage}.undoAll(waiting)
	b.configWrite.Lock()
	defer b.configWrite.Unlock()
	if err := req.Storage.Delete(ctx, configKey); err != nil {
		return nil, err
	}
	b.resetCloud()
	return warned(nil, left), nil
}

const configHelpSynopsis = "Configure the credentials the engine works with, and where its calls go."

const configHelpDescription = `
The engine needs credentials of its own: those of a RAM user that may assume
the roles and manage the RAM users it is to issue. Not those of the root
account, which may not assume roles.

    vault write alicloud/config access_key=LTAI... secret_key=...

On an ECS instance or in an ACK pod no keys are needed:

    vault write alicloud/config credential_type=ecs_ram_role
    vault write alicloud/config credential_type=oidc_role_arn \
        oidc_provider_arn=acs:ram::1234567890123456:oidc-provider/ack-rrsa \
        oidc_token_file_path=/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token \
        role_arn=acs:ram::1234567890123456:role/vault

To work as a RAM role, in this account or another, give its ARN too:

    vault write alicloud/config credential_type=ram_role_arn \
        access_key=LTAI... secret_key=... \
        role_arn=acs:ram::1234567890123456:role/vault

A write keeps the fields that it does not give. Keys are not tried unless
verify=true is given; "vault read alicloud/config/caller-identity" tries them.

The AccessKey can be rotated, on request (config/rotate-root) or by itself:

    vault write alicloud/config rotation_period=720h

secret_key and security_token are never read back. Deleting the configuration
leaves leases that cannot be revoked until it is written again.
`
