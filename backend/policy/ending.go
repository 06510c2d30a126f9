package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// allowAll is the session policy that takes nothing from the RAM role.
const allowAll = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// EndingAt adds a condition on acs:CurrentTime to every Allow of a session
// policy, so that the session can do nothing after end, however long its keys
// last. An empty document stands for one that allows everything. EndingAt
// refuses what RAM might read as an Allow and it does not.
func EndingAt(document string, end time.Time) (string, error) {
	if document == "" {
		document = allowAll
	}
	var value any
	if err := decode(document, &value); err != nil {
		return "", err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return "", errors.New("the session policy is not an object")
	}
	if err := exactKeys(object, "Version", "Statement"); err != nil {
		return "", fmt.Errorf("the session policy %w", err)
	}
	statements, ok := object["Statement"].([]any)
	if !ok {
		statements = []any{object["Statement"]} // a single statement may stand alone
		object["Statement"] = statements
	}
	for i, s := range statements {
		statement, ok := s.(map[string]any)
		if !ok {
			return "", fmt.Errorf("statement %d of the session policy is not an object", i)
		}
		if err := endStatement(statement, end.UTC().Format(time.RFC3339)); err != nil {
			return "", fmt.Errorf("statement %d of the session policy %w", i, err)
		}
	}
	ending, err := encode(object)
	if n := utf8.RuneCountInString(ending); err == nil && n > MaxSession {
		err = fmt.Errorf("the session policy has %d characters with the condition of expire_with_lease; the limit is %d", n, MaxSession)
	}
	return ending, err
}

// endStatement adds the condition to an Allow.
func endStatement(statement map[string]any, end string) error {
	if err := exactKeys(statement, "Effect", "Condition"); err != nil {
		return err
	}
	effect, _ := statement["Effect"].(string)
	switch {
	case strings.EqualFold(effect, "Deny"):
		return nil
	case !strings.EqualFold(effect, "Allow"):
		return errors.New("has an Effect that is neither Allow nor Deny")
	}
	if statement["Condition"] == nil {
		statement["Condition"] = map[string]any{}
	}
	conditions, ok := statement["Condition"].(map[string]any)
	if !ok {
		return errors.New("has a Condition that is not an object")
	}
	return endBefore(conditions, end)
}

// endBefore adds the condition under an operator that has none on
// acs:CurrentTime yet. Both operators may be there: all conditions of a
// statement have to hold.
func endBefore(conditions map[string]any, end string) error {
	for _, operator := range []string{"DateLessThan", "DateLessThanEquals"} {
		name := keyInAnyCase(conditions, operator)
		if name != operator && conditions[operator] != nil {
			return fmt.Errorf("has the condition %s twice", operator)
		}
		if conditions[name] == nil {
			conditions[name] = map[string]any{}
		}
		keys, ok := conditions[name].(map[string]any)
		if !ok {
			return fmt.Errorf("has a condition %s that is not an object", operator)
		}
		if keys[keyInAnyCase(keys, "acs:CurrentTime")] == nil {
			keys["acs:CurrentTime"] = end
			return nil
		}
	}
	return errors.New("has conditions on acs:CurrentTime with DateLessThan and DateLessThanEquals already, which leaves none for expire_with_lease")
}

// exactKeys refuses an object that has one of the keys in letters of another
// case: RAM may heed it, and EndingAt would overlook it.
func exactKeys(object map[string]any, keys ...string) error {
	for _, want := range keys {
		if key := keyInAnyCase(object, want); key != want {
			return fmt.Errorf("has the key %s, which is spelled %s", key, want)
		}
	}
	return nil
}

// keyInAnyCase returns the key of the object that differs from want in the case
// of its letters, and want if there is none.
func keyInAnyCase(object map[string]any, want string) string {
	for key := range object {
		if key != want && strings.EqualFold(key, want) {
			return key
		}
	}
	return want
}
