package rotation

import (
	"errors"
	"fmt"
)

// ErrKeyGone says that a rotation was overtaken by a write of what it rotates.
var ErrKeyGone = errors.New("the key was replaced or removed while it was being rotated")

// Refusal is an answer to the user: what is asked for cannot be done as things
// are. It says what to do, and to ask again without that is of no use.
type Refusal struct{ text string }

func (r *Refusal) Error() string { return r.text }

// Refuse makes a Refusal.
func Refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }
