//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// detach puts a child in a process group of its own: Ctrl-C in a terminal
// reaches the parent only, which ends its children in order.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
