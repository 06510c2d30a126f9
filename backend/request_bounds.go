package backend

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// Bounds of a request, in bytes where nothing else is said. Vault lets a request
// have 32 MiB, and what is made of JSON takes many times its length: whoever may
// read one role must not be able to take the memory of the plugin.
const (
	maxPath    = 1 << 10
	maxText    = 8 << 10 // a field
	maxList    = 1000    // entries
	maxRequest = 512 << 10
)

// longTexts are the fields that may have more than maxText: documents as people
// indent them, keys, and tokens.
var longTexts = map[string]int{
	"policy": 64 << 10, "trust_policy": 64 << 10,
	"inline_policies": 256 << 10, // ten documents
	"ca_certificate":  64 << 10, "private_key": 16 << 10,
	"security_token": 64 << 10, "bearer_token": 64 << 10,
	"role_arns": 64 << 10, "remote_policies": 64 << 10,
}

// outOfBounds measures a request before anything of it is trimmed, parsed or
// copied, and says what is too large; "" where nothing is. path may be nil.
// Fields that the path has are measured in the order of their names.
func outOfBounds(path *framework.Path, req *logical.Request) string {
	if n := len(req.Path); n > maxPath {
		return fmt.Sprintf("the path of the request has %d bytes; the limit is %d", n, maxPath)
	}
	if path != nil {
		for _, name := range slices.Sorted(maps.Keys(path.Fields)) {
			value, given := req.Data[name]
			if !given {
				continue
			}
			if n, limit := size(value), cmp.Or(longTexts[name], maxText); n > limit {
				return fmt.Sprintf("%s has %d bytes; the limit is %d", name, n, limit)
			}
			if n := entries(path.Fields[name].Type, value); n > maxList {
				return fmt.Sprintf("%s has %d entries; the limit is %d", name, n, maxList)
			}
		}
	}
	if size(req.Data) > maxRequest {
		return fmt.Sprintf("the fields of the request have more than %d bytes together", maxRequest)
	}
	return ""
}

// size is how many bytes of text a value has, and one more for each value in it.
func size(value any) int {
	n := 1
	switch v := value.(type) {
	case string:
		n = len(v)
	case json.Number:
		n = len(v)
	case []byte:
		n = len(v)
	case []string:
		for _, s := range v {
			n += 1 + len(s)
		}
	case []any:
		for _, e := range v {
			n += size(e)
		}
	case map[string]any:
		for key, e := range v {
			n += len(key) + size(e)
		}
	}
	return n
}

// entries are those that a list would have; 0 for anything else.
func entries(kind framework.FieldType, value any) int {
	switch v := value.(type) {
	case []any:
		return len(v)
	case []string:
		return len(v)
	case map[string]any:
		return len(v)
	case string:
		if kind == framework.TypeCommaStringSlice {
			return strings.Count(v, ",") + 1
		}
	}
	return 0
}
