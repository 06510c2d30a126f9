package backend_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// attackRevokeBehindAFilter puts something between the mount and RAM that answers
// every call by itself. Nothing it says ends a lease.
func attackRevokeBehindAFilter(t *testing.T) {
	for name, filter := range map[string]struct {
		status int
		body   string
	}{
		"success":                          {200, `{"blocked":true,"reason":"category cloud"}`},
		"success with an id of its own":    {200, `{"RequestId":"blocked-1"}`},
		"success that is a refusal":        {200, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Code":"EntityNotExist.User"}`},
		"block page":                       {403, `<html><title>Blocked</title></html>`},
		"refusal":                          {403, `{"Code":"NoPermission","Message":"blocked"}`},
		"nothing there":                    {404, `{"Code":"EntityNotExist.User","Message":"no route"}`},
		"nothing there, with a host":       {404, `{"Code":"EntityNotExist.User","HostId":"ram.aliyuncs.com"}`},
		"nothing there, by an id of a WAF": {404, `{"Code":"EntityNotExist.User","RequestId":"7f3a9c"}`},
		"redirected":                       {302, ``},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMount(t)
			before := m.inventory()
			m.must(logical.UpdateOperation, "role/ci", map[string]any{"remote_policies": "name:AliyunOSSReadOnlyAccess,type:System", "ttl": "15m"})
			lease := m.must(logical.ReadOperation, "creds/ci", nil)
			m.age(lease.Secret.InternalData)
			between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(filter.status)
				_, _ = io.WriteString(w, filter.body)
			}))
			defer between.Close()
			m.must(logical.UpdateOperation, "config", map[string]any{"ram_endpoint": between.URL, "max_retries": 0})
			if resp, err := m.revokeLease(lease.Secret); err == nil && !resp.IsError() {
				t.Error("the lease has ended, and no call has reached RAM")
			}
			m.must(logical.UpdateOperation, "config", map[string]any{"ram_endpoint": m.sim.URL})
			if resp, err := m.revokeLease(lease.Secret); err != nil || resp.IsError() {
				t.Errorf("without the filter: %v %v", resp, err)
			}
			m.unchanged(before)
		})
	}
}

// attackIssueWithoutRequestID takes the RequestId out of the answer to one call of
// an issue, or has the call delivered twice. What it made is nobody's, or
// somebody's who can end it.
func attackIssueWithoutRequestID(t *testing.T) {
	for role, actions := range map[string][]string{
		"ci":    {"GetCallerIdentity", "CreateUser", "CreatePolicy", "CreateAccessKey", "AttachPolicyToUser", "AddUserToGroup"},
		"batch": {"GetCallerIdentity", "CreateRole", "CreatePolicy", "AttachPolicyToRole", "AssumeRole"},
	} {
		for _, action := range actions {
			for _, kind := range []alisim.FaultKind{alisim.FaultNoRequestID, alisim.FaultTwice} {
				t.Run(strings.Join([]string{role, action, string(kind)}, " "), func(t *testing.T) {
					t.Parallel()
					m := newMount(t)
					m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "ram_groups": "readers", "ttl": "15m"})
					m.must(logical.UpdateOperation, "role/batch", map[string]any{"credential_type": "ram_role", "inline_policies": "[" + allowOSS + "]", "ttl": "15m"})
					before := m.inventory()
					m.fault(alisim.Fault{Kind: kind, Action: action, Count: 1})
					lease, err := m.request(logical.ReadOperation, "creds/"+role, nil)
					if issued := err == nil && !lease.IsError(); issued {
						if kind == alisim.FaultNoRequestID {
							t.Errorf("%s without RequestId counts as done", action)
						}
						m.age(lease.Secret.InternalData)
						if resp, err := m.revokeLease(lease.Secret); err != nil || resp.IsError() {
							t.Errorf("revoke: %v %v", resp, err)
						}
					}
					m.ageWAL()
					if resp, err := m.rollBack(); err != nil || resp.IsError() {
						t.Errorf("rollback: %v %v", resp, err)
					}
					m.unchanged(before)
				})
			}
		}
	}
}

// attackFloodOfReaders has 300 readers ask a slow STS again and again. A lease that
// is revoked meanwhile ends as fast as ever, and one that is read, too, where it
// needs no STS.
func attackFloodOfReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": alisim.DefaultRoleARN})
		m.must(logical.UpdateOperation, "role/ci", map[string]any{"inline_policies": "[" + allowOSS + "]", "ttl": "15m"})
		lease := m.must(logical.ReadOperation, "creds/ci", nil)
		m.fault(alisim.Fault{Kind: alisim.FaultDelay, Delay: 9 * time.Second, Action: "AssumeRole"})
		flood, end := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		for range 300 {
			readers.Go(func() {
				for flood.Err() == nil {
					_, _ = m.HandleRequest(flood, &logical.Request{Operation: logical.ReadOperation, Path: "creds/deploy"})
				}
			})
		}
		time.Sleep(2 * time.Second)
		began := time.Now()
		if resp, err := m.revokeLease(lease.Secret); err != nil || resp.IsError() {
			t.Errorf("revoke: %v %v", resp, err)
		}
		m.must(logical.ReadOperation, "creds/ci", nil)
		if took := time.Since(began); took > time.Second {
			t.Errorf("behind 300 readers of a slow STS, a revocation and a read took %s", took)
		}
		end()
		readers.Wait()
	})
}

