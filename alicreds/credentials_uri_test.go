package alicreds_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

func credentialsURI(t *testing.T, uri string, o alicreds.CredentialsURIOptions) alicreds.CredentialsURI {
	t.Helper()
	p, err := alicreds.NewCredentialsURI(uri, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCredentialsURI(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(200, codedJSON()))
	got, err := credentialsURI(t, d.URL+"/hidden-path?k=1&k=2", alicreds.CredentialsURIOptions{}).Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessKeyID != "STS.fakeid" || got.AccessKeySecret != "fake-session-secret" || got.SecurityToken != "fake-session-token" ||
		got.Source != "credentials_uri" || got.Expiration.IsZero() {
		t.Errorf("got %s", got)
	}
	if r := d.only(t); r.Method != "GET" || r.URL.RequestURI() != "/hidden-path?k=1&k=2" {
		t.Errorf("sent %s %s", r.Method, r.URL)
	}
	without := newDesk(t, answers(200, strings.Replace(codedJSON(), `"Code":"Success",`, "", 1)))
	if _, err := credentialsURI(t, without.URL, alicreds.CredentialsURIOptions{}).Retrieve(t.Context()); err != nil {
		t.Errorf("without Code: %v", err)
	}
}

func TestCredentialsURIMalformedReplies(t *testing.T) {
	t.Parallel()
	bad := malformed(t, codedJSON(), "AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration")
	for _, unknown := range []string{"Expiration null", "Expiration missing", "Expiration empty"} {
		d := newDesk(t, answers(200, bad[unknown]))
		if got := get(t, credentialsURI(t, d.URL, alicreds.CredentialsURIOptions{})); !got.Expiration.IsZero() || got.SecurityToken == "" {
			t.Errorf("%s: got %s", unknown, got)
		}
		delete(bad, unknown)
	}
	bad["null"], bad["not JSON"], bad["nothing"], bad["array"], bad["empty"] = "null", "<html>", "{}", "[]", ""
	bad["Code Fail"] = strings.Replace(codedJSON(), "Success", "Fail", 1)
	bad["Code empty"] = strings.Replace(codedJSON(), "Success", "", 1)
	bad["Code number"] = strings.Replace(codedJSON(), `"Success"`, "200", 1)
	bad["expired"] = expiring(codedJSON(), "2015-01-01T00:00:00Z")
	bad["too large"] = `{"x":"` + strings.Repeat("x", 64<<10) + `",` + codedJSON()[1:]
	for name, body := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, answers(200, body))
			got, err := credentialsURI(t, d.URL+"/hidden-path", alicreds.CredentialsURIOptions{}).Retrieve(t.Context())
			host, _ := strings.CutPrefix(d.URL, "http://")
			if err == nil || got != (alicreds.Credentials{}) || errors.Is(err, alicreds.ErrUnavailable) ||
				strings.Contains(err.Error(), "fake-session") || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), host) {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestCredentialsURIRefused(t *testing.T) {
	t.Parallel()
	elsewhere := newDesk(t, func(http.ResponseWriter, *http.Request) { t.Error("followed a redirect") })
	for _, status := range []int{302, 307} {
		d := newDesk(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(status)
		})
		if _, err := credentialsURI(t, d.URL, alicreds.CredentialsURIOptions{}).Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "a redirect, which is not followed") {
			t.Errorf("%d: %v", status, err)
		}
	}
	for _, status := range []int{400, 404, 500} {
		d := newDesk(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(status)
		})
		_, err := credentialsURI(t, d.URL+"/hidden-path", alicreds.CredentialsURIOptions{}).Retrieve(t.Context())
		var refused *openapi.Error
		if !errors.As(err, &refused) || refused.Status != status || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%d: %v", status, err)
		}
	}
	_, err := credentialsURI(t, "http://"+whereNobodyListens(t)+"/hidden-path", alicreds.CredentialsURIOptions{}).Retrieve(t.Context())
	var network *openapi.NetworkError
	if !errors.As(err, &network) || strings.Contains(err.Error(), "hidden") || network.Sent {
		t.Errorf("closed: %v", err)
	}
	var typed *alicreds.Error
	if !errors.As(err, &typed) || !typed.Temporary() {
		t.Errorf("closed: %v is not temporary", err)
	}
	var asked atomic.Value // the path of the last request
	hanging := newDesk(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Path)
		<-r.Context().Done()
	})
	for limit := time.Second; ; limit *= 2 { // a busy machine may not get there in time
		path := "/" + limit.String()
		_, err = credentialsURI(t, hanging.URL+path, alicreds.CredentialsURIOptions{Timeout: limit}).Retrieve(t.Context())
		if asked.Load() == path {
			break
		}
	}
	if !errors.As(err, &network) || !network.Sent {
		t.Errorf("hanging: %v", err)
	}
}

