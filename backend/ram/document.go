package ram

import (
	"context"
	"encoding/json"
	"strings"
)

// Document is a custom policy to be created and attached.
type Document struct {
	Name   string
	Text   string
	Mark   string // description of the policy
	Shared bool   // others may hold it, and may delete it when they go
	Group  string // resource group that it is attached in; "": in the whole account
	Exists bool   // somebody else holds it at the moment
}

// Policy is the policy that the document becomes.
func (d Document) Policy() Policy {
	return Policy{Name: d.Name, Type: "Custom", ResourceGroup: d.Group}
}

func (d Document) entity() Entity { return Entity{CustomPolicy, d.Name} }

// PolicyTaken says that there is a policy of that name which is not the planned
// one, or cannot be told from it: somebody made or changed it who wants its rights
// to be given to others.
type PolicyTaken struct {
	Name string
	Why  string
}

func (t *PolicyTaken) Error() string { return "the custom policy " + t.Name + " " + t.Why }

// ready sees to it that there is the policy, with just this document.
func (c *Client) ready(ctx context.Context, d Document) error {
	if !d.Exists {
		return c.createPolicy(ctx, d)
	}
	err := c.compare(ctx, d)
	switch {
	case NotExist(err):
		return c.createPolicy(ctx, d) // its holder has gone
	case Denied(err):
		return nil // this mount has made it, or would not hold it
	}
	return err
}

// createPolicy creates the policy. One of its name may be there already: that of
// another lease, what an earlier attempt of this call has made, or what somebody
// has put there, who can tell the name from a lease before. RAM may take a while
// to show what was created a moment ago, and to forget what was deleted.
func (c *Client) createPolicy(ctx context.Context, d Document) error {
	there := false // perhaps made by an earlier attempt
	return Eventually(ctx, "EntityNotExist.Policy", func() error {
		err := c.Call(ctx, true, "CreatePolicy", map[string]string{
			"PolicyName": d.Name, "PolicyDocument": d.Text, "Description": d.Mark,
		}, nil)
		switch {
		case err == nil:
			return nil
		case alreadyThere(err, "Policy") != nil && there:
			return err
		case alreadyThere(err, "Policy") != nil:
			return unmade(d.entity(), err)
		}
		there = true
		err = c.compare(ctx, d)
		switch {
		case Denied(err) && !d.Shared:
			return nil // the name is random: nobody else has it
		case Denied(err):
			return &PolicyTaken{d.Name, "exists already, and ram:GetPolicy is not allowed, which would show whether it has the document of the role"}
		}
		return err
	})
}

// compare holds the default version of the policy against the document.
func (c *Client) compare(ctx context.Context, d Document) error {
	var out struct {
		DefaultPolicyVersion struct{ PolicyDocument string }
	}
	err := c.Call(ctx, true, "GetPolicy", map[string]string{"PolicyName": d.Name, "PolicyType": "Custom"}, &out)
	if err == nil && !sameDocument(out.DefaultPolicyVersion.PolicyDocument, d.Text) {
		return &PolicyTaken{d.Name, "exists already, with another document than that of the role: somebody else has made or changed it"}
	}
	return err
}

// sameDocument compares two policy documents as JSON. What is no JSON, or names a
// member twice, is like nothing: RAM may read it otherwise.
func sameDocument(a, b string) bool {
	one, other := canonical(a), canonical(b)
	return one != "" && one == other
}

// canonical is the document without white space and with its members in order; ""
// where it is not one value, or something would get lost.
func canonical(document string) string {
	var value any
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil {
		return ""
	}
	text, err := json.Marshal(value)
	if err != nil || tokens(document) != tokens(string(text)) {
		return ""
	}
	return string(text)
}

// tokens counts those of all values in the text, to its end or what is no JSON.
func tokens(text string) (n int) {
	decoder := json.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); err != nil {
			return n
		}
		n++
	}
}
