package backend_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

// process is one run of the plugin: the storage and the cloud as it sees them.
// It counts its steps, and one of them can be harmed.
type process struct {
	storage logical.Storage
	sim     *alisim.Server
	keys    *handed // those that the mount is handed; nil: it has its own

	mu     sync.Mutex
	around func(s step, effect func() error) error // nil: nothing comes between
	taken  [2][]string                             // by place, what each step was
	harm   harm
	k      int                // the step that is harmed
	cancel context.CancelFunc // of the request
	dead   bool
}

// step is one call of the cloud, or one operation on the storage.
type step struct {
	ctx  context.Context
	call *http.Request         // nil: of the storage
	op   logical.Operation     // of the storage
	put  *logical.StorageEntry // that is written
	what string                // action of the call, or key in the storage
}

type place int

const (
	cloudCall place = iota
	storageOperation
)

// harm is what is done to a process at one step.
type harm struct {
	fault  alisim.FaultKind // of the cloud, else
	act    act
	at     place
	after  bool // it took effect first
	goesOn bool // from that step on, until the request has ended
}

type act string

const (
	fail   act = "fail"
	kill   act = "kill"    // nothing that the process does from here on has an effect, and its answer is lost
	move   act = "move"    // the keys that the mount is handed are of another account from the next call on (F4.1)
	giveUp act = "give up" // the client goes away: the context is cancelled, the answer is lost
	refuse act = "refuse"  // the cloud does, with NoPermission
)

var (
	errKilled = errors.New("the process was killed")
	errDisk   = errors.New("no space left")
)

func newProcess(sim *alisim.Server, storage logical.Storage) *process {
	return &process{storage: storage, sim: sim}
}

// next is the process after this one.
func (p *process) next() *process { return &process{storage: p.storage, sim: p.sim, keys: p.keys} }

// comeBetween sets what happens around each step from now on.
func (p *process) comeBetween(around func(s step, effect func() error) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.around = around
}

// failing makes operations on keys of the storage that begin so fail.
func failing(op logical.Operation, prefix string) func(s step, effect func() error) error {
	return func(s step, effect func() error) error {
		if s.call == nil && s.op == op && strings.HasPrefix(s.what, prefix) {
			return errDisk
		}
		return effect()
	}
}

// suffer sets what is done to the process from now on, at step k of the place.
func (p *process) suffer(h harm, k int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.harm, p.k = h, k
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// steps are those that the process has taken.
func (p *process) steps() [2][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

func (p *process) step(s step, effect func() error) error {
	at, what := cloudCall, s.what
	if s.call == nil {
		at, what = storageOperation, string(s.op)+" "+s.what
	}
	p.mu.Lock()
	n, h, cancel, around := len(p.taken[at]), p.harm, p.cancel, p.around
	p.taken[at] = append(p.taken[at], what)
	hit := h != harm{} && h.at == at && (n == p.k || n > p.k && h.goesOn)
	p.mu.Unlock()
	live := func() error { return p.live(s, effect) }
	suffer := live
	if hit {
		suffer = func() error { return p.hurt(h, cancel, live) }
	}
	if around == nil {
		return suffer()
	}
	return around(s, suffer)
}

// live is a step of a process that may have died before or meanwhile.
func (p *process) live(s step, effect func() error) error {
	if p.isDead() {
		return errKilled
	}
	if s.call == nil && s.ctx.Err() != nil {
		return s.ctx.Err() // as the plugin protocol does
	}
	err := effect()
	if p.isDead() {
		return errKilled
	}
	return err
}

// hurt does the harm to a step.
func (p *process) hurt(h harm, cancel context.CancelFunc, live func() error) error {
	strike := func() error {
		switch h.act {
		case fail:
			return errDisk
		case kill:
			p.mu.Lock()
			p.dead = true
			p.mu.Unlock()
			return errKilled
		case giveUp:
			cancel()
			return nil
		case move:
			p.keys.moved.Store(true)
			time.Sleep(2 * handedFor)
			return nil
		}
		fault := alisim.Fault{Kind: h.fault, Count: 1}
		switch {
		case h.act == refuse:
			fault.Kind, fault.Code, fault.Status = alisim.FaultRefuse, ram.NoPermission, http.StatusForbidden
		case h.fault == alisim.FaultHold:
			fault.Hold = "after"
		}
		return p.sim.AddFault(fault)
	}
	if h.after {
		err := live()
		return errors.Join(strike(), err)
	}
	if err := strike(); err != nil {
		return err
	}
	if !h.goesOn { // a call whose key is not known does not get as far as the fault
		defer p.sim.ClearFaults()
	}
	return live()
}

func (p *process) Get(ctx context.Context, key string) (e *logical.StorageEntry, err error) {
	err = p.step(step{ctx: ctx, op: logical.ReadOperation, what: key}, func() error { e, err = p.storage.Get(ctx, key); return err })
	return e, err
}

func (p *process) List(ctx context.Context, prefix string) (keys []string, err error) {
	err = p.step(step{ctx: ctx, op: logical.ListOperation, what: prefix}, func() error { keys, err = p.storage.List(ctx, prefix); return err })
	return keys, err
}

func (p *process) Put(ctx context.Context, e *logical.StorageEntry) error {
	return p.step(step{ctx: ctx, op: logical.UpdateOperation, what: e.Key, put: e}, func() error { return p.storage.Put(ctx, e) })
}

func (p *process) Delete(ctx context.Context, key string) error {
	return p.step(step{ctx: ctx, op: logical.DeleteOperation, what: key}, func() error { return p.storage.Delete(ctx, key) })
}

func (p *process) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	err = p.step(step{ctx: r.Context(), call: r, what: r.Header.Get("X-Acs-Action")}, func() error { resp, err = p.sim.Transport().RoundTrip(r); return err })
	if err != nil {
		resp = nil // its body is in memory
	}
	return resp, err
}
