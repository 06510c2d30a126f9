package ram

import (
	"errors"
	"sync"
)

// RAM allows about 10 attachments a second; more at once would only queue.
const parallelCalls = 10

// Wave is a set of calls that do not depend on each other. The zero value is
// empty.
type Wave []func() error

// Add adds a call.
func (w *Wave) Add(call func() error) { *w = append(*w, call) }

// Run makes all calls, at most ten at a time, and returns when every one of them
// has ended, whatever the others returned: none may still be under way when a
// clean-up begins. Its error joins those of all that failed.
func (w Wave) Run() error {
	failures := make([]error, len(w))
	slots := make(chan struct{}, parallelCalls)
	var all sync.WaitGroup
	for i, call := range w {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			failures[i] = call()
		})
	}
	all.Wait()
	return errors.Join(failures...)
}
