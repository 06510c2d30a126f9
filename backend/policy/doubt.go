package policy

import (
	"fmt"
	"slices"
	"strings"
)

// keysOfStatement are those of RAM's policy grammar.
var keysOfStatement = []string{"Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition", "Sid"}

// Doubt says what in a document, which Check takes, is not in RAM's policy
// grammar: RAM will most likely refuse it. "" where all is.
func Doubt(document string) string {
	var object map[string]any
	if decode(document, &object) != nil {
		return ""
	}
	statements, several := object["Statement"].([]any)
	if !several {
		statements = []any{object["Statement"]} // a single one may stand alone
	}
	for n, s := range statements {
		if doubt := doubtOf(s); doubt != "" {
			return fmt.Sprintf("has a statement, number %d, that %s", n+1, doubt)
		}
	}
	return ""
}

func doubtOf(value any) string {
	statement, ok := value.(map[string]any)
	if !ok {
		return "is not an object"
	}
	for key := range statement {
		if !slices.Contains(keysOfStatement, key) {
			return fmt.Sprintf("has the key %q: the keys are %s", key, strings.Join(keysOfStatement, ", "))
		}
	}
	switch effect, _ := statement["Effect"].(string); {
	case effect != "Allow" && effect != "Deny":
		return `must have "Effect":"Allow" or "Effect":"Deny"`
	case statement["Action"] == nil && statement["NotAction"] == nil:
		return "has neither Action nor NotAction"
	}
	return ""
}
