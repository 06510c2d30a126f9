package backend

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// otherWords are what other tools call a field of this engine: the Credentials
// tools and the aliyun CLI, and Vault's engine for AWS.
var otherWords = map[string]string{
	"access_key_id": "access_key", "access_key_secret": "secret_key", "sts_token": "security_token", "session_token": "security_token",
	"mode": "credential_type", "type": "credential_type", "region_id": "region", "ram_role_name": "role_name",
	"ram_role_arn": "role_arn", "arn": "role_arn", "ram_session_name": "role_session_name",
	"expired_seconds": "role_session_expiration", "duration_seconds": "ttl", "default_sts_ttl": "ttl", "default_lease": "ttl", "max_sts_ttl": "max_ttl",
	"policy_arns": "remote_policies", "remote_policy": "remote_policies", "inline_policy": "inline_policies", "policies": "remote_policies", "policy_document": "inline_policies", "iam_groups": "ram_groups", "groups": "ram_groups",
	"user": "username",
}

// fieldName is a name that can be repeated in an answer. What was typed in the place
// of a name may be a key.
var fieldName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,40}$`)

// unknownField says which field of a request the path does not have, and which was
// probably meant; "" where it has all. Vault would leave it out in silence.
func (b *backend) unknownField(path *framework.Path, req *logical.Request) string {
	if verb := verbs[req.Operation]; verb == "" || verb == "list" {
		return "" // of Vault itself
	}
	for _, name := range slices.Sorted(maps.Keys(req.Data)) {
		if path.Fields[name] != nil {
			continue
		}
		if !fieldName.MatchString(name) {
			return fmt.Sprintf("a name among the fields of %s is none of a field: write field=value", req.Path)
		}
		known := slices.Collect(maps.Keys(path.Fields))
		meant := otherWords[name]
		if path.Fields[meant] == nil {
			meant = nearest(name, known)
		}
		if meant != "" {
			return fmt.Sprintf("%s has no field %s: did you mean %s?", req.Path, name, meant)
		}
		return fmt.Sprintf("%s has no field %s: vault path-help %s%s lists those it has", req.Path, name, b.mountPath(), req.Path)
	}
	return ""
}