func TestCredentialsURIChecks(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{"", "ftp://x", "x", "/path", "http://", "http://u:hidden@x/", "file:///etc/passwd", "http://x\x7fhidden"} {
		if _, err := alicreds.NewCredentialsURI(uri, alicreds.CredentialsURIOptions{}); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", uri, err)
		}
	}
	for _, proxy := range []string{"x", "ftp://x", "http://", "http://u:hidden@x\x7f"} {
		if _, err := alicreds.NewCredentialsURI("http://x", alicreds.CredentialsURIOptions{Proxy: proxy}); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("proxy %q: %v", proxy, err)
		}
	}
	if _, err := alicreds.NewCredentialsURI("http://x", alicreds.CredentialsURIOptions{Proxy: "http://p", RefuseMetadata: true}); err == nil {
		t.Error("accepts a proxy that would connect in our place")
	}
	if _, err := (alicreds.CredentialsURI{}).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the zero value: %v", err)
	}
	mustNotPrint(t, credentialsURI(t, "http://x/hidden-path?hidden-query", alicreds.CredentialsURIOptions{}), "hidden-path", "hidden-query")
}

func TestCredentialsURIProxy(t *testing.T) {
	t.Parallel()
	d := newDesk(t, answers(200, codedJSON()))
	if _, err := credentialsURI(t, "http://credentials.example/", alicreds.CredentialsURIOptions{Proxy: d.URL}).Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := d.only(t); r.Host != "credentials.example" {
		t.Errorf("asked for %s", r.Host)
	}
}

func TestCredentialsURIRefusesMetadata(t *testing.T) {
	t.Parallel()
	for host, refused := range map[string]bool{
		"100.100.100.200": true, "169.254.169.254": true, "0.0.0.0": true, "224.0.0.1": true, "168.63.129.16": true, "192.0.0.192": true,
		"[fe80::1]": true, "[fe80::1%25eth0]": true, "[fd00:ec2::254]": true, "[fd20:ce::254]": true, "[::]": true, "[ff02::1]": true,
		"[::ffff:100.100.100.200]": true, "[::ffff:a9fe:a9fe]": true, "[::6464:64c8]": true, "[::ffff:0:100.100.100.200]": true,
		"[64:ff9b::6464:64c8]": true, "[64:ff9b:1::6464:64c8]": true, "[64:ff9b:1:6464:64:c800::]": true,
		"[64:ff9b:1:64:64:64c8::1]": true, "[64:ff9b:1::64:6464:c800:0]": true,
		"[2002:6464:64c8::1]": true, "[2001:0:6464:64c8::1]": true, "[2001:0:1:1::9b9b:9b37]": true,
		"127.0.0.1": false, "[::1]": false, "10.0.0.1": false, "[2001:db8::1]": false, "[64:ff9b::a00:1]": false, "name.example": false,
	} {
		_, err := alicreds.NewCredentialsURI("http://"+host+":1/hidden-path", alicreds.CredentialsURIOptions{RefuseMetadata: true})
		if got := err != nil && strings.Contains(err.Error(), "link-local and metadata addresses are refused"); got != refused || err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", host, err)
		}
	}
	d := newDesk(t, answers(200, codedJSON()))
	if _, err := credentialsURI(t, d.URL, alicreds.CredentialsURIOptions{RefuseMetadata: true}).Retrieve(t.Context()); err != nil {
		t.Errorf("loopback: %v", err)
	}
}

// A proxy would connect in our place, past the look at the address: with
// RefuseMetadata that of the environment is not used. net/http reads the
// environment once, so this is a process of its own.
func TestCredentialsURIRefusesMetadataWithoutProxy(t *testing.T) {
	t.Parallel()
	for _, refuse := range []string{"refuse", "allow"} {
		proxy := newDesk(t, answers(200, codedJSON()))
		cmd := exec.CommandContext(t.Context(), os.Args[0], "ALICREDS_COMMAND", "metadata", refuse)
		cmd.Env = append(os.Environ(), "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
		out, err := cmd.CombinedOutput()
		if (err != nil) != (refuse == "refuse") || err != nil && !strings.Contains(string(out), "link-local and metadata addresses are refused") {
			t.Errorf("%s: %v: %s", refuse, err, out)
		}
		proxy.mu.Lock()
		if n := len(proxy.requests); (n == 0) != (refuse == "refuse") {
			t.Errorf("%s: the proxy was asked %d times", refuse, n)
		}
		proxy.mu.Unlock()
	}
}

// metadata is one of commands: it reads a credentials URI whose host has the address
// of a metadata service, to whoever resolves it.
func metadata(args []string) int {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go answerA(there, [4]byte{169, 254, 169, 254})
		return here, nil
	}}
	p, err := alicreds.NewCredentialsURI("http://metadata.example/", alicreds.CredentialsURIOptions{RefuseMetadata: args[0] == "refuse"})
	if err == nil {
		_, err = p.Retrieve(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// answerA answers queries over a stream, each after its length, with one address.
func answerA(c net.Conn, address [4]byte) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		end := 12 + bytes.IndexByte(query[12:], 0) + 5 // of the question: a name, a type and a class
		answer := append(query[:2:2], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
		answer = append(answer, query[12:end]...)
		if query[end-3] == 1 { // the type is A
			answer[7] = 1
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			answer = append(answer, address[:]...)
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}
