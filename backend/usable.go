package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// longestUsableWait leaves a quarter of issueTimeout to create and to record.
const longestUsableWait = 45 * time.Second

// waitUntilUsable asks STS whose the new keys are until it knows them, for as long
// as the role says. It warns where that is too short. The WAL entry is
// still there, so that a wait that is cut off leaves nothing behind.
func (n *creation) waitUntilUsable(ctx context.Context, keys openapi.Keys) (warnings []string) {
	if n.role.WaitUntilUsable == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.role.WaitUntilUsable)
	defer cancel()
	var refused error
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		_, err := n.cloud.IdentityOf(ctx, keys)
		if err == nil {
			return nil
		}
		if refused == nil || ctx.Err() == nil { // not that the time is over
			refused = err
		}
		if ram.Pause(ctx, wait) != nil {
			return []string{fmt.Sprintf("the new key was not accepted within wait_until_usable (%s), and may be refused for a while yet: %s", n.role.WaitUntilUsable, oneLine(refused))}
		}
	}
}

func (r *role) checkUsableWait() error {
	if r.WaitUntilUsable < 0 || r.WaitUntilUsable > longestUsableWait {
		return fmt.Errorf("wait_until_usable must be 0 to %d seconds: a read has %d seconds in all", longestUsableWait/time.Second, issueTimeout/time.Second)
	}
	return nil
}
