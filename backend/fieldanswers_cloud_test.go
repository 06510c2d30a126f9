package backend_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// fieldAnswer is an answer that the cloud gave somebody, one row of
// answers.jsonl. The fields that a row leaves out are filled in by complete.
type fieldAnswer struct {
	row       int // its line, from 1
	status    int
	body      string
	requestID string

	Service string            `json:"service"`
	Action  string            `json:"action"`
	Status  *int              `json:"http_status"`
	Headers map[string]string `json:"headers"`
	Body    *string           `json:"body"`
	Code    string            `json:"code"`
	Note    string            `json:"note"`
}

// fieldAnswers reads the rows. What is a session in them ends in the future.
func fieldAnswers(t *testing.T) []fieldAnswer {
	t.Helper()
	f, err := os.Open("../alisim/testdata/answers.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []fieldAnswer
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		a := fieldAnswer{row: len(all) + 1}
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatalf("row %d: %v", a.row, err)
		}
		a.complete()
		all = append(all, a)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	inNote     = regexp.MustCompile(`(?i)requestid:? ([0-9A-F]{8}-[0-9A-F-]{27})`)
	inBody     = regexp.MustCompile(`(?i)"requestid" ?: ?"([^"]+)"|<RequestId>([^<]+)`)
	expiration = regexp.MustCompile(`(?i)("Expiration" ?: ?"|<Expiration>)[0-9TZ:.\-]+`)
)

// complete makes a whole answer of a row that reports code, status or sentence
// only, in the form of the service.
func (a *fieldAnswer) complete() {
	switch {
	case a.Status != nil:
		a.status = *a.Status
	case a.Code == "":
		a.status = http.StatusOK
	default:
		a.status = usualStatus(a.Code)
	}
	if a.Body != nil {
		a.body = *a.Body
	} else {
		id := "11111111-2222-5333-8444-555555555555"
		if found := inNote.FindStringSubmatch(a.Note); found != nil {
			id = found[1]
		}
		a.body = a.form(id)
	}
	a.body = expiration.ReplaceAllString(a.body, "${1}"+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if found := inBody.FindStringSubmatch(a.body); found != nil {
		a.requestID = found[1] + found[2]
	}
}

// form is the order of members that a refusal has: the gateway's own, and a
// service's.
func (a *fieldAnswer) form(id string) string {
	message := a.Note
	if _, sentence, found := strings.Cut(a.Note, "Message: "); found {
		message = sentence
	}
	quoted, _ := json.Marshal(message) // a string always encodes
	host := a.Service + ".aliyuncs.com"
	recommend := "https://api.aliyun.com/troubleshoot?q=" + a.Code + "&product=" + a.Service + "&requestId=" + id
	switch a.Service {
	case "gateway":
		return fmt.Sprintf(`{"RequestId":%q,"Message":%s,"Recommend":%q,"HostId":%q,"Code":%q}`, id, quoted, recommend, host, a.Code)
	case "cloudsso":
		return fmt.Sprintf(`{"ErrorCode":%q,"ErrorMessage":%s,"RequestId":%q}`, a.Code, quoted, id)
	}
	return fmt.Sprintf(`{"RequestId":%q,"HostId":%q,"Code":%q,"Message":%s,"Recommend":%q}`, id, host, a.Code, quoted, recommend)
}

// usualStatus is what the vendor's tables say of the family of a code.
func usualStatus(code string) int {
	for _, family := range []struct {
		begins string
		status int
	}{
		{"EntityNotExist", http.StatusNotFound},
		{"InvalidAccessKeyId", http.StatusNotFound},
		{"EntityAlready", http.StatusConflict},
		{"DeleteConflict", http.StatusConflict},
		{"LimitExceeded", http.StatusConflict},
		{"NoPermission", http.StatusForbidden},
		{"Inactive", http.StatusForbidden},
		{"AuthenticationFail", http.StatusUnauthorized},
	} {
		if strings.HasPrefix(code, family.begins) {
			return family.status
		}
	}
	return http.StatusBadRequest
}

// tookEffect tells whether the service had done what was asked of it when it
// gave this answer: of good answers, of "exists already" and "does not exist"
// (then it was so before), and where it had already seen the very same request.
func (a *fieldAnswer) tookEffect() bool {
	return a.status == http.StatusOK || strings.HasPrefix(a.Code, "EntityAlready") ||
		strings.HasPrefix(a.Code, "EntityNotExist") || a.Code == "SignatureNonceUsed"
}

var (
	secretInBody = regexp.MustCompile(`"(?:AccessKeySecret|SecurityToken|EncodedDiagnosticMessage)" ?: ?"([^"]{8,})"|` +
		`<(?:AccessKeySecret|SecurityToken|EncodedDiagnosticMessage)>([^<]{8,})<`)
	keyInBody = regexp.MustCompile(`(?:LTAI|STS\.)[A-Za-z0-9]{8,}`)
)

// secrets are what no answer, error or log may repeat. Of a refusal that is also
// the request that it quotes, and the id of the key.
func (a *fieldAnswer) secrets() []string {
	var all []string
	for _, found := range secretInBody.FindAllStringSubmatch(a.body, -1) {
		all = append(all, found[1]+found[2])
	}
	if a.Code != "" {
		all = append(all, keyInBody.FindAllString(a.body, -1)...)
		all = append(all, "string to sign", "SignatureMethod", "SignatureNonce%3D")
	}
	return all
}

// fieldCloud is the simulated cloud, behind servers of its own that give an
// answer of the field to one action. The rest of what a request of the engine
// needs is the simulator's.
type fieldCloud struct {
	sim   *alisim.Server
	tls   *httptest.Server
	plain *httptest.Server // for what is asked without TLS
	inert bool             // calls that get the answer have no effect

	mu     sync.Mutex
	answer fieldAnswer
	armed  string // the action that is answered; "" is none
	once   bool   // the first call only
	heard  []heardCall
}

type heardCall struct {
	action string
	params url.Values
	at     time.Time
	seen   bool // it got the answer of the field
}

func newFieldCloud(t *testing.T, sim *alisim.Server, a fieldAnswer) *fieldCloud {
	t.Helper()
	c := &fieldCloud{sim: sim, answer: a}
	c.tls, c.plain = httptest.NewUnstartedServer(c), httptest.NewServer(c)
	c.tls.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that clients had no more use for
	c.tls.StartTLS()
	t.Cleanup(c.tls.Close)
	t.Cleanup(c.plain.Close)
	return c
}

// arm makes the cloud give the answer, and note what it hears, until disarm.
func (c *fieldCloud) arm(action string, once bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed, c.once, c.heard = action, once, nil
}

func (c *fieldCloud) disarm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = ""
}

