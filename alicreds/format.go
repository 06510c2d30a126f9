package alicreds

import "fmt"

// Providers print the way that their credentials come, in the words of
// Credentials.Source, and nothing of what they hold: not even with %#v.

// String is the type.
func (AccessKey) String() string { return typeAccessKey }

// String is the type.
func (STS) String() string { return typeSTS }

// String is the type.
func (Environment) String() string { return typeEnvironment }

// String is the type.
func (OIDCRoleARN) String() string { return typeOIDCRoleARN }

// String is the type.
func (ECSRAMRole) String() string { return typeECSRAMRole }

// String is the type.
func (RSAKeyPair) String() string { return typeRSAKeyPair }

// String is the type.
func (CredentialsURI) String() string { return typeCredentialsURI }

// String is the type.
func (Bearer) String() string { return typeBearer }

// String is the type.
func (CLIProfile) String() string { return typeCLIProfile }

// String is the type.
func (Profile) String() string { return typeProfile }

// String is the type.
func (CloudSSO) String() string { return typeCloudSSO }

// String is the type.
func (OAuth) String() string { return typeOAuth }

// String is the type.
func (External) String() string { return typeExternal }

// String names the source, too.
func (p RAMRoleARN) String() string {
	switch source := p.source.(type) {
	case nil:
		return typeRAMRoleARN
	case fmt.Stringer:
		return typeRAMRoleARN + "/" + source.String()
	default:
		return fmt.Sprintf("%s/%T", typeRAMRoleARN, source)
	}
}

// String counts the members.
func (c *Chain) String() string { return fmt.Sprintf("Chain of %d", len(c.members)) }

// String tells nothing of the provider.
func (c *Cache) String() string { return "Cache" }

// Format prints String for every verb.
func (p AccessKey) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p STS) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p Environment) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p OIDCRoleARN) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p ECSRAMRole) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p RSAKeyPair) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p CredentialsURI) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p Bearer) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p CLIProfile) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p Profile) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p CloudSSO) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p OAuth) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p External) Format(f fmt.State, _ rune) { printed(f, p) }

// Format prints String for every verb.
func (p RAMRoleARN) Format(f fmt.State, _ rune) { printed(f, p) }

func printed(f fmt.State, p fmt.Stringer) { _, _ = f.Write([]byte(p.String())) }
