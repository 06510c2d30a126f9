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
// every one. No answer in time is no refusal.
type announcer struct{ noEvents, noObservations atomic.Bool }

// refused notes what came of an announcement.
func (b *backend) refused(ctx context.Context, by *atomic.Bool, what string, err error) {
	if err != nil && ctx.Err() == nil && !by.Swap(true) {
		b.Logger().Info("rotations are not announced by "+what+": this host takes none", "error", err)
	}
}

// announce tells the host by an event and an observation that a key was rotated,
// or why not, and is silent where the host takes none: alicloud/config-rotate,
// alicloud/static-role-rotate, and the same with -fail.
func (b *backend) announce(ctx context.Context, key string, failure error) {
	if b.announcer.noEvents.Load() && b.announcer.noObservations.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	what := "rotate"
	if failure != nil {
		what = "rotate-fail"
	}
	kind := "alicloud/static-role-" + what
	if key == configKey {
		kind = "alicloud/config-" + what
	}
	pairs := []string{logical.EventMetadataDataPath, key, logical.EventMetadataOperation, what}
	if failure == nil {
		pairs = append(pairs, logical.EventMetadataModified, "true")
	} else {
		pairs = append(pairs, "reason", oneLine(failure))
	}
	if !b.announcer.noEvents.Load() {
		b.refused(ctx, &b.announcer.noEvents, "events", logical.SendEvent(ctx, b, kind, pairs...))
	}
	if b.announcer.noObservations.Load() {
		return
	}
	data := map[string]interface{}{}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = pairs[i+1]
	}
	b.refused(ctx, &b.announcer.noObservations, "observations", b.RecordObservation(ctx, kind, data))
}
