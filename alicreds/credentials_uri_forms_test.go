package alicreds

import "testing"

// TestRefuseMetadataForms: each form in which an address can reach the dialer.
// How net prints an IPv4 address that came as an IPv6 one is its own affair.
func TestRefuseMetadataForms(t *testing.T) {
	t.Parallel()
	for address, refused := range map[string]bool{
		"100.100.100.200:80":            true,
		"[::ffff:100.100.100.200]:80":   true,
		"[::ffff:6464:64c8]:80":         true,
		"[::ffff:169.254.169.254]:80":   true,
		"[64:ff9b::100.100.100.200]:80": true,
		"[fe80::1%eth0]:80":             true,
		"[fd00:ec2::254]:80":            true,
		"agent:80":                      true, // not resolved: nothing is known about it
		"100.100.100.201:80":            false,
		"[::ffff:100.100.100.201]:80":   false,
		"[64:ff9b::10.0.0.1]:80":        false,
		"[fd00:ec2::253]:80":            false,
		"127.0.0.1:80":                  false,
	} {
		if err := refuseMetadata("tcp", address, nil); (err != nil) != refused {
			t.Errorf("%s: %v, want refused: %t", address, err, refused)
		}
	}
}
