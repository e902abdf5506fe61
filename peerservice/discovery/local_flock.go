//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package discovery

import (
	"io/fs"
	"os"
	"syscall"
)

const haveLocks = true

// lock takes the lock on a file that its process keeps until it ends.
func lock(f *os.File, wait bool) error {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}

// stale reports whether nobody holds the lock; the caller then has it, until
// it closes the file.
func stale(f *os.File, _ fs.FileInfo) bool { return lock(f, false) == nil }

func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

func closed(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }
