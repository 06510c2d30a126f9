package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/backend/ram"
)

const (
	// settleAfter is how long after an ambiguous CreateAccessKey the key that it
	// may have made can still come to light. Longer than ram.VisibleWithin: waiting
	// costs nothing here, and a key believed gone would stay for good.
	settleAfter = time.Minute

	// madeWithin is how far from the intent, by RAM's clock, the key of such a call
	// can have been made: the call itself takes a minute at most, and clocks differ.
	madeWithin = 5 * time.Minute

	// probeFor is how long a new key may take to work before it is given up.
	probeFor = time.Hour

	// afterwards bounds what is done after a failure to leave less behind.
	afterwards = 10 * time.Second
)

// Demand is what a request wants of a rotation; the zero value wants what is due.
type Demand struct {
	Now   bool // rotate whether or not it is due
	Force bool // end the overlap of the last rotation, delete a foreign key that is inactive
}

// attempt takes one rotation some steps further.
type attempt struct {
	key       Key
	want      Demand
	*Rotation // as stored before the step

	switched bool      // the new key has become the current one
	again    time.Time // when to look again at what a step waits for
}

// advance takes the rotation as far as it gets without waiting. It returns when
// to go on, zero for never, and whether the key was switched.
func advance(ctx context.Context, key Key, want Demand) (next time.Time, switched bool, err error) {
	a := &attempt{key: key, want: want}
	for a.again.IsZero() {
		if a.Rotation, err = key.Load(ctx); err != nil || a.Rotation == nil {
			return time.Time{}, a.switched, err
		}
		step := a.step(time.Now())
		if step == nil {
			return a.Due(), a.switched, nil
		}
		if err := step(ctx); err != nil {
			return time.Time{}, a.switched, err
		}
	}
	return a.again, a.switched, nil
}

// step is what to do now, nil for nothing. What was begun is brought to its end
// before another rotation begins.
func (a *attempt) step(now time.Time) func(context.Context) error {
	old, asked, due := a.Retiring, a.want.Now, a.rotationDue(now)
	as := *a.Rotation
	switch {
	case as.correct(now):
		return a.correctTimes
	case a.Intent != nil:
		return a.settle
	case a.Pending != nil:
		return a.probe
	case old != nil && !old.Disabled && (asked && a.want.Force || !now.Before(old.DisableAt)):
		return a.disableOld
	case old != nil && old.Disabled && (asked || due || !now.Before(old.DeleteAt)):
		return a.deleteOld
	case due && !asked && a.windowMissed(now):
		return a.skip
	case old != nil && asked:
		return a.refuseThird
	case old == nil && (asked || due):
		return a.create
	}
	return nil
}

// change applies f to what is stored.
func (a *attempt) change(ctx context.Context, f func(*Rotation)) error {
	return a.key.Change(ctx, a.Current.ID, f)
}

// correctTimes takes out of storage what a clock that was wrong has put there.
func (a *attempt) correctTimes(ctx context.Context) error {
	now := time.Now().UTC()
	return a.change(ctx, func(r *Rotation) { r.correct(now) })
}

// skip waits for the next time of the schedule.
func (a *attempt) skip(ctx context.Context) error {
	now := time.Now()
	return a.change(ctx, func(r *Rotation) { r.NextRotation = r.Schedule.Next(now) })
}

// refuseThird tells a request that the two keys which RAM allows are both in use.
func (a *attempt) refuseThird(context.Context) error {
	return Refuse("the key before the current one, %s, stays valid until %s: rotate after that, or use force=true to end it now",
		a.Retiring.ID, a.Retiring.DisableAt.UTC().Format(time.RFC3339))
}

// create makes the new key: intent first, call second, the key into storage third.
func (a *attempt) create(ctx context.Context) error {
	keys, err := a.key.Keys(ctx, a.Rotation)
	if err != nil {
		return err
	}
	intent, err := a.prepare(ctx, keys)
	if err != nil {
		return err
	}
	account, user := keys.Owner()
	if err := a.change(ctx, func(r *Rotation) {
		r.AccountID, r.UserName, r.Intent = account, user, &intent
		if a.want.Now {
			r.RequestedAt = intent.At
		}
	}); err != nil {
		return err
	}
	created, err := keys.Create(ctx)
	if err != nil {
		return a.notCreated(ctx, user, err)
	}
	pending := Pending{created, time.Now().UTC()}
	if err := a.change(ctx, func(r *Rotation) { r.Intent, r.Pending = nil, &pending }); err != nil {
		return errors.Join(err, a.notStored(ctx, keys, created))
	}
	return nil
}

// prepare makes room for another key, and notes those that there are.
func (a *attempt) prepare(ctx context.Context, keys Keys) (Intent, error) {
	listed, err := keys.List(ctx)
	if err != nil {
		return Intent{}, err
	}
	if err := a.makeRoom(ctx, keys, listed, a.want.Force); err != nil {
		return Intent{}, err
	}
	known := make([]string, 0, len(listed))
	for _, k := range listed {
		known = append(known, k.ID)
	}
	return Intent{Known: known, At: time.Now().UTC()}, nil
}

// notCreated takes the intent back, unless there may be a key that nobody knows
// the secret of.
func (a *attempt) notCreated(ctx context.Context, user string, err error) error {
	if openapi.Ambiguous(err) || !answered(err) {
		return err
	}
	if unchanged := a.change(ctx, func(r *Rotation) { r.Intent, r.RequestedAt = nil, time.Time{} }); unchanged != nil {
		return errors.Join(err, unchanged)
	}
	if ram.HasCode(err, "LimitExceeded.User.AccessKey") {
		return Refuse("RAM user %s has two AccessKeys already, and RAM allows no third: delete one that is not in use", user)
	}
	return err
}

