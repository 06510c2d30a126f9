package alicreds_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// anInstance is the chain of a program on an ECS instance, which has a credentials
// URI beside it, whose keys are another's.
func anInstance(t *testing.T, c cloud, o alicreds.MetadataOptions) *alicreds.Chain {
	t.Helper()
	o.Endpoint = c.IMDSURL
	metadata, err := alicreds.NewMetadata(o)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := alicreds.Default(alicreds.DefaultOptions{
		Getenv:     environment("HOME", t.TempDir(), "USERPROFILE", t.TempDir(), envURI, c.CredentialsURL+"/credentials"),
		STSOptions: c.sts, Metadata: metadata,
	})
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func requireTokens(t *testing.T, c cloud) {
	t.Helper()
	instance := c.Sources().Instance
	instance.HTTPTokens = "required"
	if err := c.SetInstance(instance); err != nil {
		t.Fatal(err)
	}
}

// TestMetadataFailsForAMoment: what the metadata service does not answer once or
// twice is asked again. What it does not answer at all is a failure of the instance's
// role, and no reason to be somebody else, then or later.
func TestMetadataFailsForAMoment(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	asked := 0
	for what, fault := range map[string]alisim.Fault{
		"slow":      {Kind: alisim.FaultDelay, Delay: time.Minute},
		"cut off":   {Kind: alisim.FaultMalform, Malform: "stall"},
		"dropped":   {Kind: alisim.FaultDrop},
		"throttled": {Kind: alisim.FaultRefuse, Status: 429},
		"broken":    {Kind: alisim.FaultRefuse, Status: 500},
	} {
		for _, action := range []string{"IMDS.Token", "IMDS.RoleName", "IMDS.Credentials"} {
			for _, tokens := range []string{"optional", "required", "v2 only"} {
				for _, count := range []int{1, 2, 0} {
					c := newCloud(t)
					if tokens == "required" {
						requireTokens(t, c)
					}
					fault.Action, fault.Count = action, count
					if err := c.AddFault(fault); err != nil {
						t.Fatal(err)
					}
					chain := anInstance(t, c, alicreds.MetadataOptions{Timeout: time.Second, DisableIMDSv1: tokens == "v2 only"})
					name := fmt.Sprintf("%s is %s, tokens %s, %d times", action, what, tokens, count)
					works := count > 0 || action == "IMDS.Token" && tokens == "optional"
					asked++
					all.Go(func() {
						got, err := chain.Retrieve(t.Context())
						if works != (err == nil) || works && got.Source != "default/ecs_ram_role" || errors.Is(err, alicreds.ErrUnavailable) {
							t.Errorf("%s: got %s, %v", name, got, err)
						}
						c.ClearFaults()
						if got, err := chain.Retrieve(t.Context()); err != nil || got.Source != "default/ecs_ram_role" {
							t.Errorf("%s: afterwards got %s, %v", name, got, err)
						}
					})
				}
			}
		}
	}
	all.Wait()
	t.Logf("failures of the metadata service: %d", asked)
}

// TestMetadataBehindAHop: with a hop limit of 1 a container gets no answer to its
// request for a token. It is not asked for at each Retrieve.
func TestMetadataBehindAHop(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.AddFault(alisim.Fault{Action: "IMDS.Token", Kind: alisim.FaultDelay, Delay: time.Minute})
	chain := anInstance(t, c, alicreds.MetadataOptions{Timeout: 500 * time.Millisecond, ConnectTimeout: 500 * time.Millisecond})
	asked := func() (actions []string) {
		for _, call := range c.Journal() {
			if strings.HasPrefix(call.Action, "IMDS.") {
				actions = append(actions, strings.TrimPrefix(call.Action, "IMDS."))
			}
		}
		return actions
	}
	for range 3 {
		if got := get(t, chain); got.Source != "default/ecs_ram_role" {
			t.Errorf("got %s", got)
		}
	}
	// The simulator notes a call when it ends, and this one for the token ends when nobody waits any longer.
	if got := slices.Sorted(slices.Values(asked())); !slices.Equal(got, []string{"Credentials", "Credentials", "Credentials", "RoleName", "Token"}) {
		t.Errorf("asked %v", got)
	}

	requireTokens(t, c)
	_, err := chain.Retrieve(t.Context())
	if errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("not set up: %v", err)
	}
	wantError(t, err, "no IMDSv2 session token", "no answer from", "hop limit of 2", "HttpPutResponseHopLimit")

	c.ClearFaults() // somebody raised the hop limit
	if got := get(t, chain); got.Source != "default/ecs_ram_role" {
		t.Errorf("got %s", got)
	}
}
