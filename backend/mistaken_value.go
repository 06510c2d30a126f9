package backend

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
)

// ofFiles are the fields whose value is what a file holds, and never its name.
var ofFiles = map[string]string{
	"policy": "a JSON document", "trust_policy": "a JSON document", "inline_policies": "a JSON list",
	"ca_certificate": "PEM", "private_key": "PEM",
}

// fileName looks like the name of a file, and not like what one holds.
var fileName = regexp.MustCompile(`^(\.{0,2}/|~/)?[\w./~-]{1,200}\.(json|pem|crt|cer|key|txt)$`)

// mistakenValue says of a value of the right type that it belongs elsewhere, "" where
// none does: a name of a file for what it holds, an AccessKey ID in the place of its
// secret, a fraction of a second. It quotes names of files only.
func mistakenValue(path *framework.Path, data map[string]interface{}) string {
	for _, name := range slices.Sorted(maps.Keys(data)) {
		text, ok := data[name].(string)
		text = strings.TrimSpace(text)
		if !ok || path.Fields[name] == nil {
			continue
		}
		switch holds := ofFiles[name]; {
		case holds != "" && fileName.MatchString(text):
			return fmt.Sprintf("%s is %s, and the value looks like the name of a file: did you mean %s=@%s?", name, holds, name, text)
		case name == "secret_key" && (strings.HasPrefix(text, "LTAI") || strings.HasPrefix(text, "STS.")):
			return fmt.Sprintf("%s begins as an AccessKey ID does: are access_key and secret_key swapped?", name)
		case path.Fields[name].Type == framework.TypeDurationSecond:
			if d, err := time.ParseDuration(text); err == nil && d%time.Second != 0 {
				return fmt.Sprintf("%s must be whole seconds", name)
			}
		}
	}
	return ""
}
