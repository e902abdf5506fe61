//go:build !unix

package transport

import "syscall"

// writeFD takes nothing: without a non-blocking write the caller falls back to
// its writer.
func writeFD(uintptr, []byte) (int, error) { return 0, syscall.EAGAIN }
