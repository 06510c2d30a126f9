package backend

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// verbs are the commands of Vault's CLI for the operations of a person. Of one
// kind of write a path may have two.
var verbs = map[logical.Operation]string{
	logical.ReadOperation: "read", logical.CreateOperation: "write", logical.UpdateOperation: "write",
	logical.DeleteOperation: "delete", logical.ListOperation: "list",
}

// unsupported says what a path that there is takes, or which path was probably
// meant by one that there is not. It is nil where the framework knows what to do.
func (b *backend) unsupported(path *framework.Path, req *logical.Request) error {
	verb, ofPerson := verbs[req.Operation]
	switch {
	case !ofPerson:
		return nil
	case path == nil:
		return b.unsupportedPath(req, verb)
	case path.Operations[req.Operation] != nil:
		return nil
	}
	var takes []string
	for operation := range path.Operations {
		takes = append(takes, verbs[operation])
	}
	slices.Sort(takes)
	takes = slices.Compact(takes)
	if verb == "write" && slices.Equal(takes, []string{"list"}) {
		return hinted{logical.ErrUnsupportedOperation, http.StatusMethodNotAllowed,
			fmt.Sprintf("the name is missing: vault write %s%s/<name>", b.mountPath(), strings.TrimSuffix(req.Path, "/"))}
	}
	command := strings.Replace(takes[0], "write", "write -f", 1)
	return hinted{logical.ErrUnsupportedOperation, http.StatusMethodNotAllowed,
		fmt.Sprintf("%s takes %s, and no %s, for example: vault %s %s%s", req.Path, strings.Join(takes, " and "), verb, command, b.mountPath(), req.Path)}
}

// hinted is an error of the framework with what to do.
type hinted struct {
	error
	status int
	hint   string
}

func (h hinted) Error() string { return h.error.Error() + ": " + h.hint }

// Code is the HTTP status, which Vault takes from here.
func (h hinted) Code() int { return h.status }

// Unwrap returns the error of the framework.
func (h hinted) Unwrap() error { return h.error }

// unsupportedPath is nil for reads, which are Vault's 404.
func (b *backend) unsupportedPath(req *logical.Request, verb string) error {
	if verb != "write" {
		return nil
	}
	first, rest, more := strings.Cut(req.Path, "/")
	var known []string
	for _, path := range b.Paths {
		// The part of the pattern before the name, or all of it.
		prefix, _, named := strings.Cut(strings.Trim(path.Pattern, "^$?"), "(?P<")
		prefix = strings.TrimSuffix(prefix, "/")
		if named && more && prefix == first {
			return hinted{logical.ErrUnsupportedPath, http.StatusNotFound,
				fmt.Sprintf("a name has letters, digits and any of _ - . only, and begins and ends with a letter, a digit or _: %s", req.Path)}
		}
		known = append(known, prefix)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	meant := nearest(req.Path, known)
	if near := nearest(first, known); meant == "" && near != "" {
		meant = near
		if more {
			meant += "/" + rest
		}
	}
	if meant != "" && meant != req.Path {
		return hinted{logical.ErrUnsupportedPath, http.StatusNotFound, fmt.Sprintf("did you mean %s%s?", b.mountPath(), meant)}
	}
	return hinted{logical.ErrUnsupportedPath, http.StatusNotFound,
		fmt.Sprintf("the paths here are %s: see vault path-help %s", strings.Join(known, ", "), b.mountPath())}
}
