package alisim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Limits of a request, from the published ones (a GET of 4 KB) or lower (a POST of 1 MiB instead of 10 MB: nothing that
// alisim serves comes near it). The bound of the request line is what web servers commonly have; the cloud's is not known.
const (
	maxQuery       = 4 << 10
	maxBody        = 1 << 20
	maxRequestLine = 8190 // bytes
)

// authKind says how an action wants its caller to be known.
type authKind int

const (
	signed    authKind = iota // V1 or V3, with an access key of the account, of a user or of a session
	anonymous                 // a signature is neither needed nor looked at
)

// action is one row of the table of everything the gateway answers. A new service brings rows; nothing else changes.
type action struct {
	service  string // product: Sts, Ram
	version  string
	name     string
	auth     authKind
	writes   bool                              // changes something; handled under the write lock
	required []string                          // parameters that are mandatory
	bearer   bool                              // takes bearer tokens too
	keyPair  bool                              // takes the signature of a key pair, and no other
	resource func(*request) []string           // what is asked of the policies, without "acs:ram:*:<account>:"; nil: nothing is
	handle   func(*request) (object, *problem) // runs under the lock of the store
	// scope is the resource group in which the right may be held, besides the account; nil: that of the resource.
	scope func(*request) string
	// forbidden is the refusal of a caller who lacks the right; nil: NoPermission, as RAM says it.
	forbidden func() *problem
	// prepare runs before the lock is taken, for what asks other servers; nil: nothing does.
	prepare func(*Server, context.Context, *request) *problem
}

// permission is the action as policies write it.
func (act *action) permission() string {
	prefix := strings.ToLower(act.service)
	if act.service == resourceManager || act.service == identityManagement {
		prefix = "ram" // they have no prefix of their own
	}
	return prefix + ":" + act.name
}

// request is a call that has passed the gateway.
type request struct {
	store    *store
	params   map[string]string
	who      principal
	now      time.Time
	env      environment
	identity *identity // of AssumeRoleWithOIDC
	calls    []Call    // of LookupEvents: what has happened
}

func (r *request) get(name string) string { return r.params[name] }

// account of the caller.
func (r *request) account() *account { return r.store.accounts[r.who.account] }

// message is a request as it came over the wire.
type message struct {
	method string
	path   string
	host   string
	query  url.Values
	header http.Header
	body   []byte
	params map[string]string // query and form
	v3     bool
	action string
	ver    string
	asXML  bool
}

// serveGateway is the door of all RPC style APIs, for every host name.
func (s *Server) serveGateway(w http.ResponseWriter, r *http.Request) {
	c := &Call{
		Time: s.Now(), RequestID: newRequestID(), Host: r.Host, RemoteAddr: r.RemoteAddr,
		Connection: connectionOf(r.Context()), Signature: "anonymous",
	}
	m := &message{}
	deny := func(p *problem) answer {
		if p.code == "InternalError" {
			p.message = internalError(c.Service).message
		}
		product := c.Service
		if product == "" {
			product = s.productOf(c.Host)
		}
		return renderProblem(c.Host, product, c.RequestID, p, m.asXML)
	}
	reject := func(p *problem) {
		a := deny(p)
		c.Params = redact(m.params)
		c.Status, c.Code = a.status, a.code
		s.record(c)
		a.write(w)
	}
	if refused := m.read(r); refused != nil {
		reject(refused)
		return
	}
	c.Action = m.action
	act, refused := s.find(m)
	if refused != nil {
		reject(refused)
		return
	}
	c.Service = act.service
	var sig signature
	who := principal{}
	if act.auth == signed {
		who, sig, refused = s.authenticate(act, m, c)
		if refused != nil {
			reject(refused)
			return
		}
		c.Principal = who.arn()
	}
	s.exchange(w, r, c, door{
		params: m.params,
		deny:   deny,
		caller: who.account,
		apply: func() answer {
			result, refused := s.perform(act, m, r, who, sig)
			if refused != nil {
				return deny(refused)
			}
			c.Applied = act.writes
			return render(act.name, c.RequestID, result, m.asXML)
		},
	})
}

// read takes the request apart and finds out which format the answer must have.
func (m *message) read(r *http.Request) *problem {
	m.method, m.path, m.host, m.header = r.Method, r.URL.EscapedPath(), r.Host, r.Header
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return malformedRequest("InvalidParameter", "The query string is not well formed.")
	}
	m.query = query
	m.params = make(map[string]string, len(query)+4)
	take := func(values url.Values) {
		for name := range values {
			m.params[name] = values.Get(name)
		}
	}
	take(query)
	m.format()
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return gatewayProblem("UnsupportedHTTPMethod")
	}
	if r.Method == http.MethodGet && len(r.URL.RawQuery) > maxQuery {
		return gatewayProblem("RequestTooLarge")
	}
	if r.Body != nil {
		m.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			return gatewayProblem("IncompleteSignature")
		}
	}
	if len(m.body) > maxBody {
		return gatewayProblem("RequestTooLarge")
	}
	if len(m.body) > 0 {
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch kind {
		case "application/x-www-form-urlencoded":
			form, err := url.ParseQuery(string(m.body))
			if err != nil {
				return malformedRequest("InvalidParameter", "The form is not well formed.")
			}
			take(form)
		case "application/json":
			var values map[string]any
			dec := json.NewDecoder(bytes.NewReader(m.body))
			dec.UseNumber() // keep numbers as they are written
			if err := dec.Decode(&values); err != nil {
				return malformedRequest("InvalidParameter", "The body is not a JSON object.")
			}
			for name, value := range values {
				m.params[name] = fmt.Sprint(value)
			}
		default:
			return gatewayProblem("InvalidParameter.ContentType")
		}
		m.format()
	}
	m.action, m.ver = m.params["Action"], m.params["Version"]
	if m.v3 {
		if h := r.Header.Get("X-Acs-Action"); h != "" {
			m.action = h
		}
		if h := r.Header.Get("X-Acs-Version"); h != "" {
			m.ver = h
		}
	}
	return nil
}

