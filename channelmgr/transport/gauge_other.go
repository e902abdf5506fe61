//go:build !linux

package transport

import "syscall"

// gauge tells nothing where the system has other words for it.
func gauge(syscall.RawConn) (Reading, bool) { return Reading{}, false }

func limit(syscall.RawConn, float64) {}
