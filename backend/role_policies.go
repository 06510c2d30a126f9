package backend

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
			default:
				return nil, fmt.Errorf("remote_policies: invalid key: %s: the keys are name and type", key)
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