// calls returns what was heard of one action or, for "", of all.
func (c *fieldCloud) calls(action string) []heardCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.heard), func(h heardCall) bool { return action != "" && h.action != action })
}

// hear notes a call, and tells whether it gets the answer of the field and
// whether it is the first that does.
func (c *fieldCloud) hear(h heardCall) (a fieldAnswer, seen, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed == "" {
		return c.answer, false, false
	}
	h.at = time.Now() // in the order of heard
	first = !slices.ContainsFunc(c.heard, func(before heardCall) bool { return before.seen })
	h.seen = h.action == c.armed && (first || !c.once)
	c.heard = append(c.heard, h)
	return c.answer, h.seen, first
}

func (c *fieldCloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	params := r.URL.Query()
	if form, err := url.ParseQuery(string(body)); err == nil {
		for name, values := range form {
			params[name] = values
		}
	}
	if r.URL.Path == "/latest/api/token" {
		fmt.Fprint(w, "a-token-of-the-metadata-service")
		return
	}
	action := actionOf(r, params)
	a, seen, first := c.hear(heardCall{action: action, params: params})
	switch {
	case seen:
		if !c.inert && a.tookEffect() && a.isRPC() {
			if res, err := c.forward(r, body); err == nil {
				_ = res.Body.Close()
			}
		}
		if strings.HasPrefix(action, "List") && !first { // the next page is the last
			a.body = strings.Replace(a.body, `"IsTruncated": true`, `"IsTruncated": false`, 1)
		}
		a.write(w)
	case action == metadataRoles:
		fmt.Fprint(w, "node")
	case action == metadataSession, action == oauthExchange:
		fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":"STS.NUofTheNode","AccessKeySecret":"secretOfTheNode","SecurityToken":"tokenOfTheNode","Expiration":%q}`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	case action == oauthRefresh:
		fmt.Fprint(w, `{"access_token":"the-next-access-token","refresh_token":"the-next-refresh-token","expires_in":3600}`)
	default:
		res, err := c.forward(r, body)
		if err != nil {
			http.Error(w, "the simulator did not answer", http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		for name, values := range res.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	}
}

// isRPC tells whether the answer is one of STS, RAM or the gateway.
func (a *fieldAnswer) isRPC() bool {
	return a.Service == "sts" || a.Service == "ram" || a.Service == "ims" || a.Service == "gateway"
}

func (a *fieldAnswer) write(w http.ResponseWriter) {
	for name, value := range a.Headers {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	if strings.HasPrefix(strings.TrimSpace(a.body), "<") {
		w.Header().Set("Content-Type", "text/xml;charset=utf-8")
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// forward lets the simulator answer.
func (c *fieldCloud) forward(r *http.Request, body []byte) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", "https", "ram.aliyuncs.com"
	out.Body = io.NopCloser(bytes.NewReader(body))
	return c.sim.Transport().RoundTrip(out)
}

// What is asked for by path has no action of its own.
const (
	metadataRoles   = "metadata role list"
	metadataSession = "metadata credentials"
	oauthExchange   = "exchange"
	oauthRefresh    = "token-refresh"
	cloudSSOSession = "cloud-credentials"
)

func actionOf(r *http.Request, params url.Values) string {
	const roles = "/latest/meta-data/ram/security-credentials/"
	switch {
	case r.URL.Path == roles:
		return metadataRoles
	case strings.HasPrefix(r.URL.Path, roles):
		return metadataSession
	case r.URL.Path == "/v1/exchange":
		return oauthExchange
	case r.URL.Path == "/v1/token":
		return oauthRefresh
	case r.URL.Path == "/cloud-credentials":
		return cloudSSOSession
	case r.Header.Get("X-Acs-Action") != "":
		return r.Header.Get("X-Acs-Action")
	}
	return params.Get("Action")
}
