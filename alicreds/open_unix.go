//go:build unix

package alicreds

import "syscall"

// withoutWaiting lets the end of the context end a read of what has nothing to say at
// the moment, such as /proc/kmsg.
const withoutWaiting = syscall.O_NONBLOCK
