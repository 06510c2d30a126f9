package backend

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// announceTimeout bounds what the host may take to receive an event.
const announceTimeout = 2 * time.Second

// announcer remembers what the host takes. The first refusal is the last
// question: older hosts log a warning for each, and those without events refuse
// every one.
type announcer struct{ noEvents, noObservations atomic.Bool }

// announce sends an event and an observation about a key to the host, where it
// takes them, and is silent where it does not: alicloud/config-rotate,
// alicloud/static-role-rotate, and the same with -fail.
func (b *backend) announce(ctx context.Context, key, what string, err error) {
	if b.announcer.noEvents.Load() && b.announcer.noObservations.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	kind := "alicloud/static-role-" + what
	if key == configKey {
		kind = "alicloud/config-" + what
	}
	pairs := []string{logical.EventMetadataDataPath, key, logical.EventMetadataOperation, what}
	if err == nil {
		pairs = append(pairs, logical.EventMetadataModified, "true")
	} else {
		pairs = append(pairs, "reason", oneLine(err))
	}
	if !b.announcer.noEvents.Load() && logical.SendEvent(ctx, b, kind, pairs...) != nil {
		b.announcer.noEvents.Store(true)
	}
	if b.announcer.noObservations.Load() {
		return
	}
	data := map[string]interface{}{}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = pairs[i+1]
	}
	if b.RecordObservation(ctx, kind, data) != nil {
		b.announcer.noObservations.Store(true)
	}
}
