//go:build !unix

package main

import (
	"os/exec"
	"time"
)

func detach(*exec.Cmd) {}

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
