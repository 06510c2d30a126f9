package openapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// narrowWay is a proxy in front of the simulated cloud that takes no request
// line of more than 8 KiB, as most do.
func narrowWay(t *testing.T, sim *alisim.Server) (endpoint string, c *openapi.Client) {
	t.Helper()
	target, err := url.Parse(sim.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Transport: sim.Client().Transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host // which is signed
		},
	}
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Method+" "+r.RequestURI+" "+r.Proto) > 8<<10 {
			w.WriteHeader(http.StatusRequestURITooLong)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	c, err = openapi.New(openapi.Options{HTTP: front.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return front.URL, c
}

// The largest policy that RAM takes, of characters that a query has to escape,
// arrives as it is, also at the second attempt.
func TestLargestPolicy(t *testing.T) {
	t.Parallel()
	const limit = 6144
	document := `{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:*"],"Resource":["acs:oss:*:*:b/*"`
	for len(document) < limit-100 {
		document += `,"acs:oss:*:*:b/ +&=%25#?;@~*/\"\\"`
	}
	document += `]}]}`
	document += strings.Repeat(" ", limit-len(document))

	sim, err := alisim.Start(alisim.Options{Seed: alisim.DefaultSeed()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	endpoint, c := narrowWay(t, sim)
	if err := sim.AddFault(alisim.Fault{Action: "CreatePolicy", Kind: alisim.FaultThrottle, Count: 1}); err != nil {
		t.Fatal(err)
	}
	r := openapi.Request{
		Endpoint: endpoint, Action: "CreatePolicy", Version: "2015-05-01",
		Keys:   openapi.Keys{AccessKeyID: alisim.DefaultAccessKeyID, AccessKeySecret: alisim.DefaultAccessKeySecret},
		Params: map[string]string{"PolicyName": "large", "PolicyDocument": document, "Description": "é & co"},
	}
	if err := c.Do(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(sim.Journal()); n != 2 {
		t.Errorf("%d calls, want the throttled one and another", n)
	}
	r.Action, r.Params = "GetPolicy", map[string]string{"PolicyName": "large", "PolicyType": "Custom"}
	var got struct {
		Policy               struct{ Description string }
		DefaultPolicyVersion struct{ PolicyDocument string }
	}
	if err := c.Do(t.Context(), r, &got); err != nil {
		t.Fatal(err)
	}
	if got.DefaultPolicyVersion.PolicyDocument != document || got.Policy.Description != "é & co" {
		t.Errorf("RAM has %d of %d characters, and the description %q", len(got.DefaultPolicyVersion.PolicyDocument), limit, got.Policy.Description)
	}
}

// Parameters of more than 4 KiB, as a query has them, are a form body whose
// type and hash are signed, and so are those of FormData; others stay in the query.
func TestParamsInABody(t *testing.T) {
	t.Parallel()
	const name = len("PolicyDocument=")
	for _, tc := range []struct {
		size     int
		formData bool
		body     bool
	}{
		{0, false, false}, {1000, false, false}, {4096 - name, false, false}, {4096 - name + 1, false, true}, {100_000, false, true},
		{0, true, true}, {1000, true, true}, {100_000, true, true},
	} {
		var got *http.Request
		var body []byte
		endpoint, c := answering(t, func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
			fmt.Fprint(w, good)
		})
		r := call(endpoint)
		r.Params, r.FormData = map[string]string{"PolicyDocument": strings.Repeat("x", tc.size)}, tc.formData
		if err := c.Do(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
		want := "PolicyDocument=" + strings.Repeat("x", tc.size)
		kind, signs := got.Header.Get("Content-Type"), strings.Contains(got.Header.Get("Authorization"), "SignedHeaders=content-type;host;")
		if !tc.body {
			if got.URL.RawQuery != want || len(body) != 0 || kind != "" || signs {
				t.Errorf("%+v: a query of %d bytes, a body of %d of type %q", tc, len(got.URL.RawQuery), len(body), kind)
			}
		} else if got.URL.RawQuery != "" || string(body) != want || kind != "application/x-www-form-urlencoded" || !signs {
			t.Errorf("%+v: a query of %d bytes, a body of %d of type %q, signed %t", tc, len(got.URL.RawQuery), len(body), kind, signs)
		}
	}
}
