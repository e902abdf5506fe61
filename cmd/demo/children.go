package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"
)

// leaveTime bounds how long a process takes to leave.
const leaveTime = 3 * time.Second

func quietLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

// childProc is a worker process.
type childProc struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr bytes.Buffer
	done   chan struct{} // closed when it has ended
	killed bool
}

// children are all worker processes.
type children struct {
	mu  sync.Mutex
	all []*childProc
}

// start starts a worker.
func (cs *children) start(i int, o options, secret, seed string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := &childProc{name: nodeName(i), done: make(chan struct{})}
	c.cmd = exec.Command(self, workerCommand)
	c.cmd.Env = append(os.Environ(), envSecret+"="+secret, envSeed+"="+seed, fmt.Sprintf("%s=%d %d %s", envPlace, i, o.nodes, o.overlay))
	c.cmd.Stderr = &c.stderr
	detach(c.cmd)
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return err
	}
	c.stdin = stdin
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.done)
	}()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.all = append(cs.all, c)
	return nil
}

// kill ends a worker by SIGKILL.
func (cs *children) kill(name string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.all {
		if c.name == name {
			c.killed = true
			_ = c.cmd.Process.Kill()
		}
	}
}

// failed returns a worker that has ended though nobody wanted it to.
func (cs *children) failed() error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.all {
		select {
		case <-c.done:
			if !c.killed {
				return fmt.Errorf("%s ended by itself: %v: %s", c.name, c.cmd.ProcessState, bytes.TrimSpace(c.stderr.Bytes()))
			}
		default:
		}
	}
	return nil
}

// end lets all workers leave, and kills those that do not.
func (cs *children) end() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.all {
		_ = c.stdin.Close()
	}
	late := time.After(leaveTime + time.Second)
	for _, c := range cs.all {
		select {
		case <-c.done:
		case <-late:
			_ = c.cmd.Process.Kill()
			<-c.done
		}
	}
}