// answered tells whether the failure is one of the call, so that it is known
// whether the call can have taken effect.
func answered(err error) bool {
	return errors.As(err, new(*openapi.Error)) || errors.As(err, new(*openapi.NetworkError))
}

// notStored deletes a new key whose storing failed, at once: by the intent it
// would go later. The write may have taken effect all the same; then the key is
// needed.
func (a *attempt) notStored(ctx context.Context, keys Keys, created ram.AccessKey) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	stored, err := a.key.Load(ctx)
	if err != nil || stored != nil && stored.Pending != nil && stored.Pending.ID == created.ID {
		return err
	}
	return keys.Delete(ctx, created.ID)
}

// settle finds out what became of a CreateAccessKey without an answer. A key
// that it made is of no use, since nobody was told its secret.
func (a *attempt) settle(ctx context.Context) error {
	keys, err := a.key.Keys(ctx, a.Rotation)
	if err != nil {
		return err
	}
	if a.again, err = settled(ctx, keys, a.Rotation); err != nil || !a.again.IsZero() {
		return err
	}
	at := a.Intent.At
	return a.change(ctx, func(r *Rotation) {
		if r.Intent != nil && r.Intent.At.Equal(at) {
			r.Intent = nil
		}
	})
}

// settled deletes the key that the lost call has made. It returns when to look
// again, zero where it found the key or none can come any more. What somebody else
// made stays: it was made at another time. Of two that were made at the time one
// is somebody's, and neither is touched. Whoever next needs the place is told.
func settled(ctx context.Context, keys Keys, r *Rotation) (again time.Time, err error) {
	listed, err := keys.List(ctx)
	if err != nil {
		return time.Time{}, err
	}
	strays := slices.DeleteFunc(listed, func(k ram.AccessKey) bool {
		return slices.Contains(r.Intent.Known, k.ID) || k.ID == r.Current.ID || k.Created.Sub(r.Intent.At).Abs() > madeWithin
	})
	switch {
	case len(strays) == 1:
		return time.Time{}, keys.Delete(ctx, strays[0].ID)
	case len(strays) == 0 && passed(r.Intent.At) < settleAfter:
		return soon(r.Intent.At), nil
	}
	return time.Time{}, nil
}

// probe asks whether the new key works, and makes it the current one when it does.
func (a *attempt) probe(ctx context.Context) error {
	keys, err := a.key.Keys(ctx, a.Rotation)
	if err != nil {
		return err
	}
	err = keys.Probe(ctx, a.Pending.AccessKey)
	switch {
	case err == nil:
		return a.publish(ctx)
	case ctx.Err() != nil:
		return err
	case passed(a.Pending.MadeAt) < probeFor:
		a.again = soon(a.Pending.MadeAt)
		return nil
	}
	return a.giveUp(ctx, keys, err)
}

// publish makes the new key the current one, in a single write.
func (a *attempt) publish(ctx context.Context) error {
	pending := *a.Pending
	err := a.change(ctx, func(r *Rotation) {
		if r.Pending == nil || r.Pending.ID != pending.ID {
			return
		}
		now := time.Now().UTC()
		old := r.Current.ID
		if old == "" {
			old = r.Replaces
		}
		if old != "" {
			r.Retiring = &Retiring{ID: old, DisableAt: now.Add(r.Overlap), DeleteAt: now.Add(r.Overlap + r.Spare)}
			r.retire(old)
		}
		r.Current, r.Replaces, r.Pending, r.Failure = pending.AccessKey, "", nil, nil
		r.LastRotated, r.NextRotation, r.RequestedAt = now, r.Schedule.Next(now), time.Time{}
	})
	if err == nil {
		a.switched, a.want.Now = true, false
	}
	return err
}

// giveUp deletes a new key that does not work.
func (a *attempt) giveUp(ctx context.Context, keys Keys, why error) error {
	id := a.Pending.ID
	if err := keys.Delete(ctx, id); err != nil {
		return errors.Join(why, err)
	}
	if err := a.change(ctx, func(r *Rotation) { r.Pending = nil }); err != nil {
		return errors.Join(why, err)
	}
	return fmt.Errorf("the new key %s did not work within %s and was deleted: %w", id, probeFor, why)
}

// disableOld ends the overlap.
func (a *attempt) disableOld(ctx context.Context) error {
	return a.endOld(ctx, Keys.Disable, func(r *Rotation) { r.Retiring.Disabled = true })
}

// deleteOld deletes the key before the current one.
func (a *attempt) deleteOld(ctx context.Context) error {
	return a.endOld(ctx, Keys.Delete, func(r *Rotation) { r.Retiring = nil })
}

func (a *attempt) endOld(ctx context.Context, call func(Keys, context.Context, string) error, note func(*Rotation)) error {
	old := a.Retiring.ID
	if old != a.Current.ID { // somebody may have written it back
		keys, err := a.key.Keys(ctx, a.Rotation)
		if err != nil {
			return err
		}
		if err := call(keys, ctx, old); err != nil {
			return err
		}
	}
	return a.change(ctx, func(r *Rotation) {
		if r.Retiring != nil && r.Retiring.ID == old {
			note(r)
			r.Failure = nil
		}
	})
}

// soon is when to look again at what was begun then: often at first, once a
// minute later.
func soon(begun time.Time) time.Time {
	return time.Now().Add(min(max(time.Since(begun)/2, time.Second), time.Minute))
}
