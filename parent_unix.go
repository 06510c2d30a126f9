//go:build unix

package main

import (
	"os"
	"time"
)

// awaitParentEnd returns when the process that started this one is gone. The
// kernel then gives this one another parent, which is seen within a second.
// Linux could send a signal instead, but does so when the thread that started
// this process ends, which in a Go program may be any time.
//
// Who has process 1 for a parent from the beginning was started detached, or by
// the first process of a container, whose end is the container's. There is
// nothing to wait for then.
func awaitParentEnd() {
	parent := os.Getppid()
	if parent == 1 {
		select {}
	}
	for os.Getppid() == parent {
		time.Sleep(time.Second)
	}
}