// format finds out how the request is signed and in which format its answer must be.
func (m *message) format() {
	// alibaba-cloud-sdk-go signs V1 and yet sends the headers of V3 beside the Action parameter.
	m.v3 = strings.HasPrefix(m.header.Get("Authorization"), "ACS3-") ||
		m.header.Get("X-Acs-Action") != "" && m.params["Action"] == ""
	m.asXML = !m.v3
	if accept := m.header.Get("Accept"); strings.Contains(accept, "json") {
		m.asXML = false
	} else if strings.Contains(accept, "xml") {
		m.asXML = true
	}
	switch strings.ToUpper(m.params["Format"]) {
	case "JSON":
		m.asXML = false
	case "XML":
		m.asXML = true
	}
}

// find looks the action up in the table.
func (s *Server) find(m *message) (*action, *problem) {
	if m.action == "" {
		return nil, missing("Action")
	}
	if m.ver == "" {
		return nil, missing("Version")
	}
	if m.path != "/" && m.path != "" {
		return nil, gatewayProblem("InvalidApi.NotFound")
	}
	act := s.actions[actionKey{m.ver, m.action}]
	switch {
	case act == nil && !s.versions[m.ver]:
		return nil, gatewayProblem("InvalidParameter")
	case act == nil, !servedBy(m.host, act.service):
		return nil, gatewayProblem("InvalidApi.NotFound")
	}
	return act, nil
}

// servedBy says whether a service answers under a host name: sts.cn-beijing.aliyuncs.com, sts-vpc... are Sts, and
// ecs-cn-hangzhou... is Ecs. A host that is not the cloud's, such as 127.0.0.1, serves everything.
func servedBy(host, service string) bool {
	name := hostOf(host)
	if !apiHost(name) {
		return true
	}
	label, _, _ := strings.Cut(name, ".")
	name, service = strings.ToLower(label), strings.ToLower(service)
	return name == service || strings.HasPrefix(name, service+"-")
}

// productOf is the product that answers under a host name; empty if none does, or all do.
func (s *Server) productOf(host string) string {
	for _, act := range s.actions {
		if apiHost(hostOf(host)) && servedBy(host, act.service) {
			return act.service
		}
	}
	return ""
}

// authenticate verifies a signature and everything about the key. The lock of the store is not held while hashes are
// computed.
func (s *Server) authenticate(act *action, m *message, c *Call) (principal, signature, *problem) {
	sig, token, refused := m.readBearer()
	if token != "" {
		c.Signature = sig.scheme
	} else if m.v3 {
		sig, refused = readV3(m.header)
	} else {
		sig, refused = readV1(m.params)
	}
	c.Signature, c.AccessKeyID = sig.scheme, sig.keyID
	if refused != nil {
		return principal{}, sig, refused
	}
	if sig.scheme == "anonymous" {
		return principal{}, sig, missing("AccessKeyId")
	}
	if token != "" && !act.bearer || (sig.kind == "PRIVATEKEY") != act.keyPair {
		return principal{}, sig, invalidSignatureType()
	}
	now := s.Now()
	clock := s.gatewayClock()
	if sig.when.Before(clock.Add(-signatureWindow)) || sig.when.After(clock.Add(signatureWindow)) {
		return principal{}, sig, gatewayProblem("InvalidTimeStamp.Expired")
	}
	if token != "" {
		who, refused := s.store.bearerHolder(token, now)
		return who, sig, refused
	}
	if act.keyPair {
		who, refused := s.pairHolder(m, sig)
		return who, sig, refused
	}
	who, secret, refused := s.store.holder(sig.keyID, sig.token, now)
	if refused != nil {
		return principal{}, sig, refused
	}
	if m.v3 {
		refused = checkV3(m.method, "/", m.query, m.header, m.host, m.body, sig, secret)
	} else {
		refused = checkV1(m.method, m.params, sig, secret)
	}
	return who, sig, refused
}

