//go:build unix

package main

import (
	"os/exec"
	"syscall"
	"time"
)

// detach puts a child in a process group of its own: Ctrl-C in a terminal
// reaches the parent only, which ends its children in order.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
