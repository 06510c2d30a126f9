package backend

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/vault/sdk/helper/jsonutil"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/policy"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// inlinePolicy is a policy document kept in the role. Hash is 32 random hex
// digits made when the document is written; it names the policy in RAM.
type inlinePolicy struct {
	Hash           string          `json:"hash"`
	PolicyDocument json.RawMessage `json:"policy_document"`
}

// templated tells whether the policy is another for each requester.
func templated(p ram.Policy) bool { return policy.Templated(p.Name) }

func parseInlinePolicies(s string) ([]inlinePolicy, error) {
	docs, err := policy.Documents(s)
	if err != nil {
		return nil, fmt.Errorf("inline_policies %w", err)
	}
	policies := make([]inlinePolicy, len(docs))
	for i, doc := range docs {
		if err := policy.Check(string(doc), policy.MaxDocument); err != nil {
			return nil, fmt.Errorf("inline_policies[%d] %w", i, err)
		}
		var random [16]byte
		rand.Read(random[:])
		policies[i] = inlinePolicy{Hash: hex.EncodeToString(random[:]), PolicyDocument: doc}
	}
	return policies, nil
}

func parseRemotePolicies(list []string) ([]ram.Policy, error) {
	policies := []ram.Policy{}
	for _, s := range list {
		if strings.TrimSpace(s) == "" && len(list) == 1 {
			continue // remote_policies="" clears the list
		}
		var p ram.Policy
		for _, pair := range strings.Split(s, ",") {
			key, value, ok := strings.Cut(pair, ":")
			if !ok || strings.Contains(value, ":") {
				return nil, fmt.Errorf(`remote_policies: unable to recognize pair in %s: write "name:<policy>,type:System" or "name:<policy>,type:Custom"`, pair)
			}
			switch key, value = strings.TrimSpace(key), strings.TrimSpace(value); key {
			case "name":
				if p.Name != "" {
					return nil, fmt.Errorf("remote_policies: two policies in one text, %s: give the field once for each, remote_policies=... remote_policies=...", s)
				}
				p.Name = value
			case "type":
				p.Type = value
			case "resource_group":
				if err := checkResourceGroup(value); err != nil {
					return nil, fmt.Errorf("remote_policies: resource_group in %s %w", s, err)
				}
				p.ResourceGroup = value
			default:
				return nil, fmt.Errorf("remote_policies: invalid key: %s: the keys are name, type and resource_group", key)
			}
		}
		if p.Name == "" {
			return nil, fmt.Errorf("remote_policies: policy name is required in %s", s)
		}
		if p.Type == "" {
			return nil, fmt.Errorf("remote_policies: policy type is required in %s", s)
		}
		if p.Type != "System" && p.Type != "Custom" {
			return nil, fmt.Errorf(`remote_policies: the type in %q must be System or Custom`, s)
		}
		policies = append(policies, p)
	}
	return policies, nil
}

// resourceGroupID has the form of all ids that Alibaba Cloud shows.
var resourceGroupID = regexp.MustCompile(`^rg-[A-Za-z0-9]{1,61}$`)

// checkResourceGroup says what is wrong with the id of a resource group. Its errors
// go on from the name of a field.
func checkResourceGroup(id string) error {
	switch {
	case resourceGroupID.MatchString(id):
		return nil
	case id == "":
		return errors.New("is empty: leave it out to grant in the whole account")
	case strings.Trim(id, "0123456789") == "":
		return fmt.Errorf("is the id of an account, %s: leave it out to grant in the whole account", id)
	case policy.Templated(id):
		return errors.New("has braces of an identity template, and nothing fills them in here: write the id of one resource group")
	}
	return fmt.Errorf("must be the id of a resource group, such as rg-acfmxazb4ph6aiy, and not its name: it is %q. aliyun resourcemanager ListResourceGroups lists the ids", id)
}

func (r *role) checkResourceGroup() error {
	if r.ResourceGroup == "" {
		return nil
	}
	if err := checkResourceGroup(r.ResourceGroup); err != nil {
		return fmt.Errorf("resource_group %w", err)
	}
	return nil
}