// attackInternalService points a role at a service of the inside. What that says
// is not told to whoever may write roles.
func attackInternalService(t *testing.T) {
	const told = "hunter2-of-the-inside"
	for name, answer := range map[string]string{
		"a banner":          "220 " + told + " ESMTP\r\n",
		"a status":          "HTTP/1.1 " + told + " OK\r\n\r\n",
		"a header":          "HTTP/1.1 200 OK\r\n" + told + "\r\n\r\n",
		"a reason":          "HTTP/1.1 400 " + told + "\r\nContent-Length: 0\r\n\r\n",
		"a body":            "HTTP/1.1 200 OK\r\n\r\n" + told,
		"a Code":            "HTTP/1.1 200 OK\r\n\r\n" + `{"Code":"` + told + `"}`,
		"a broken redirect": "HTTP/1.1 302 Found\r\nLocation: http://[::1/" + told + "\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inside, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer inside.Close()
			go func() {
				for c, err := inside.Accept(); err == nil; c, err = inside.Accept() {
					if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
						_, _ = io.WriteString(c, answer)
					}
					c.Close()
				}
			}()
			m := newMount(t)
			m.must(logical.UpdateOperation, "role/probe", map[string]any{"credential_type": "credentials_uri", "credentials_uri": "http://" + inside.Addr().String() + "/"})
			resp, err := m.request(logical.ReadOperation, "creds/probe", nil)
			if err == nil && !resp.IsError() {
				t.Fatalf("answered %v", resp)
			}
			if text := fmt.Sprint(err, resp); strings.Contains(text, told) {
				t.Errorf("it is quoted: %s", text)
			}
		})
	}
}

// attackSessionForEver has STS say once that the mount's own session lives until 9999.
// The mount renews it before it is over all the same.
func attackSessionForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := alisim.DefaultSeed()
		seed.Accounts[0].Roles = append(seed.Accounts[0].Roles,
			alisim.Role{Name: "mount", TrustPolicy: alisim.TrustAccount(alisim.DefaultAccountID), Policies: []string{"AdministratorAccess"}})
		m := newTimedMount(t, alisim.DefaultSettings(), seed)
		m.must(logical.UpdateOperation, "config", map[string]any{"credential_type": "ram_role_arn", "role_arn": "acs:ram::" + alisim.DefaultAccountID + ":role/mount"})
		m.must(logical.UpdateOperation, "role/deploy", map[string]any{"role_arn": alisim.DefaultRoleARN})
		m.fault(alisim.Fault{Kind: alisim.FaultMalform, Malform: `set:Expiration="9999-12-31T23:59:59Z"`, Action: "AssumeRole", Count: 1})
		for range 5 {
			m.must(logical.ReadOperation, "creds/deploy", nil)
			time.Sleep(30 * time.Minute)
		}
		for _, c := range m.sim.Journal() {
			if c.Status != http.StatusOK {
				t.Errorf("%s was refused: %s", c.Action, c.Code)
			}
		}
	})
}

// attackFileThatNeverEnds names a file whose read waits as the token file of a role.
// Nobody who reads the role waits longer than his request lives.
func attackFileThatNeverEnds(t *testing.T) {
	const log = "/proc/kmsg"
	f, err := os.Open(log)
	if err != nil {
		t.Skip("only Linux, and only root, has a regular file whose reading waits: ", err)
	}
	f.Close()
	m := newMount(t)
	m.must(logical.UpdateOperation, "role/pod", map[string]any{
		"credential_type": "oidc_role_arn", "role_arn": alisim.DefaultRoleARN,
		"oidc_provider_arn": alisim.DefaultOIDCProviderARN, "oidc_token_file_path": log,
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		resp, err := m.Backend.HandleRequest(ctx, &logical.Request{Operation: logical.ReadOperation, Path: "creds/pod", Storage: m.process})
		if err == nil && !resp.IsError() {
			t.Error("the kernel's log is taken for a token")
		}
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the request is still under way, long after its context ended")
	}
}

// attackHugeKey writes a private key that costs seconds to look at. It is refused
// for its length.
func attackHugeKey(t *testing.T) {
	m := newMount(t)
	key := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: bytes.Repeat([]byte{0x30}, 40<<10)})
	m.refused(logical.UpdateOperation, "config", map[string]any{
		"credential_type": "rsa_key_pair", "access_key": "", "secret_key": "", "public_key_id": "pk", "private_key": string(key),
	}, "private_key has")
}
