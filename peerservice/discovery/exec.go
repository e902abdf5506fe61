package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Exec runs a command that prints candidates, in the form of File, and exits
// with 0. Another exit status is an error, which quotes what it wrote to
// standard error.
type Exec struct {
	Command  []string      // name and arguments; no shell is between
	Env      []string      // KEY=value, added to the environment
	Port     int           // of addresses that name none: DefaultPort
	Interval time.Duration // between runs: 30 s, ten minutes once the node has joined
	Timeout  time.Duration // of one run; then it and its children are killed: 10 s
}

// Validate reports a missing or unknown command and times out of range.
func (x Exec) Validate() error {
	errs := []error{checkPort("exec", x.Port), checkInterval("exec", x.Interval)}
	if x.Timeout < 0 {
		errs = append(errs, fmt.Errorf("discovery: exec: Timeout is %v; use a positive time, or 0 for 10s", x.Timeout))
	}
	if len(x.Command) == 0 || x.Command[0] == "" {
		errs = append(errs, errors.New("discovery: exec: Command is empty; name a program that prints addresses"))
	} else if _, err := exec.LookPath(x.Command[0]); err != nil {
		errs = append(errs, fmt.Errorf("discovery: exec: %w", err))
	}
	return errors.Join(errs...)
}

// checkInterval validates the Interval of a strategy that polls.
func checkInterval(strategy string, d time.Duration) error {
	if d < 0 || d > 0 && d < 100*time.Millisecond {
		return fmt.Errorf("discovery: %s: Interval is %v; use at least 100ms, or 0 for the default", strategy, d)
	}
	return nil
}

func (x Exec) String() string {
	if len(x.Command) == 0 {
		return "exec"
	}
	return "exec " + x.Command[0] // arguments may be secret
}

// Run implements Strategy.
func (x Exec) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := x.Validate(); err != nil {
		return err
	}
	interval := x.Interval
	if interval == 0 {
		interval = 30 * time.Second
	}
	poller{interval: interval, calm: max(interval, calmInterval)}.run(ctx, emit, func(ctx context.Context) (Snapshot, time.Duration) {
		return x.once(ctx), 0
	})
	return nil
}

func (x Exec) once(ctx context.Context) Snapshot {
	timeout := x.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	run, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, errOut := bounded{limit: maxListSize}, bounded{limit: 512}
	cmd := exec.CommandContext(run, x.Command[0], x.Command[1:]...)
	if len(x.Env) > 0 {
		cmd.Env = append(cmd.Environ(), x.Env...)
	}
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = time.Second // for a grandchild that holds the pipe
	withGroup(cmd)
	err := cmd.Run()
	switch {
	case run.Err() != nil && ctx.Err() == nil:
		err = fmt.Errorf("it did not end within %v and was killed", timeout)
	case err == nil && out.cut:
		err = fmt.Errorf("it printed more than %d bytes", maxListSize)
	}
	if err != nil {
		if said := strings.TrimSpace(errOut.String()); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return failed(fmt.Errorf("discovery: %s: %w", x, err))
	}
	return listed(x.String(), out.Bytes(), x.Port)
}

// bounded is a buffer that takes everything and keeps the beginning.
type bounded struct {
	bytes.Buffer
	limit int
	cut   bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := len(p)
	if room := b.limit - b.Len(); n > room {
		p, b.cut = p[:room], true
	}
	b.Buffer.Write(p)
	return n, nil
}