// elsewhere is what a role grants in a resource group or in another account only. It
// is stored apart: Vault's built-in engine, and a version of this one that knows
// neither, would grant it in the whole account of the mount.
type elsewhere struct {
	RemotePolicies []ram.Policy   `json:"remote_policies,omitempty"`
	InlinePolicies []inlinePolicy `json:"inline_policies,omitempty"`
	RAMGroups      []string       `json:"ram_groups,omitempty"`
}

// storedRole is the form of a role in storage.
type storedRole struct {
	plainRole
	Elsewhere *elsewhere `json:"granted_elsewhere,omitempty"`
}

// plainRole is a role without its methods.
type plainRole role

// MarshalJSON keeps apart what is granted elsewhere.
func (r role) MarshalJSON() ([]byte, error) {
	var apart elsewhere
	stored := storedRole{plainRole: plainRole(r)}
	away := !r.accountRole.none()
	apart.RemotePolicies, stored.RemotePolicies = takenOut(r.RemotePolicies, func(p ram.Policy) bool { return away || p.ResourceGroup != "" })
	apart.InlinePolicies, stored.InlinePolicies = takenOut(r.InlinePolicies, func(inlinePolicy) bool { return away || r.ResourceGroup != "" })
	apart.RAMGroups, stored.RAMGroups = takenOut(r.RAMGroups, func(string) bool { return away })
	if len(apart.RemotePolicies)+len(apart.InlinePolicies)+len(apart.RAMGroups) > 0 {
		stored.Elsewhere = &apart
	}
	return json.Marshal(stored)
}

// takenOut are the elements that are to be stored apart, and the others, which are
// the list itself where there is none.
func takenOut[E any](list []E, apart func(E) bool) (out, rest []E) {
	rest = []E{}
	for _, e := range list {
		if apart(e) {
			out = append(out, e)
		} else {
			rest = append(rest, e)
		}
	}
	if len(out) == 0 {
		return nil, list
	}
	return out, rest
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *role) UnmarshalJSON(raw []byte) error {
	var stored storedRole
	if err := json.Unmarshal(raw, &stored); err != nil {
		return err
	}
	*r = role(stored.plainRole)
	if apart := stored.Elsewhere; apart != nil {
		r.RemotePolicies = append(r.RemotePolicies, apart.RemotePolicies...)
		r.InlinePolicies = append(r.InlinePolicies, apart.InlinePolicies...)
		r.RAMGroups = append(r.RAMGroups, apart.RAMGroups...)
	}
	return nil
}

func (r *role) checkRemotePolicies() error {
	for n, p := range r.RemotePolicies {
		if err := policy.CheckIdentityTemplate(p.Name); err != nil {
			return fmt.Errorf("remote_policies[%d] %w", n, err)
		}
	}
	return nil
}

// inlineData returns the documents as JSON values; numbers keep their digits.
func (r *role) inlineData() []map[string]interface{} {
	if r.InlinePolicies == nil {
		return nil
	}
	list := make([]map[string]interface{}, len(r.InlinePolicies))
	for i, p := range r.InlinePolicies {
		var document interface{}
		_ = jsonutil.DecodeJSON(p.PolicyDocument, &document) // readRole has looked at it
		list[i] = map[string]interface{}{"hash": p.Hash, "policy_document": document}
	}
	return list
}

// doubts warn of documents that RAM will most likely refuse when they are used.
func (r *role) doubts() (warnings []string) {
	doubt := func(name, document string) {
		if found := policy.Doubt(document); document != "" && found != "" {
			warnings = append(warnings, fmt.Sprintf("%s %s. RAM will most likely refuse it when credentials are read", name, found))
		}
	}
	for n, p := range r.InlinePolicies {
		doubt(fmt.Sprintf("inline_policies[%d]", n), string(p.PolicyDocument))
	}
	for n, p := range r.RemotePolicies {
		if policy.TemplateAlone(p.Name) {
			warnings = append(warnings, fmt.Sprintf("remote_policies[%d] is an identity template and nothing else: whoever can choose its value can choose any policy of the account. "+
				"Give the name a part of its own, such as name:team-{{identity.entity.metadata.team}}", n))
		}
	}
	doubt("policy", r.Policy)
	doubt("trust_policy", r.TrustPolicy)
	return warnings
}
