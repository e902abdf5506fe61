//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package discovery

import (
	"errors"

	"golang.org/x/sys/unix"
)

// shareAddress lets several processes receive at one port.
func shareAddress(fd uintptr) error {
	return errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}
