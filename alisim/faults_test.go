package alisim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (c *cloud) fault(f Fault) {
	c.t.Helper()
	if err := c.AddFault(f); err != nil {
		c.t.Fatal(err)
	}
}

// exists asks the simulator itself.
func (c *cloud) exists(user string) bool {
	_, there := c.Inventory().User(user)
	return there
}

func TestFaultsThatAnswer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		fault   Fault
		status  int
		code    string
		header  string
		applied bool
	}{
		{"refuse", Fault{Kind: FaultRefuse}, 503, "ServiceUnavailable", "", false},
		{"refuse with a code", Fault{Kind: FaultRefuse, Code: "NoPermission", Status: 403}, 403, "NoPermission", "", false},
		{"refuse as RAM does", Fault{Kind: FaultRefuse, Code: "LimitExceeded.User"}, 409, "LimitExceeded.User", "", false},
		{"throttle", Fault{Kind: FaultThrottle, Delay: 1500 * time.Millisecond}, 400, "Throttling.User", "TimeLeft:1500", false},
		{"throttle by status", Fault{Kind: FaultThrottle, Status: 429, Code: "Throttling.Api"}, 429, "Throttling.Api", "TimeLeft:1000", false},
		{"error500", Fault{Kind: FaultError500}, 500, "InternalError", "", false},
		{"redirect302", Fault{Kind: FaultRedirect302}, 302, "", "", false},
		{"apply_then_fail", Fault{Kind: FaultApplyThenFail}, 500, "InternalError", "", true},
		{"twice", Fault{Kind: FaultTwice}, 400, "SignatureNonceUsed", "", true},
		{"no_request_id", Fault{Kind: FaultNoRequestID}, 200, "", "", true},
		{"delay", Fault{Kind: FaultDelay, Delay: time.Millisecond}, 200, "", "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := start(t, Options{NoListen: true})
			tc.fault.Action, tc.fault.Count = "CreateUser", 1
			c.fault(tc.fault)
			c.must(vaultKeys, "ListUsers", nil)
			out := c.call(vaultKeys, "CreateUser", params{"UserName": "u"})
			if out.status != tc.status || out.code() != tc.code || !strings.Contains(out.header.Get("x-ratelimit-user-api"), tc.header) {
				t.Errorf("%d %v %v", out.status, out.header, out.body)
			}
			if tc.status == 302 && out.header.Get("Location") == "" {
				t.Error("no location")
			}
			if c.exists("u") != tc.applied {
				t.Errorf("applied: %v", !tc.applied)
			}
			j := c.Journal()[1]
			if j.Applied != tc.applied || j.Status != tc.status || j.Fault != string(tc.fault.Kind) {
				t.Errorf("journal %+v", j)
			}
			if len(c.Faults()) != 0 {
				t.Error("the fault is still there")
			}
		})
	}
}

// An answer without RequestId has it nowhere, whatever its format and whatever it
// says. The next call of the action has it again.
func TestFaultNoRequestID(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	for _, tc := range []struct {
		action, user, format string
		status               int
	}{
		{"GetUser", "vault", "JSON", 200},
		{"GetUser", "vault", "XML", 200},
		{"GetUser", "nobody", "JSON", 404},
		{"GetUser", "nobody", "XML", 404},
	} {
		c.fault(Fault{Kind: FaultNoRequestID, Action: tc.action, Count: 1})
		for _, hit := range []bool{true, false} {
			res, err := c.client.Do(v3(t.Context(), vaultKeys, tc.action, params{"UserName": tc.user, "Format": tc.format}))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tc.status || !strings.Contains(string(body), tc.user) && tc.status == 200 {
				t.Errorf("%s %s: HTTP %d %s", tc.user, tc.format, res.StatusCode, body)
			}
			shown := strings.Contains(string(body), "RequestId")
			if in := res.Header.Get("X-Acs-Request-Id") != ""; in != !hit || shown != !hit || hit && strings.Contains(string(body), "HostId") {
				t.Errorf("%s %s: hit %t, RequestId in the header %t and in %s", tc.user, tc.format, hit, in, body)
			}
		}
	}
}

func TestFaultsThatKill(t *testing.T) {
	t.Parallel()
	for _, listen := range []bool{false, true} {
		for kind, applied := range map[FaultKind]bool{FaultDrop: false, FaultApplyThenDrop: true} {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				c := start(t, Options{NoListen: !listen})
				c.fault(Fault{Kind: kind, Count: 1})
				r := v3(t.Context(), vaultKeys, "CreateUser", params{"UserName": "u"})
				if _, err := c.client.Do(r.Clone(t.Context())); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("error %v", err)
				}
				if c.exists("u") != applied {
					t.Errorf("applied: %v", !applied)
				}
				if j := c.Journal()[0]; j.Applied != applied || j.Status != 0 || j.Params["UserName"] != "u" {
					t.Errorf("journal %+v", j)
				}
				// A request that never arrived may be sent again as it is; one that did may not.
				again := send(t, c.client, r)
				if applied && again.code() != "SignatureNonceUsed" || !applied && again.status != 200 {
					t.Errorf("again: %v", again.body)
				}
			})
		}
	}
}

