package alisim

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const stsVersion = "2015-04-01"

// maxSessionPolicy is the length of the Policy parameter, in characters.
const maxSessionPolicy = 2048

func stsActions() []action {
	return []action{
		{
			service: "Sts", version: stsVersion, name: "AssumeRole", writes: true,
			required: []string{"RoleArn", "RoleSessionName"}, handle: assumeRole,
		},
		{service: "Sts", version: stsVersion, name: "GetCallerIdentity", bearer: true, handle: getCallerIdentity},
	}
}

var (
	roleARNPattern     = regexp.MustCompile(`^acs:ram::([0-9]+):role/([A-Za-z0-9._-]{1,64})$`)
	sessionNamePattern = regexp.MustCompile(`^[a-zA-Z0-9.@_-]{2,64}$`)
	externalIDPattern  = regexp.MustCompile(`^[\w+=,.@:/-]{2,1000}[\w+=,.@:/-]{0,224}$`)
	serialPattern      = regexp.MustCompile(`^acs:ram::[0-9]+:mfa/[A-Za-z0-9.-]{1,64}$`)
	codePattern        = regexp.MustCompile(`^[0-9]{6}$`)
	sourceIDPattern    = regexp.MustCompile(`^[\w+=,.@:/-]{1,128}$`)
)

// sessionRequest is what AssumeRole and its relatives have in common, checked.
type sessionRequest struct {
	roleARN    string
	accountID  string
	roleName   string
	name       string
	seconds    int
	policyText string
	policy     *document
	sourceID   string
}

// readSessionRequest checks the common parameters. Whether the role allows that many seconds is not known yet.
func readSessionRequest(r *request) (sessionRequest, *problem) {
	in := sessionRequest{roleARN: r.get("RoleArn"), name: r.get("RoleSessionName"), seconds: 3600, policyText: r.get("Policy")}
	parts := roleARNPattern.FindStringSubmatch(in.roleARN)
	if parts == nil {
		return in, wronglyFormed("RoleArn")
	}
	in.accountID, in.roleName = parts[1], parts[2]
	if !sessionNamePattern.MatchString(in.name) {
		return in, wronglyFormed("RoleSessionName")
	}
	if text := r.get("DurationSeconds"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 900 || seconds > 43200 {
			return in, invalidDuration()
		}
		in.seconds = seconds
	}
	if in.policyText != "" {
		if len([]rune(in.policyText)) > maxSessionPolicy {
			return in, refuse(http.StatusBadRequest, "InvalidParameter.PolicySize", "The size of Policy must be smaller than 2048 bytes.")
		}
		d, err := parsePolicy(in.policyText)
		if err != nil {
			return in, refuse(http.StatusBadRequest, "InvalidParameter.PolicyGrammar", "The parameter Policy has not passed grammar check.")
		}
		in.policy = d
	}
	return in, nil
}

// readAssumption checks the parameters that AssumeRole alone has.
func (in *sessionRequest) readAssumption(r *request) *problem {
	for _, p := range []struct {
		name    string
		pattern *regexp.Regexp
	}{
		{"ExternalId", externalIDPattern}, {"SourceIdentity", sourceIDPattern}, {"SerialNumber", serialPattern}, {"TokenCode", codePattern},
	} {
		if text := r.get(p.name); text != "" && !p.pattern.MatchString(text) {
			return wronglyFormed(p.name)
		}
	}
	in.sourceID = r.get("SourceIdentity")
	return nil
}

// invalidDuration is the published text, which names an hour whatever the role allows.
func invalidDuration() *problem {
	return refuse(http.StatusBadRequest, "InvalidParameter.DurationSeconds", "The Min/Max value of DurationSeconds is 15min/1hr.")
}

// roleFor finds the role of a session request.
func (st *store) roleFor(in sessionRequest, now time.Time) (*role, *problem) {
	var found *role
	if a := st.accounts[in.accountID]; a != nil {
		found = a.roles[in.roleName]
	}
	if found == nil || now.Before(found.from) {
		return nil, refuse(http.StatusNotFound, "EntityNotExist.Role", "The specified Role not exists .")
	}
	return found, nil
}

func assumeRole(r *request) (object, *problem) {
	in, refused := readSessionRequest(r)
	if refused == nil {
		refused = in.readAssumption(r)
	}
	if refused != nil {
		return nil, refused
	}
	if r.who.kind == "Account" {
		return nil, refuse(http.StatusForbidden, "NoPermission", "Roles may not be assumed by root accounts.")
	}
	r.env["sts:ExternalId"] = r.get("ExternalId")
	if r.env["sts:ExternalId"] == "" {
		delete(r.env, "sts:ExternalId")
	}
	const message = "You are not authorized to do this action. You should be authorized by RAM."
	resource := strings.Replace(in.roleARN, "acs:ram::", "acs:ram:*:", 1)
	if e := r.store.permits(r.who, "sts:AssumeRole", resource, "", r.env, r.now); e != allowed {
		return nil, noPermission(message, r.who, "sts:AssumeRole", resource, "AccountLevelIdentityBasedPolicy", e)
	}
	target, refused := r.store.roleFor(in, r.now)
	if refused != nil {
		return nil, refused
	}
	if e := target.trust.trusts("RAM", r.who.trustNames(), "sts:AssumeRole", r.env); e != allowed {
		return nil, noPermission(message, r.who, "sts:AssumeRole", resource, "AssumeRolePolicy", e)
	}
	if r.who.sourceID != "" {
		if in.sourceID != "" && in.sourceID != r.who.sourceID {
			return nil, noPermission("The source identity of a session can not be changed.", r.who, "sts:AssumeRole", resource, "AssumeRolePolicy", implicitDeny)
		}
		in.sourceID = r.who.sourceID
	}
	return r.store.issue(target, in, r.now)
}

// issue makes a session of a role and returns the answer that hands it over.
func (st *store) issue(target *role, in sessionRequest, now time.Time) (object, *problem) {
	if in.seconds > target.maxSession {
		return nil, invalidDuration()
	}
	se := &session{
		keyID: newSessionKeyID(), role: target, name: in.name, sourceID: in.sourceID,
		policyText: in.policyText, policy: in.policy,
		// Whole seconds, rounded down: the answer cannot express more.
		expires: now.Add(time.Duration(in.seconds) * time.Second).Truncate(time.Second),
	}
	st.addSession(se, now)
	out := object{
		{"AssumedRoleUser", object{
			{"Arn", "acs:ram::" + target.account.id + ":role/" + target.name + "/" + se.name},
			{"AssumedRoleId", target.id + ":" + se.name},
		}},
		{"Credentials", st.keyFields(se)},
	}
	if se.sourceID != "" {
		out = append(out, field{"SourceIdentity", se.sourceID})
	}
	return out, nil
}

func getCallerIdentity(r *request) (object, *problem) {
	out := object{{"IdentityType", r.who.kind}, {"AccountId", r.who.account}}
	switch r.who.kind {
	case "AssumedRoleUser":
		out = append(out, field{"PrincipalId", r.who.id + ":" + r.who.session}, field{"RoleId", r.who.id})
	default:
		out = append(out, field{"PrincipalId", r.who.id}, field{"UserId", r.who.id})
	}
	return append(out, field{"Arn", r.who.arn()}), nil
}
