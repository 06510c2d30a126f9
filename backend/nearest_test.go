package backend

import "testing"

// A slip of the finger is found, another word is not.
func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"access_key", "ci", "deploy", "expire_with_lease", "policy", "region", "ttl"}
	for name, want := range map[string]string{
		"deply": "deploy", "depoly": "deploy", "deployy": "deploy", "DEPLOY": "deploy", "regoin": "region", "tll": "ttl",
		"access-key": "access_key", "AccessKey": "access_key", "expirewithleas": "expire_with_lease", "cj": "ci",
		"": "", "x": "", "prod": "", "destroy": "", "polonaise": "", "secret_key": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("%q is taken for %q, want %q", name, got, want)
		}
	}
	if got := nearest("deploy", nil); got != "" {
		t.Errorf("%q is near to nothing", got)
	}
}
