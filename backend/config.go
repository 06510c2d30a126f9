package backend

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const configKey = "config"

// Values of the field network in config.
const (
	networkPublic = "public"
	networkVPC    = "vpc"
)

// Bounds of the settings of API calls.
const (
	maxRetriesLimit = 10
	defaultRetries  = 3 // openapi's
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
	IMSEndpoint             string        `json:"ims_endpoint,omitempty"`
	CACertificate           string        `json:"ca_certificate,omitempty"`
	MaxRetries              *int          `json:"max_retries,omitempty"`
	ConnectTimeout          time.Duration `json:"connect_timeout,omitempty"`
	Timeout                 time.Duration `json:"timeout,omitempty"`

	UsernameTemplate        string `json:"username_template,omitempty"`
	RoleSessionNameTemplate string `json:"role_session_name_template,omitempty"`
	PolicyNameTemplate      string `json:"policy_name_template,omitempty"`

	StrictNames bool `json:"strict_names,omitempty"`

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

// configTypes are the credential types of the mount's own credentials.
func configTypes() (names []string) {
	for _, t := range sourceTypes() {
		if t.config != "" {
			names = append(names, t.name)
		}
	}
	return names
}

// configFields is the table of config.
func configFields() fields[config] {
	var types strings.Builder
	for _, t := range sourceTypes() {
		if t.config != "" {
			fmt.Fprintf(&types, "%q: %s. ", t.name, t.config)
		}
	}
	table := fields[config]{
		text("credential_type", func(c *config) *string { return &c.CredentialType },
			"Where the engine's own credentials come from. "+types.String()+
				"Without a type: access_key where keys are given, else default. Given keys always win over the environment.").
			answers(func(c *config) any { return c.credentialType() }).checked((*config).checkType).from(configTypes()...),
	}
	table = append(table, within(sourceFields().without("bearer_token"), func(c *config) *source { return &c.source })...)
	table = append(table,
		text("role_arn", func(c *config) *string { return &c.RoleARN },
			"ram_role_arn, oidc_role_arn: the role this mount works as, acs:ram::<account>:role/<name>, in the same or another account."),
		text("role_session_name", func(c *config) *string { return &c.RoleSessionName },
			"ram_role_arn, oidc_role_arn: session name that ActionTrail shows for this mount, 2 to 64 letters, digits and . @ - _."),
		text("external_id", func(c *config) *string { return &c.ExternalID }, "ram_role_arn: external id that the role's trust policy asks for."),
		text("policy", func(c *config) *string { return &c.Policy },
			"ram_role_arn, oidc_role_arn: session policy that narrows what this mount may do, at most 2048 characters.").
			checked(func(c *config) error { return checkFixedPolicy("policy", c.Policy, policy.MaxSession) }),
		seconds("role_session_expiration", func(c *config) *time.Duration { return &c.RoleSessionExpiration },
			"ram_role_arn, oidc_role_arn, rsa_key_pair: length of the mount's own sessions, 900 to 43200 seconds; 0 means 3600. They are renewed by themselves."),
		text("region", func(c *config) *string { return &c.Region },
			`Region whose STS is called, such as "cn-beijing". RAM has one endpoint for all regions, and one for the VPCs of some.`).
			checked((*config).checkRegion),
		text("network", func(c *config) *string { return &c.Network },
			`"public" (the default), or "vpc" to call STS by the VPC name of the region, and RAM by its VPC name where the region has one.`).
			answers(func(c *config) any { return cmp.Or(c.Network, networkPublic) }).checked((*config).checkNetwork).from(networkPublic, networkVPC),
		endpoint("sts_endpoint", func(c *config) *string { return &c.STSEndpoint },
			"Host or https URL of STS; beats region and network. http only for a loopback address."),
		list("sts_fallback_endpoints", func(c *config) *[]string { return &c.STSFallbackEndpoints },
			"Hosts or https URLs of STS, tried in this order when one cannot be reached; never after an answer. With "+
				"neither region nor sts_endpoint: sts.us-east-1.aliyuncs.com after sts.aliyuncs.com.").
			checked(func(c *config) error { return checkEndpoints("sts_fallback_endpoints", c.STSFallbackEndpoints...) }),
		endpoint("ram_endpoint", func(c *config) *string { return &c.RAMEndpoint },
			"Host or https URL of RAM; default ram.aliyuncs.com, or with network=vpc ram.vpc-proxy.aliyuncs.com in the regions that have it."),
		endpoint("resource_manager_endpoint", func(c *config) *string { return &c.ResourceManagerEndpoint },
			"Host or https URL of Resource Management, which attaches policies in resource groups, and is asked when RAM refuses a deletion for policies that it does not list; "+
				"default resourcemanager.aliyuncs.com, or with network=vpc resourcemanager.vpc-proxy.aliyuncs.com in the same regions."),
		endpoint("ims_endpoint", func(c *config) *string { return &c.IMSEndpoint },
			"Host or https URL of IMS, which is asked for the quotas of the account when status or metrics is read, and beside an issue of a RAM user or RAM role; default ims.aliyuncs.com, or with "+
				"network=vpc ims.vpc-proxy.aliyuncs.com in the same regions. With ram_endpoint and without this it is not asked."),
		text("ca_certificate", func(c *config) *string { return &c.CACertificate },
			"PEM certificates that replace the system's roots when the endpoints are verified."),
		field[config]{
			name: "max_retries",
			schema: framework.FieldSchema{
				Type:        framework.TypeInt,
				Description: "How often a failed call is repeated, 0 to 10; default 3. Calls that may have taken effect are repeated only where that is harmless.",
			},
			set:   func(c *config, value any) error { n := value.(int); c.MaxRetries = &n; return nil },
			get:   func(c *config) any { return c.maxRetries() },
			check: (*config).checkRetries,
		},
		timeout("connect_timeout", func(c *config) *time.Duration { return &c.ConnectTimeout }, "Limit for connecting, 1 to 60 seconds; 0 means 5 seconds."),
		timeout("timeout", func(c *config) *time.Duration { return &c.Timeout }, "Limit for one attempt of a call, 1 to 60 seconds; 0 means 10 seconds."),
		nameTemplate("username_template", func(c *config) *string { return &c.UsernameTemplate },
			"Default of the roles: Go template of the names of RAM users and roles, with .DisplayName and .RoleName; 20 random characters are appended."),
		nameTemplate("role_session_name_template", func(c *config) *string { return &c.RoleSessionNameTemplate },
			"Default of the roles: Go template of session names, with .DisplayName and .RoleName."),
		nameTemplate("policy_name_template", func(c *config) *string { return &c.PolicyNameTemplate },
			"Go template of what the names of shared inline policies begin with, with .RoleName; default vault. A tag of the mount and a hash of the document are appended."),
		boolean("strict_names", func(c *config) *bool { return &c.StrictNames },
			"Refuse upper case in the names of role/ and creds/, which is otherwise made lower case. Vault's policies compare paths as they are written: "+
				"a deny of creds/admin does not stop creds/ADMIN. Default false."),
		parameter[config]("verify", framework.TypeBool, "Ask GetCallerIdentity first and store nothing when it is refused. Not stored itself; default false."),
		parameter[config]("force", framework.TypeBool,
			"Take an access_key that a rotation has replaced, which is otherwise answered with a warning and not taken. Deletion: delete the config although leases or static roles need it. Not stored itself; default false."),
	)
	return append(table, rootRotationFields()...)
}

// nameTemplate is a Go template of names.
func nameTemplate[T any](name string, at func(*T) *string, description string) field[T] {
	return text(name, at, description).checked(func(of *T) error {
		if err := policy.CheckNameTemplate(*at(of)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

func endpoint(name string, at func(*config) *string, description string) field[config] {
	return text(name, at, description).checked(func(c *config) error { return checkEndpoints(name, *at(c)) })
}

// checkEndpoints names the field with an endpoint that cannot be used.
func checkEndpoints(name string, endpoints ...string) error {
	for _, e := range endpoints {
		if e == "" {
			continue
		}
		if err := openapi.CheckEndpoint(e); err != nil {
			return fmt.Errorf("%s: %s", name, unprefixed(err))
		}
	}
	return nil
}

func timeout(name string, at func(*config) *time.Duration, description string) field[config] {
	return seconds(name, at, description).checked(func(c *config) error {
		if d := *at(c); d < 0 || d > maxTimeout {
			return fmt.Errorf("%s must be 0 to %d seconds", name, maxTimeout/time.Second)
		}
		return nil
	})
}

// maxRetries is the default where nothing was written.
func (c *config) maxRetries() int {
	if c.MaxRetries == nil {
		return defaultRetries
	}
	return *c.MaxRetries
}

// checkType checks the type, and that what it needs is there.
func (c *config) checkType() error {
	t, _ := sourceTypeNamed(c.credentialType())
	switch {
	case t.config == "":
		return fmt.Errorf("credential_type %q is not known: use one of %s", c.credentialType(), strings.Join(configTypes(), ", "))
	case c.AccessKey == "" && c.SecretKey != "":
		return errors.New("access_key is required: the AccessKey ID that belongs to secret_key")
	case c.AccessKey != "" && c.SecretKey == "":
		return errors.New("secret_key is required: the secret that belongs to access_key")
	case t.assumes && c.RoleARN == "":
		return fmt.Errorf("role_arn is required when credential_type is %s", t.name)
	}
	return c.source.validate(t.name)
}

func (c *config) checkNetwork() error {
	switch c.Network {
	case "", networkPublic:
		return nil
	case networkVPC:
		if c.Region == "" && c.STSEndpoint == "" {
			return errors.New("network=vpc needs a region: there is no VPC name of STS without one")
		}
		return nil
	}
	return fmt.Errorf(`network %q is not known: use "public" or "vpc"`, c.Network)
}

func (c *config) checkRetries() error {
	if n := c.maxRetries(); n < 0 || n > maxRetriesLimit {
		return fmt.Errorf("max_retries must be 0 to %d", maxRetriesLimit)
	}
	return nil
}

// update takes the fields of a write; those that are not given keep their value.
func (c *config) update(data *framework.FieldData) error {
	before := c.source
	if err := configFields().update(c, data); err != nil {
		return err
	}
	if err := c.source.matchKeys(before, data); err != nil {
		return err
	}
	if err := c.refuseUnused(data); err != nil {
		return err
	}
	return settleSchedule(&c.Schedule, data)
}

// refuseUnused refuses what a write gives and the type does not use, and takes away what
// is stored of the type before. The key stays: the Terraform provider writes one
// whatever the type, and nobody but the mount may know it.
func (c *config) refuseUnused(data *framework.FieldData) error {
	t, known := sourceTypeNamed(c.credentialType())
	if !known || t.config == "" {
		return nil // said by checkType
	}
	for _, f := range configFields() {
		if f.name == "access_key" || f.name == "secret_key" || !ofSomeTypes(f.name) || t.uses(f.name) {
			continue
		}
		if f.given(data) {
			return fmt.Errorf("%s has no effect when credential_type is %s: leave it out, or give credential_type (%s)", f.name, t.name, strings.Join(configTypesWith(f.name), ", "))
		}
		if err := f.set(c, f.schema.Type.Zero()); err != nil {
			return err
		}
	}
	return nil
}

// configTypesWith are the types of config that use a field.
func configTypesWith(field string) (names []string) {
	for _, t := range sourceTypes() {
		if t.config != "" && t.uses(field) {
			names = append(names, t.name)
		}
	}
	return names
}

func (c *config) validate() error { return configFields().validate(c) }

// warnings tell of what is stored and does not do what one might expect.
func (c *config) warnings() []string {
	var warnings []string
	if c.CredentialType == "" && c.credentialType() == typeDefault {
		warnings = append(warnings, "access_key and secret_key are empty, so the mount works with the credentials that are found around the Vault server. "+
			"Were they meant to be given? Else write credential_type=default, which says so")
	}
	if t, _ := sourceTypeNamed(c.credentialType()); c.AccessKey != "" && !t.keyed {
		warnings = append(warnings, fmt.Sprintf("access_key and secret_key are kept, but not used while credential_type is %s", t.name))
	}
	if doubt := c.doubtRegion(); doubt != "" {
		warnings = append(warnings, doubt)
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
