package backend

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
)

// field is one line in the table of a path that keeps a T: the schema of the
// field, how a write takes it, how a read answers it, and what may be in it.
type field[T any] struct {
	name     string
	schema   framework.FieldSchema
	text     func(*T) *string             // where a text is kept
	set      func(to *T, value any) error // of a write that gives the field; nil: it is not kept
	get      func(of *T) any              // nil: it is never read back
	answered framework.FieldType          // type in an answer, where that is another than in a request
	check    func(of *T) error            // of what is about to be stored; nil: anything goes
	readOnly bool                         // not a field of requests
	unused   string                       // said to a write that gives it to a type without a use for it, with %s for the type
}

// fields is the table of a path. Requests are taken, and checked, in its order.
type fields[T any] []field[T]

// text is a field of white space trimmed text.
func text[T any](name string, at func(*T) *string, description string) field[T] {
	return field[T]{
		name: name, schema: framework.FieldSchema{Type: framework.TypeString, Description: description}, text: at,
		set: func(to *T, value any) error { *at(to) = strings.TrimSpace(value.(string)); return nil },
		get: func(of *T) any { return *at(of) },
	}
}

// secret is a text that is never read back.
func secret[T any](name string, at func(*T) *string, description string) field[T] {
	f := text(name, at, description)
	f.schema.DisplayAttrs = &framework.DisplayAttributes{Sensitive: true}
	f.get = nil
	return f
}

// seconds is a duration, which is answered in whole seconds.
func seconds[T any](name string, at func(*T) *time.Duration, description string) field[T] {
	return field[T]{
		name: name, schema: framework.FieldSchema{Type: framework.TypeDurationSecond, Description: description},
		set:      func(to *T, value any) error { *at(to) = time.Duration(value.(int)) * time.Second; return nil },
		get:      func(of *T) any { return int64(*at(of) / time.Second) },
		answered: framework.TypeInt64,
	}
}

func boolean[T any](name string, at func(*T) *bool, description string) field[T] {
	return field[T]{
		name: name, schema: framework.FieldSchema{Type: framework.TypeBool, Description: description},
		set: func(to *T, value any) error { *at(to) = value.(bool); return nil },
		get: func(of *T) any { return *at(of) },
	}
}

// list is a list of texts. Empty ones are left out.
func list[T any](name string, at func(*T) *[]string, description string) field[T] {
	return field[T]{
		name: name, schema: framework.FieldSchema{Type: framework.TypeCommaStringSlice, Description: description},
		set: func(to *T, value any) error {
			*at(to) = slices.DeleteFunc(value.([]string), func(s string) bool { return s == "" })
			return nil
		},
		get: func(of *T) any { return append([]string{}, *at(of)...) },
	}
}

// parameter is a field of the request alone, which is not kept.
func parameter[T any](name string, kind framework.FieldType, description string) field[T] {
	return field[T]{name: name, schema: framework.FieldSchema{Type: kind, Description: description}}
}

// derived is a text of answers alone.
func derived[T any](name string, get func(*T) string, description string) field[T] {
	return field[T]{
		name: name, schema: framework.FieldSchema{Type: framework.TypeString, Description: description}, readOnly: true,
		get: func(of *T) any { return get(of) },
	}
}

// checked adds a check.
func (f field[T]) checked(check func(of *T) error) field[T] {
	f.check = check
	return f
}

// answers makes a read answer another value than the one that is kept.
func (f field[T]) answers(get func(of *T) any) field[T] {
	f.get = get
	return f
}

// refusedIfUnused refuses the field in a write to a type that does not use it.
func refusedIfUnused[T any](f field[T], refusal string) field[T] {
	f.unused = refusal
	return f
}

// given tells whether a write gives the field another value than its default.
func (f field[T]) given(data *framework.FieldData) bool {
	switch v, _ := data.GetOk(f.name); v := v.(type) {
	case []string:
		return len(v) > 0
	case string:
		return strings.TrimSpace(v) != ""
	case int:
		return v != 0
	case bool:
		return v != (f.schema.Default == true)
	}
	return false
}

// from lists the values that the field may have, for generated clients.
func (f field[T]) from(values ...string) field[T] {
	for _, v := range values {
		f.schema.AllowedValues = append(f.schema.AllowedValues, v)
	}
	return f
}

// within makes fields of a part fields of the whole that has it.
func within[T, U any](part fields[T], at func(*U) *T) fields[U] {
	whole := make(fields[U], len(part))
	for n, f := range part {
		g := field[U]{name: f.name, schema: f.schema, answered: f.answered, unused: f.unused}
		if f.set != nil {
			g.set = func(to *U, value any) error { return f.set(at(to), value) }
		}
		if f.get != nil {
			g.get = func(of *U) any { return f.get(at(of)) }
		}
		if f.check != nil {
			g.check = func(of *U) error { return f.check(at(of)) }
		}
		whole[n] = g
	}
	return whole
}

// without leaves fields out.
func (fs fields[T]) without(names ...string) fields[T] {
	return slices.DeleteFunc(slices.Clone(fs), func(f field[T]) bool { return slices.Contains(names, f.name) })
}

// only picks fields that each answer of some other path has.
func (fs fields[T]) only(names ...string) fields[T] {
	fs = slices.DeleteFunc(slices.Clone(fs), func(f field[T]) bool { return !slices.Contains(names, f.name) })
	for n := range fs {
		fs[n].schema.Required = true
	}
	return fs
}

// saying adds to the description of a field.
func (fs fields[T]) saying(name, more string) fields[T] {
	fs = slices.Clone(fs)
	for n := range fs {
		if fs[n].name == name {
			fs[n].schema.Description += " " + more
		}
	}
	return fs
}

// schemas are what the framework wants of a path.
func (fs fields[T]) schemas() map[string]*framework.FieldSchema {
	schemas := make(map[string]*framework.FieldSchema, len(fs))
	for _, f := range fs {
		if !f.readOnly {
			schemas[f.name] = &f.schema
		}
	}
	return schemas
}

// response are the schemas of what read answers.
func (fs fields[T]) response() map[string]*framework.FieldSchema {
	schemas := map[string]*framework.FieldSchema{}
	for _, f := range fs {
		if f.get != nil {
			if f.answered != 0 {
				f.schema.Type = f.answered
			}
			schemas[f.name] = &f.schema
		}
	}
	return schemas
}

// update takes the fields of a write; those that are not given keep their value.
func (fs fields[T]) update(to *T, data *framework.FieldData) error {
	for _, f := range fs {
		if f.set == nil {
			continue
		}
		if value, given := data.GetOk(f.name); given {
			if err := f.set(to, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// read answers what is kept and not secret.
func (fs fields[T]) read(of *T) map[string]interface{} {
	data := map[string]interface{}{}
	for _, f := range fs {
		if f.get != nil {
			data[f.name] = f.get(of)
		}
	}
	return data
}

// validate returns what the first field that is wrong must be.
func (fs fields[T]) validate(of *T) error {
	for _, f := range fs {
		if f.check == nil {
			continue
		}
		if err := f.check(of); err != nil {
			return err
		}
	}
	return nil
}
