//go:build unix

package discovery

import (
	"os/exec"
	"syscall"
)

// withGroup puts a command into a process group of its own, all of which is
// killed at the end of its time.
func withGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
