package discovery

import "golang.org/x/sys/unix"

// shareAddress lets several processes receive at one port, also those of
// other users.
func shareAddress(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}
