package backend

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
)

// wrongType says which field of a request has a value of another kind than it
// takes, "" where none has. The framework would say so in the words of Go, and
// quote the value, which may be a key or a policy.
func wrongType(path *framework.Path, data map[string]interface{}) string {
	given := framework.FieldData{Raw: data, Schema: path.Fields}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		schema := path.Fields[name]
		if schema == nil {
			continue
		}
		switch schema.Type {
		case framework.TypeString, framework.TypeLowerCaseString:
			switch data[name].(type) {
			case map[string]interface{}, []interface{}:
				return fmt.Sprintf("%s must be a string, and not a list or an object: a JSON document is given as a text that holds it", name)
			}
		case framework.TypeBool, framework.TypeInt, framework.TypeDurationSecond:
			if _, _, err := given.GetOkErr(name); err != nil {
				return fmt.Sprintf("%s must be %s", name, forms[schema.Type]) + negative(err)
			}
		}
	}
	return ""
}

// forms are how values of a type are written.
var forms = map[framework.FieldType]string{
	framework.TypeBool:           "true or false",
	framework.TypeInt:            "a whole number",
	framework.TypeDurationSecond: "a duration: a number of seconds, or numbers with s, m, h or d, such as 15m, 1h30m or 30d",
}

func negative(err error) string {
	if strings.Contains(err.Error(), "negative") {
		return ", and not negative"
	}
	return ""
}