func TestFaultSelection(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	c.fault(Fault{Kind: FaultError500, Skip: 2, Count: 2})
	c.fault(Fault{Kind: FaultRefuse, Action: "ListRoles"})
	var got []int
	for range 5 {
		got = append(got, c.call(vaultKeys, "ListUsers", nil).status)
	}
	if want := []int{200, 200, 500, 500, 200}; !equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if status := c.call(vaultKeys, "ListRoles", nil).status; status != 503 {
		t.Errorf("status %d", status)
	}
	c.ClearFaults()
	c.must(vaultKeys, "ListRoles", nil)
	// A refused signature uses up no fault.
	c.fault(Fault{Kind: FaultError500, Count: 1})
	c.refused(keys{id: DefaultAccessKeyID, secret: "wrong"}, "ListUsers", nil, 400, "SignatureDoesNotMatch")
	c.refused(vaultKeys, "ListUsers", nil, 500, "InternalError")
}

// A fault of one account leaves the callers of others, and those who sign nothing, alone.
func TestFaultOfOneAccount(t *testing.T) {
	t.Parallel()
	seed := DefaultSeed()
	other := keys{id: "LTAI5tOTHERACCOUNT", secret: "not-a-secret-either"}
	seed.Accounts = append(seed.Accounts, Account{ID: "2000000000000001", AccessKeys: []AccessKey{{ID: other.id, Secret: other.secret}}})
	c := start(t, Options{NoListen: true, Seed: seed})
	c.fault(Fault{Kind: FaultThrottle, Account: "2000000000000001", Skip: 1, Count: 1})
	c.must(vaultKeys, "ListUsers", nil)
	c.must(other, "ListUsers", nil)
	c.must(vaultKeys, "ListUsers", nil)
	c.refused(other, "ListUsers", nil, 400, "Throttling.User")
	c.must(other, "ListUsers", nil)
	c.fault(Fault{Kind: FaultError500, Account: "2000000000000001"})
	if status := c.call(keys{}, "AssumeRoleWithOIDC", nil).status; status == 500 {
		t.Error("hit a call that nobody signed")
	}
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// The same seed throws the same dice.
func TestFaultProbability(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (failed string) {
		c := start(t, Options{NoListen: true})
		c.fault(Fault{Kind: FaultError500, Probability: 0.3, Seed: seed})
		for range 100 {
			if c.call(vaultKeys, "ListUsers", nil).status == 500 {
				failed += "x"
			} else {
				failed += "."
			}
		}
		return failed
	}
	one := run(1)
	if n := strings.Count(one, "x"); n < 10 || n > 60 {
		t.Errorf("%d of 100 calls failed", n)
	}
	if run(1) != one {
		t.Error("not repeatable")
	}
	if run(2) == one {
		t.Error("the seed changes nothing")
	}
}

func TestFaultsAreChecked(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	for _, f := range []Fault{
		{}, {Kind: "nope"}, {Kind: FaultDelay}, {Kind: FaultDrop, Count: -1}, {Kind: FaultDrop, Probability: 2},
		{Kind: FaultHold, Hold: "during"}, {Kind: FaultRefuse, Status: 200},
	} {
		if err := c.AddFault(f); err == nil {
			t.Errorf("accepted %+v", f)
		}
	}
}

func TestFaultJSON(t *testing.T) {
	t.Parallel()
	in := Fault{Action: "CreateUser", Account: DefaultAccountID, Kind: FaultDelay, Skip: 1, Count: 2, Probability: 0.5, Seed: 7, Delay: 250 * time.Millisecond}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Fault
	if err := json.Unmarshal(text, &out); err != nil || out != in {
		t.Errorf("%s became %+v, %v", text, out, err)
	}
	for _, bad := range []string{`{"kind":"drop","delai":"1s"}`, `{"delay":"soon"}`, `{"delay":[]}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &out); err == nil {
			t.Errorf("accepted %s", bad)
		}
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"before", "after"} {
		for _, killed := range []bool{false, true} {
			t.Run(where, func(t *testing.T) {
				t.Parallel()
				c := start(t, Options{})
				c.fault(Fault{Kind: FaultHold, Hold: where, Action: "CreateUser", Count: 1})
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				answered := make(chan error, 1)
				go func() {
					response, err := c.client.Do(v3(ctx, vaultKeys, "CreateUser", params{"UserName": "u"}))
					if err == nil {
						err = response.Body.Close()
					}
					answered <- err
				}()
				held, err := c.WaitFor(t.Context(), func(call Call) bool { return call.Held })
				if err != nil {
					t.Fatal(err)
				}
				if held.Action != "CreateUser" || held.Params["UserName"] != "u" || held.Applied != (where == "after") || c.exists("u") != (where == "after") {
					t.Errorf("held %+v", held)
				}
				c.must(vaultKeys, "ListUsers", nil) // the world goes on
				if killed {
					kill()
					if err := <-answered; !errors.Is(err, context.Canceled) {
						t.Errorf("error %v", err)
					}
					if _, err := c.WaitFor(t.Context(), func(call Call) bool { return call.Seq == held.Seq && !call.Held }); err != nil {
						t.Fatal(err)
					}
					c.Release()
					if c.exists("u") != (where == "after") {
						t.Error("a call whose client is gone took effect")
					}
					return
				}
				if n := c.Release(); n != 1 {
					t.Errorf("released %d", n)
				}
				if err := <-answered; err != nil {
					t.Error(err)
				}
				if !c.exists("u") {
					t.Error("no effect")
				}
				if last, _ := c.WaitFor(t.Context(), func(call Call) bool { return call.Seq == held.Seq }); last.Held || last.Status != 200 || !last.Applied {
					t.Errorf("journal %+v", last)
				}
			})
		}
	}
}

func TestWaitForEnds(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := func(Call) bool { return false }
	if _, err := c.WaitFor(ctx, never); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	c.Close()
	if _, err := c.WaitFor(t.Context(), never); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Options{NoListen: true})
		c.SetLatency(2 * time.Second)
		c.fault(Fault{Kind: FaultDelay, Delay: 5 * time.Second, Action: "ListUsers"})
		begin := time.Now()
		c.must(vaultKeys, "CreateUser", params{"UserName": "u"})
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
		c.must(vaultKeys, "ListUsers", nil)
		if took := time.Since(begin); took != 9*time.Second {
			t.Errorf("took %v", took)
		}
		// A client that gives up on the way back does not undo the effect.
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if _, err := c.client.Do(v3(ctx, vaultKeys, "CreateUser", params{"UserName": "v"})); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := c.client.Do(v3(ctx, vaultKeys, "CreateUser", params{"UserName": "w"})); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if !c.exists("v") || c.exists("w") {
			t.Error("the effect is in the wrong half of the way")
		}
	})
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := DefaultSettings()
		settings.RateLimits = map[string]int{"AssumeRole": 3, "Ram.write": 2}
		c := start(t, Options{NoListen: true, Settings: &settings, Seed: world()})
		assume := func(k keys, account string) result {
			return c.call(k, "AssumeRole", params{"RoleArn": "acs:ram::" + account + ":role/none", "RoleSessionName": "s1"})
		}
		for range 3 {
			if out := assume(admin(), "1"); out.code() != "EntityNotExist.Role" {
				t.Errorf("%v", out.body)
			}
		}
		out := assume(of("member"), "1") // the account's limit, not the user's
		if out.status != http.StatusBadRequest || out.code() != "Throttling.User" || !strings.Contains(out.header.Get("x-ratelimit-user-api"), "TimeLeft:1000") {
			t.Errorf("%v %v", out.header, out.body)
		}
		if out := assume(of("other"), "1"); out.code() != "EntityNotExist.Role" {
			t.Errorf("another account: %v", out.body)
		}
		c.run(
			admin(),
			step{"CreateUser", params{"UserName": "a"}, ""},
			step{"DeleteUser", params{"UserName": "a"}, ""},
			step{"CreateUser", params{"UserName": "b"}, "Throttling.User"},
			step{"ListUsers", nil, ""},
		)
		time.Sleep(time.Second)
		c.run(admin(), step{"CreateUser", params{"UserName": "b"}, ""})
		if out := assume(admin(), "1"); out.code() != "EntityNotExist.Role" {
			t.Errorf("a second later: %v", out.body)
		}
	})
}

// A held call must not take effect in the world that Reset makes.
func TestResetEndsHeldCalls(t *testing.T) {
	t.Parallel()
	c := start(t, Options{NoListen: true})
	c.fault(Fault{Kind: FaultHold})
	ended := make(chan error, 1)
	go func() {
		response, err := c.client.Do(v3(t.Context(), vaultKeys, "CreateUser", params{"UserName": "u"}))
		if err == nil {
			_ = response.Body.Close()
		}
		ended <- err
	}()
	if _, err := c.WaitFor(t.Context(), func(call Call) bool { return call.Held }); err != nil {
		t.Fatal(err)
	}
	c.Reset()
	if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	if c.exists("u") {
		t.Error("took effect")
	}
	c.must(vaultKeys, "ListUsers", nil)
}

// A reset between the signature and the effect takes the caller's account away.
func TestResetUnderAWaitingCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Options{NoListen: true})
		if err := c.Seed(Seed{Accounts: []Account{{ID: "7", AccessKeys: []AccessKey{{ID: "k7", Secret: "s7"}}}}}); err != nil {
			t.Fatal(err)
		}
		c.fault(Fault{Kind: FaultDelay, Delay: time.Second})
		ended := make(chan result, 1)
		go func() { ended <- send(t, c.client, v3(t.Context(), keys{id: "k7", secret: "s7"}, "ListUsers", nil)) }()
		synctest.Wait()
		c.Reset()
		if out := <-ended; out.code() != "InvalidAccessKeyId.NotFound" {
			t.Errorf("%v", out.body)
		}
	})
}