// holder finds who a key belongs to, and its secret.
func (st *store) holder(keyID, token string, now time.Time) (principal, string, *problem) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if strings.HasPrefix(keyID, "STS.") {
		if token == "" {
			return principal{}, "", gatewayProblem("MissingSecurityToken")
		}
		owner, ok := st.tokenOwner(token)
		if !ok {
			return principal{}, "", gatewayProblem("InvalidSecurityToken.Malformed")
		}
		if owner != keyID {
			return principal{}, "", gatewayProblem("InvalidSecurityToken.MismatchWithAccessKey")
		}
		se := st.sessions[keyID]
		if se == nil {
			return principal{}, "", gatewayProblem("InvalidSecurityToken.Expired")
		}
		if refused := se.dead(now); refused != nil {
			return principal{}, "", refused
		}
		return se.principal(), st.sessionSecret(keyID), nil
	}
	k := st.lookup(keyID, now)
	if k == nil {
		return principal{}, "", gatewayProblem(st.settings.UnknownKeyCode)
	}
	if k.effectiveStatus(now) != "Active" {
		return principal{}, "", gatewayProblem("InvalidAccessKeyId.Inactive")
	}
	if token != "" {
		return principal{}, "", gatewayProblem("InvalidSecurityToken.MismatchWithAccessKey")
	}
	k.lastUsed.Store(now.Unix())
	return k.principal(), k.secret, nil
}

func (k *accessKey) principal() principal {
	if k.user == nil {
		return principal{kind: "Account", account: k.account.id, id: k.account.id, keyID: k.id}
	}
	return principal{kind: "RAMUser", account: k.account.id, name: k.user.name, id: k.user.id, keyID: k.id}
}

func (se *session) principal() principal {
	return principal{
		kind: "AssumedRoleUser", account: se.role.account.id, name: se.role.name, id: se.role.id,
		session: se.name, sourceID: se.sourceID, keyID: se.keyID,
	}
}

// dead says why a session is no longer good: its life is over, or its role was deleted.
func (se *session) dead(now time.Time) *problem {
	if !now.Before(se.expires) || se.role.deleted && !now.Before(se.role.until) {
		return gatewayProblem("InvalidSecurityToken.Expired")
	}
	return nil
}

// perform is what happens to a call whose signature is right: nonce, rate limit, rights, parameters, effect.
func (s *Server) perform(act *action, m *message, r *http.Request, who principal, sig signature) (object, *problem) {
	now := s.Now()
	if act.auth == signed {
		if sig.nonce == "" {
			return nil, missing("SignatureNonce")
		}
		if !s.nonces.use(now, sig.keyID, sig.nonce) {
			return nil, gatewayProblem("SignatureNonceUsed")
		}
		if refused := s.limits.allow(act, who.account, s.rateLimits(), now); refused != nil {
			return nil, refused
		}
	}
	for _, name := range act.required {
		if m.params[name] == "" {
			return nil, missing(name)
		}
	}
	req := &request{store: s.store, params: m.params, who: who, now: now, env: requestEnvironment(r, now)}
	if act.prepare != nil {
		if refused := act.prepare(s, r.Context(), req); refused != nil {
			return nil, refused
		}
	}
	if act.writes {
		s.store.mu.Lock()
		defer s.store.mu.Unlock()
	} else {
		s.store.mu.RLock()
		defer s.store.mu.RUnlock()
	}
	if act.auth == signed && req.account() == nil {
		return nil, gatewayProblem(s.store.settings.UnknownKeyCode) // a reset came between the signature and here
	}
	if act.auth == signed && req.account().inactive {
		return nil, inactive()
	}
	if act.auth == signed && act.resource != nil {
		name := act.permission()
		for _, resource := range act.resource(req) {
			if resource != "*" && !strings.HasPrefix(resource, "acs:") {
				resource = "acs:" + strings.ToLower(act.service) + ":*:" + who.account + ":" + resource
			}
			scope := s.store.scopeOf(resource)
			if act.scope != nil {
				scope = act.scope(req)
			}
			if e := s.store.permits(who, name, resource, scope, req.env, now); e != allowed {
				if act.forbidden != nil {
					return nil, act.forbidden()
				}
				return nil, noPermission("You are not authorized to do this action. Resource: "+resource+" Action: "+name,
					who, name, resource, "AccountLevelIdentityBasedPolicy", e)
			}
		}
	}
	return act.handle(req)
}

// requestEnvironment is what conditions can ask about. acs:MFAPresent is not there: no caller of an API signs in.
func requestEnvironment(r *http.Request, now time.Time) environment {
	env := environment{
		"acs:CurrentTime":     stamp(now),
		"acs:SecureTransport": "false",
		"acs:SourceIp":        "127.0.0.1",
	}
	if r.TLS != nil {
		env["acs:SecureTransport"] = "true"
	}
	if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		env["acs:SourceIp"] = ip
	}
	return env
}
