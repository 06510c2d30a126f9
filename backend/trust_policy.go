package backend

import (
	"encoding/json"
	"slices"
	"strings"
)

// trusts tells whether a trust policy lets a principal assume its role. It says
// so only of what is plain: a condition, a wildcard or a form that is not known
// makes it "unknown".
func trusts(document, principal, account string) string {
	var d struct {
		Version   string
		Statement []struct {
			Effect, Sid       string
			Action, Principal any
			Condition         map[string]any
		}
	}
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&d) != nil {
		return checkUnknown
	}
	result, doubt := checkNo, false
	for _, s := range d.Statement {
		byRAM := map[string]any{"RAM": s.Principal} // a wildcard, if it is no map
		if kinds, ok := s.Principal.(map[string]any); ok {
			byRAM = kinds
		}
		named, sure := among(byRAM["RAM"], principal, "acs:ram::"+account+":root")
		does, sureToo := among(s.Action, "sts:AssumeRole", "sts:*", "*")
		if !named || !does {
			continue
		}
		sure = sure && sureToo && len(s.Condition) == 0
		switch {
		case s.Effect == "Deny" && sure:
			return checkNo
		case s.Effect == "Allow" && sure:
			result = checkYes
		case s.Effect == "Allow" && result == checkNo:
			result = checkUnknown
		case s.Effect != "Allow":
			doubt = true
		}
	}
	if doubt && result == checkYes {
		return checkUnknown
	}
	return result
}

// among tells whether a JSON value, a text or a list of texts, has one of the
// names, or may have: letters of another case and wildcards are not sure.
func among(value any, names ...string) (found, sure bool) {
	list, ok := value.([]any)
	if !ok && value != nil {
		list = []any{value}
	}
	sure = true
	for _, v := range list {
		text, ok := v.(string)
		switch {
		case !ok:
			sure = false
		case slices.Contains(names, text):
			return true, true
		case strings.Contains(text, "*") || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, text) }):
			sure = false
		}
	}
	return !sure, sure
}
