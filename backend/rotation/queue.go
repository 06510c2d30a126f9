package rotation

import (
	"context"
	"sync"
	"time"
)

// The pauses of the keys of an account whose RAM says that it is asked too often.
const firstPause, longestPause = 5 * time.Second, time.Minute

// longestSleep is after how long a key that is due some time is looked at again: a
// clock that was wrong may have said when that is.
const longestSleep = time.Hour

// Options of a Queue. All are required.
type Options struct {
	// Ended is called after each turn of a key in a round, after a round that
	// could not begin, whose name is "", and after a rotation on request that
	// succeeded: with nil, or with why it failed and when the next try is.
	Ended func(name string, failure error, next time.Time)

	// Announce is called after a key was switched, with nil, and after a turn of
	// the key that failed, with why.
	Announce func(ctx context.Context, name string, failure error)

	// Explain makes of a failure the line that is stored, and shown to users.
	Explain func(failure error) string
}

// Queue is when each of the keys of one mount is due, and who works on them. It
// is an image of storage, made again by every process. It is safe for concurrent
// use.
type Queue struct {
	Options

	life   context.Context // ends with the mount
	end    context.CancelFunc
	rounds sync.WaitGroup

	mu      sync.Mutex
	inRound bool
	due     map[string]time.Time     // by name of the key; zero: nothing is
	account map[string]string        // by name of the key
	held    map[string]chan struct{} // keys that are worked on; closed when that is over
	pauses  map[string]pause         // by account
}

// pause is the last one of an account.
type pause struct {
	length time.Duration // 0: it was not throttled since it last worked
	until  time.Time
}

// NewQueue makes an empty queue. It does nothing until [Queue.Begin].
func NewQueue(o Options) *Queue {
	life, end := context.WithCancel(context.Background())
	return &Queue{
		Options: o, life: life, end: end,
		due: map[string]time.Time{}, account: map[string]string{}, held: map[string]chan struct{}{}, pauses: map[string]pause{},
	}
}

// Stop ends the round that is under way, waits for it, and lets no other begin.
func (q *Queue) Stop() {
	q.mu.Lock()
	q.end()
	q.mu.Unlock()
	q.Wait()
}

// Wait returns when no round is under way.
func (q *Queue) Wait() { q.rounds.Wait() }

// Put says that the key of that name, of a user in that account, is due then; zero:
// not at all.
func (q *Queue) Put(name, account string, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due[name], q.account[name] = wake(due), account
}

// wake is when to look at a key that is due then.
func wake(due time.Time) time.Time {
	if latest := time.Now().Add(longestSleep); due.After(latest) {
		return latest
	}
	return due
}

// Overview is how many keys a queue has.
type Overview struct {
	Keys   int       // that will be due some time
	Due    int       // that are
	Oldest time.Time // since when one is that waits longest; zero: none is
}

// Overview counts the keys.
func (q *Queue) Overview() (o Overview) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, at := range q.due {
		if at.IsZero() {
			continue
		}
		o.Keys++
		if !at.After(now) {
			o.Due, o.Oldest = o.Due+1, Earliest(o.Oldest, at)
		}
	}
	return o
}

// Remove takes the key out of the queue.
func (q *Queue) Remove(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.due, name)
	delete(q.account, name)
}

// move is Put for a key that may have been removed meanwhile.
func (q *Queue) move(name string, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, there := q.due[name]; there {
		q.due[name] = wake(due)
	}
}

// takeDue takes the key that is longest overdue, of those that nobody works on, in the
// account that has the fewest workers. Where there is none, name is "", and again is
// when to look again, zero for never.
func (q *Queue) takeDue() (name string, release func(), again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	busy := q.busy()
	for other, at := range q.due {
		account := q.account[other]
		until := q.pauses[account].until
		switch {
		case at.IsZero():
		case at.After(now):
			again = Earliest(again, at)
		case until.After(now):
			again = Earliest(again, until)
		case q.held[other] != nil || busy[account] >= perAccount:
			again = Earliest(again, now.Add(firstPause))
		case name == "" || busy[account] < busy[q.account[name]] || busy[account] == busy[q.account[name]] && at.Before(q.due[name]):
			name = other
		}
	}
	if name == "" {
		return "", nil, again
	}
	return name, q.hold(name), time.Time{}
}

// busy is on how many keys of each account somebody works; q.mu is held.
func (q *Queue) busy() map[string]int {
	busy := map[string]int{}
	for name := range q.held {
		busy[q.account[name]]++
	}
	return busy
}

// Take waits until nobody works on the key, and then keeps everybody else from
// it until release is called.
func (q *Queue) Take(ctx context.Context, name string) (release func(), err error) {
	for {
		q.mu.Lock()
		held := q.held[name]
		if held == nil {
			defer q.mu.Unlock()
			return q.hold(name), nil
		}
		q.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, Refuse("a rotation of %s is under way: try again in a minute", name)
		}
	}
}

// hold is called with q.mu held.
func (q *Queue) hold(name string) (release func()) {
	over := make(chan struct{})
	q.held[name] = over
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.held, name)
		close(over)
	}
}

// throttled makes the keys of the account of that key pause, longer each time.
func (q *Queue) throttled(name string) (until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	account, now := q.account[name], time.Now()
	p := q.pauses[account]
	if now.Before(p.until) {
		return p.until // another worker was told the same
	}
	p.length = min(max(2*p.length, firstPause), longestPause)
	p.until = now.Add(p.length)
	q.pauses[account] = p
	return p.until
}

// notThrottled makes the next pause of that account a short one.
func (q *Queue) notThrottled(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pauses, q.account[name])
}
