package alicreds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

// TestHelpPage wants a heading for every anchor that Help can return, and
// none beside.
func TestHelpPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/alicreds-troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	for _, heading := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(string(page), -1) {
		headings = append(headings, strings.ReplaceAll(strings.ToLower(heading[1]), " ", "-")) // as GitHub does
	}
	want := providerNames()
	for _, class := range helpClasses() {
		want = append(want, class.anchor)
		for _, code := range class.codes {
			if !strings.Contains(string(page), "`"+code) {
				t.Errorf("the page does not name %s", code)
			}
		}
	}
	slices.Sort(headings)
	slices.Sort(want)
	if !slices.Equal(headings, want) {
		t.Errorf("the page has  %q\nHelp returns %q", headings, want)
	}
	for _, link := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(string(page), -1) {
		if !slices.Contains(headings, link[1]) {
			t.Errorf("the page links to #%s in vain", link[1])
		}
	}
}

// TestHelpPageQuotes wants messages that the page quotes to be in the code.
func TestHelpPageQuotes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/alicreds-troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	// What Go and the operating system say, commands, and settings.
	known := "no such host, i/o timeout, connection refused, certificate signed by unknown authority, permission denied, enable = false"
	for _, pattern := range []string{"*.go", "openapi/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			known += string(source)
		}
	}
	prose := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(string(page), "")
	for _, span := range regexp.MustCompile("`([a-z][^`]* [^`]*)`").FindAllStringSubmatch(prose, -1) {
		text := strings.ReplaceAll(span[1], "\n", " ")
		if command, _, _ := strings.Cut(text, " "); slices.Contains([]string{"aliyun", "curl", "ls", "chronyc"}, command) {
			continue
		}
		for _, part := range regexp.MustCompile(`\.\.\.|<[^>]*>`).Split(text, -1) {
			if !strings.Contains(known, strings.TrimSpace(part)) {
				t.Errorf("nothing says %q", text)
			}
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	refused := func(status int, code string) error {
		return &openapi.Error{Action: "AssumeRole", Code: code, Status: status}
	}
	unreachable := &openapi.NetworkError{Action: "AssumeRole", Host: "sts.aliyuncs.com", Err: errors.New("timed out")}
	_, ended := parseExpiration("2001-01-01T00:00:00Z")
	for name, c := range map[string]struct {
		err     error
		anchor  string
		printed bool
	}{
		"clock":               {refused(400, "InvalidTimeStamp.Expired"), "#clock", true},
		"ended":               {fmt.Errorf("AssumeRole: %w", ended), "#clock", true},
		"accesskey":           {refused(404, "InvalidAccessKeyId.NotFound"), "#accesskey", true},
		"accesskey, bare":     {refused(404, "InvalidAccessKeyId"), "#accesskey", true},
		"signature":           {refused(400, "SignatureDoesNotMatch"), "#signature", true},
		"security token":      {refused(400, "InvalidSecurityToken.Expired"), "#security-token", true},
		"no token":            {refused(400, "MissingSecurityToken"), "#security-token", true},
		"no token, by name":   {&openapi.Error{Code: "MissingParameter", Status: 400, Message: `The input parameter "SecurityToken" that is mandatory for processing this request is not supplied.`}, "#security-token", true},
		"another parameter":   {&openapi.Error{Code: "MissingParameter", Status: 400, Message: `The input parameter "RoleArn" that is mandatory for processing this request is not supplied.`}, "#ram_role_arn", false},
		"inactive, field":     {refused(404, "Inactive"), "#inactive", true},
		"inactive, table":     {refused(403, "Inactive"), "#inactive", true},
		"no RAM support":      {refused(403, "Forbidden.RAM"), "#no-permission", true},
		"no permission":       {refused(403, "NoPermission"), "#no-permission", true},
		"access by CloudSSO":  {&openapi.Error{Action: cloudSSOAction, Code: "NoPermission", Status: 403}, "#cloud_sso", true},
		"trust of OIDC":       {refused(403, "AuthenticationFail.NoPermission"), "#no-permission", true},
		"OIDC token":          {refused(401, "AuthenticationFail.OIDCToken.Expired"), "#oidc-token", true},
		"role":                {refused(404, "EntityNotExist.Role"), "#role-not-found", true},
		"duration":            {refused(400, "InvalidParameter.DurationSeconds"), "#duration", true},
		"login":               {refused(400, "invalid_grant"), "#log-in-again", true},
		"login over":          {refused(400, "expired_token"), "#log-in-again", true},
		"CloudSSO login over": {&openapi.Error{Action: cloudSSOAction, Code: "AnyError", Status: 401}, "#log-in-again", true},
		"OAuth login over":    {&openapi.Error{Action: oauthExchangeAction, Status: 401}, "#log-in-again", true},
		"STS, 401":            {refused(401, "AuthenticationFail.X"), "#ram_role_arn", false},
		"throttled by code":   {refused(400, "Throttling.User"), "#throttled", true},
		"throttled by status": {refused(302, ""), "#throttled", true},
		"foreign answer":      {refused(200, ""), "#foreign-answer", true},
		"no answer":           {unreachable, "#no-answer", true},
		"sent twice":          {refused(400, "SignatureNonceUsed"), "#no-answer", true},
		"given up":            {fmt.Errorf("%w: %w", refused(400, "Throttling"), context.DeadlineExceeded), "#throttled", true},
		"cancelled":           {&openapi.NetworkError{Err: context.Canceled}, "#ram_role_arn", false},
		"other refusal":       {refused(400, "InvalidParameter.RoleArn"), "#ram_role_arn", false},
		"not set up":          {fmt.Errorf("%w: %w", ErrUnavailable, unreachable), "#ram_role_arn", false},
		"configuration":       {errors.New("the role ARN is empty"), "#ram_role_arn", false},
		"source":              {setUp{failed(typeEnvironment, "%w: no keys", ErrUnavailable)}, "#env", false},
		"source refused":      {setUp{&Error{Source: typeOIDCRoleARN, Err: refused(403, "NoPermission")}}, "#no-permission", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failure := &Error{Source: typeRAMRoleARN + "/" + typeAccessKey, Err: c.err}
			if got := failure.Help(); got != helpPage+c.anchor {
				t.Errorf("Help() = %s, want %s", got, c.anchor)
			}
			text := failure.Error()
			if n := strings.Count(text, helpPage); c.printed != (n == 1) || c.printed != strings.HasSuffix(text, " (see "+failure.Help()+")") {
				t.Errorf("printed %d times: %s", n, text)
			}
		})
	}
}

// TestHelpOfChains names the member that is set up and fails, and the chain
// when none is set up.
func TestHelpOfChains(t *testing.T) {
	t.Parallel()
	absent := failed(typeEnvironment, "%w: no keys", ErrUnavailable)
	broken := failed(typeOIDCRoleARN, "the role ARN is empty")
	for want, attempts := range map[string][]error{
		"#default":       {absent, failed(typeECSRAMRole, "%w: no role", ErrUnavailable)},
		"#oidc_role_arn": {absent, broken},
		"#throttled":     {absent, &Error{Source: typeOIDCRoleARN, Err: &openapi.Error{Status: 429}}},
	} {
		failure := &Error{Source: typeDefault, Err: &ChainError{Attempts: attempts}}
		if got := failure.Help(); got != helpPage+want {
			t.Errorf("Help() = %s, want %s", got, want)
		}
	}
	own := &Error{Source: "vault", Err: errors.New("sealed")}
	if got := own.Help(); got != helpPage {
		t.Errorf("Help() of a provider of the caller's own = %s", got)
	}
}
