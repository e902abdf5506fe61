//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package discovery

import (
	"io/fs"
	"os"
	"time"
)

const haveLocks = false

// staleAfter is how long a record that nobody renews is believed.
const staleAfter = 5 * localCalm

func lock(*os.File, bool) error { return nil }

func stale(_ *os.File, info fs.FileInfo) bool { return time.Since(info.ModTime()) > staleAfter }

// The directory for temporary files is the user's own on such systems.
func ownedByUs(fs.FileInfo) bool { return true }
func closed(fs.FileInfo) bool    { return true }
