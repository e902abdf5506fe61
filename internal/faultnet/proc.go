//go:build linux

package faultnet

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// startWithin bounds how long a process takes to listen, on a busy machine.
const startWithin = 30 * time.Second

// Proc is a process: one life of a node.
type Proc struct {
	Name string

	c      *Cluster
	cmd    *exec.Cmd
	stderr bytes.Buffer
	done   chan struct{}
	life   atomic.Uint64
	ids    atomic.Uint64
	still  atomic.Bool // stopped by a signal

	mu      sync.Mutex
	in      io.WriteCloser
	answers map[uint64]chan Line
}

// Start starts a process and waits until it listens. Its seeds are names of
// nodes, or addresses with a colon.
func (c *Cluster) Start(name string, seeds ...string) (*Proc, error) {
	p, err := c.launch(name, name, seeds)
	if err != nil {
		return nil, err
	}
	return p, p.listening()
}

// launch starts a process of a node's name at the place of another, which is
// mostly the same, and waits for nothing.
func (c *Cluster) launch(place, name string, seeds []string) (*Proc, error) {
	if len(name) > maxName {
		return nil, fmt.Errorf("faultnet: node name %q: use at most %d bytes", name, maxName)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c.setting.Lock() // it begins with the faults of now, and misses none that come
	defer c.setting.Unlock()
	c.mu.Lock()
	_, known := c.places[place]
	c.mu.Unlock()
	listen := c.Place(place)
	if !known { // those that run learn where it will be
		if err := c.bed.Set(c, c.wrong()); err != nil {
			return nil, err
		}
	}
	cfg := Config{Name: name, Listen: listen, Secret: c.secret, Overlay: c.opts.Overlay, Preset: c.opts.Preset, Dir: c.opts.Dir, Wrapped: c.bed.Wrapped(), Ways: c.wrong(), Flow: c.opts.Flow}
	for _, s := range seeds {
		if !strings.Contains(s, ":") {
			s = c.Place(s)
		}
		cfg.Seeds = append(cfg.Seeds, s)
	}
	c.mu.Lock()
	cfg.Places = maps.Clone(c.places)
	c.mu.Unlock()
	b, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	p := &Proc{Name: name, c: c, cmd: exec.Command(exe), done: make(chan struct{}), answers: make(map[uint64]chan Line)}
	p.cmd.Env = append(os.Environ(), envConfig+"="+string(b))
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.run(place, p.cmd); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.procs[place] = p
	c.mu.Unlock()
	go p.read(out)
	return p, nil
}

// listening waits until the process listens.
func (p *Proc) listening() error {
	late := time.NewTimer(startWithin)
	defer late.Stop()
	for p.life.Load() == 0 {
		p.c.mu.Lock()
		change := p.c.change
		p.c.mu.Unlock()
		if p.life.Load() != 0 {
			break
		}
		select {
		case <-change:
		case <-p.done:
			return fmt.Errorf("faultnet: %s ended: %v: %s", p.Name, p.cmd.ProcessState, bytes.TrimSpace(p.stderr.Bytes()))
		case <-late.C:
			return fmt.Errorf("faultnet: %s does not listen after %v", p.Name, startWithin)
		}
	}
	return nil
}

// read takes the process's lines until it ends.
func (p *Proc) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var l Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			p.c.record(p.Name, Line{Event: "failed", At: time.Now(), Detail: fmt.Sprintf("%v: %s", err, lines.Text())})
			continue
		}
		if l.Answer != 0 {
			p.mu.Lock()
			ch := p.answers[l.Answer]
			delete(p.answers, l.Answer)
			p.mu.Unlock()
			if ch != nil {
				ch <- l
			}
			continue
		}
		if l.Event == "listening" {
			p.life.Store(l.Life)
		}
		p.c.record(p.Name, l)
	}
	_ = p.cmd.Wait()
	close(p.done)
	if p.stderr.Len() > 0 { // a panic, or the race detector
		p.c.record(p.Name, Line{Event: "failed", At: time.Now(), Detail: p.stderr.String()})
	}
}

// Life is the incarnation of the node.
func (p *Proc) Life() uint64 { return p.life.Load() }

// over reports whether the process has ended.
func (p *Proc) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Tell gives an order and waits for nothing.
func (p *Proc) Tell(o Order) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err = p.in.Write(append(b, '\n'))
	return err
}

// errNoAnswer is that of a process that does not answer.
var errNoAnswer = errors.New("no answer")

// Ask gives an order and waits for its answer. The order's own time comes on
// top of within.
func (p *Proc) Ask(o Order, within time.Duration) (Line, error) {
	o.ID = p.ids.Add(1)
	ch := make(chan Line, 1)
	p.mu.Lock()
	p.answers[o.ID] = ch
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.answers, o.ID)
		p.mu.Unlock()
	}()
	if err := p.Tell(o); err != nil {
		return Line{}, fmt.Errorf("%s: %w", p.Name, err)
	}
	late := time.NewTimer(within + o.Wait)
	defer late.Stop()
	select {
	case l := <-ch:
		if l.Err != "" {
			return l, fmt.Errorf("%s: %s", p.Name, l.Err)
		}
		return l, nil
	case <-p.done:
		return Line{}, fmt.Errorf("%s ended", p.Name)
	case <-late.C:
		return Line{}, fmt.Errorf("%s: %w within %v to %q", p.Name, errNoAnswer, within+o.Wait, o.Do)
	}
}

// Stats asks for statistics.
func (p *Proc) Stats() (Stats, error) {
	l, err := p.Ask(Order{Do: "stats"}, 10*time.Second)
	if err != nil || l.Stats == nil {
		return Stats{}, err
	}
	return *l.Stats, nil
}

// Goroutines are those of the process, as runtime/pprof counts them by stack.
func (p *Proc) Goroutines() (string, error) {
	l, err := p.Ask(Order{Do: "goroutines"}, 10*time.Second)
	return l.Detail, err
}

// Kill ends the process by SIGKILL and waits for its end.
func (p *Proc) Kill() error {
	p.c.mu.Lock()
	p.c.ended[p.Life()] = true
	p.c.mu.Unlock()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// Suspend stops the process by SIGSTOP.
func (p *Proc) Suspend() error {
	p.still.Store(true)
	return p.cmd.Process.Signal(syscall.SIGSTOP)
}

// Resume lets it go on.
func (p *Proc) Resume() error {
	p.still.Store(false)
	return p.cmd.Process.Signal(syscall.SIGCONT)
}

// Suspended reports whether it stands still.
func (p *Proc) Suspended() bool { return p.still.Load() }
