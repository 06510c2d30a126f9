package backend_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// hostEvents is a host that takes events and observations, or refuses them.
type hostEvents struct {
	refuse error

	mu           sync.Mutex
	events       []string
	observations []string
}

func (h *hostEvents) SendEvent(_ context.Context, kind logical.EventType, event *logical.EventData) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, string(kind)+" "+event.Metadata.Fields["data_path"].GetStringValue())
	return h.refuse
}

func (h *hostEvents) RecordObservationFromPlugin(_ context.Context, kind string, _ map[string]interface{}) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.observations = append(h.observations, kind)
	return h.refuse
}

// Rotations are announced to a host that listens; one that does not is asked once.
func TestRotationIsAnnounced(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]error{"host listens": nil, "host refuses": errors.New("rpc error: code = Unimplemented")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
				host := &hostEvents{refuse: refuse}
				m.start(func(c *logical.BackendConfig) { c.EventsSender, c.ObservationRecorder = host, host })
				m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "24h"})
				m.must(logical.UpdateOperation, "config/rotate-root", nil)
				want := 2
				if refuse != nil {
					want = 1
				}
				if len(host.events) != want || len(host.observations) != want || host.events[0] != "alicloud/static-role-rotate static-role/app" {
					t.Errorf("events %q, observations %q", host.events, host.observations)
				}
				if refuse == nil && host.events[1] != "alicloud/config-rotate config" {
					t.Errorf("events %q", host.events)
				}
			})
		})
	}
}

// A host that does not answer in time is asked again.
func TestRotationIsAnnouncedAfterATimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newTimedMount(t, alisim.DefaultSettings(), alisim.DefaultSeed())
		host := &slowHostEvents{slow: true}
		m.start(func(c *logical.BackendConfig) { c.EventsSender, c.ObservationRecorder = host, host })
		m.must(logical.UpdateOperation, "config/rotate-root", nil)
		host.slow = false
		m.must(logical.UpdateOperation, "config/rotate-root", map[string]any{"force": true})
		if len(host.events) != 1 || len(host.observations) != 1 {
			t.Errorf("events %q, observations %q", host.events, host.observations)
		}
	})
}

// slowHostEvents is a host that may take too long to receive an event.
type slowHostEvents struct {
	hostEvents
	slow bool
}

func (h *slowHostEvents) SendEvent(ctx context.Context, kind logical.EventType, event *logical.EventData) error {
	if h.slow {
		<-ctx.Done()
		return errors.New("rpc error: code = DeadlineExceeded")
	}
	return h.hostEvents.SendEvent(ctx, kind, event)
}

func (h *slowHostEvents) RecordObservationFromPlugin(ctx context.Context, kind string, data map[string]interface{}) error {
	if h.slow {
		<-ctx.Done()
		return errors.New("rpc error: code = DeadlineExceeded")
	}
	return h.hostEvents.RecordObservationFromPlugin(ctx, kind, data)
}

// Only a node that may write rotates, and it is the only one that begins to.
func TestRotationOnOtherNodes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		state   consts.ReplicationState
		local   bool
		rotates bool
	}{
		"performance standby":             {consts.ReplicationPerformanceStandby, false, false},
		"performance secondary":           {consts.ReplicationPerformanceSecondary, false, false},
		"local mount in a secondary":      {consts.ReplicationPerformanceSecondary, true, true},
		"disaster recovery secondary":     {consts.ReplicationDRSecondary, false, false},
		"primary of performance replicas": {consts.ReplicationPerformancePrimary, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTimedMount(t, alisim.DefaultSettings(), seedWith(alisim.User{Name: "app"}))
				m.must(logical.UpdateOperation, "config", map[string]any{"rotation_period": "1h"})
				m.must(logical.UpdateOperation, "static-role/app", map[string]any{"username": "app", "rotation_period": "1h"})
				before := len(m.sim.Journal())
				m.Cleanup(t.Context())
				m.start(func(c *logical.BackendConfig) {
					c.System = &logical.StaticSystemView{
						DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: time.Hour, ReplicationStateVal: test.state, LocalMountVal: test.local,
					}
				})
				if err := m.Initialize(t.Context(), &logical.InitializationRequest{Storage: m.process}); err != nil {
					t.Fatal(err)
				}
				m.rest()
				calls := 0
				for range 125 {
					m.minutes(1)
				}
				for _, c := range m.sim.Journal()[before:] {
					if c.Action == "CreateAccessKey" {
						calls++
					}
				}
				if rotates := calls > 0; rotates != test.rotates {
					t.Errorf("%d keys were made", calls)
				}
				if test.rotates {
					return
				}
				for path, data := range map[string]map[string]any{"config/rotate-root": nil, "rotate-role/app": nil, "static-role/app": {"username": "app"}} {
					if _, err := m.request(logical.UpdateOperation, path, data); err != logical.ErrReadOnly { //nolint:errorlint // must be bare
						t.Errorf("%s: got %v, want ErrReadOnly", path, err)
					}
				}
			})
		})
	}
}
