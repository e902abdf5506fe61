//go:build !linux

package transport

import (
	"syscall"
	"time"
)

// setUserTimeout does nothing where the option is missing: heartbeats find a
// half-open link there.
func setUserTimeout(syscall.RawConn, time.Duration) {}

// setUnsent does nothing where the option is missing or has another name: more
// waits in the kernel there.
func setUnsent(syscall.RawConn, int) {}
