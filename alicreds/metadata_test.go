package alicreds_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// onAnInstance runs a test on an ECS instance, with the chain of a program there. The
// metadata service and the program share the clock of a bubble, so that only what is
// late on purpose is late. Beside them is a credentials URI, whose keys are another's.
func onAnInstance(t *testing.T, another string, o alicreds.MetadataOptions, test func(*testing.T, *alisim.Server, *alicreds.Chain)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim, err := alisim.Start(alisim.Options{NoListen: true, Seed: alisim.SourcesSeed()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sim.Close)
		metadata, err := alicreds.MetadataOver(sim.Transport(), o)
		if err != nil {
			t.Fatal(err)
		}
		client, err := openapi.New(openapi.Options{HTTP: sim.Client()})
		if err != nil {
			t.Fatal(err)
		}
		chain, err := alicreds.Default(alicreds.DefaultOptions{
			Getenv:     environment("HOME", t.TempDir(), "USERPROFILE", t.TempDir(), envURI, another),
			STSOptions: alicreds.STSOptions{Client: client}, Metadata: metadata,
		})
		if err != nil {
			t.Fatal(err)
		}
		test(t, sim, chain)
	})
}

func requireTokens(t *testing.T, c *alisim.Server) {
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
	another := newCloud(t).CredentialsURL + "/credentials"
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
					name := fmt.Sprintf("%s is %s, tokens %s, %d times", action, what, tokens, count)
					works := count > 0 || action == "IMDS.Token" && tokens == "optional"
					asked++
					onAnInstance(t, another, alicreds.MetadataOptions{DisableIMDSv1: tokens == "v2 only"}, func(t *testing.T, c *alisim.Server, chain *alicreds.Chain) {
						if tokens == "required" {
							requireTokens(t, c)
						}
						fault.Action, fault.Count = action, count
						if err := c.AddFault(fault); err != nil {
							t.Fatal(err)
						}
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
	t.Logf("failures of the metadata service: %d", asked)
}

// TestMetadataBehindAHop: with a hop limit of 1 a container gets no answer to its
// request for a token. It is not asked for at each Retrieve.
func TestMetadataBehindAHop(t *testing.T) {
	t.Parallel()
	another := newCloud(t).CredentialsURL + "/credentials"
	onAnInstance(t, another, alicreds.MetadataOptions{}, func(t *testing.T, c *alisim.Server, chain *alicreds.Chain) {
		c.AddFault(alisim.Fault{Action: "IMDS.Token", Kind: alisim.FaultDelay, Delay: time.Minute})
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
	})
}
