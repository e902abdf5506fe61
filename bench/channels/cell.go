package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// cell is one measure: a stack, what it does, and over which link.
type cell struct {
	Kind   string // matrix, window, beside, packed, modes, kvs
	Stack  string // protoactor, or the name of a channel of ours
	Size   int
	Bulk   int    `json:",omitempty"` // of beside: bytes of the large messages
	On     string `json:",omitempty"` // of beside: their channel
	Short  bool   `json:",omitempty"` // of beside: with short queues
	Actors int    // of modes: nodes
	RTT    time.Duration
	Rate   int    // of the line, bytes a second
	Buffer int    `json:",omitempty"` // of the line, bytes
	Window int    `json:",omitempty"` // of a connection, bytes; 0: what the kernel finds
	CC     string `json:",omitempty"` // congestion control; "": the machine's
	Want   string `json:",omitempty"` // which link: tun, proxy, auto
	For    time.Duration

	PerS     float64 // messages or round trips a second
	Base     float64 `json:",omitempty"` // of modes: fifo's, in turn with it
	P50, P99 float64 // ms
	Count    int     `json:",omitempty"` // of messages or round trips
	Load     float64 // of the machine before

	Bulks            float64   `json:",omitempty"` // of beside: bytes of large messages a second
	Beats            int       `json:",omitempty"` // of beside: heartbeats that came back
	BeatP50, BeatP99 float64   `json:",omitempty"` // ms
	BareP50, BareP99 float64   `json:",omitempty"` // ms, of a byte over a bare TCP connection meanwhile
	Suspicions       int       `json:",omitempty"` // of all nodes
	CPU              []float64 `json:",omitempty"` // processors that the link's process used, then each node's
	Link             linkSeen
	Sockets          []socket `json:",omitempty"` // of the client
}

// window is that of a connection, as in the paper's figures: there a single one
// moves 45 messages of 512 KB a second at 20 ms.
const window = 512 << 10

// openLink opens the link of a cell.
func (c *cell) openLink(nodes int) (link, error) {
	if c.Want != "proxy" {
		l, err := openTun(c, nodes)
		if err == nil || c.Want == "tun" || !errors.Is(err, errNoTun) {
			return l, err
		}
	}
	return &path{rtt: c.RTT, window: window, rate: c.Rate}, nil
}

// proc is a node's process.
type proc struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
}

// next waits for a line of a kind.
func (p *proc) next(event string) (r nodeReport, err error) {
	if err := p.out.Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %w", p.name, err)
	}
	if r.Event != event {
		return r, fmt.Errorf("%s: %q instead of %q", p.name, r.Event, event)
	}
	return r, nil
}

// run fills in what a cell found.
func (c *cell) run() (err error) {
	if c.Kind == "modes" {
		return c.modes()
	}
	names := []string{"server", "client"}
	if c.Kind == "kvs" {
		names = []string{"n0", "n1", "n2"}
	}
	l, err := c.openLink(len(names))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var places []place
	for i, name := range names {
		p, err := l.place(i, name)
		if err != nil {
			return err
		}
		places = append(places, p)
	}
	var procs []*proc
	for i := range names {
		p, err := c.node(l, i, places)
		if p != nil {
			procs = append(procs, p)
			defer func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() }()
		}
		if err != nil {
			return err
		}
	}
	active := procs[1:]
	if c.Kind == "kvs" {
		active = procs
	}
	if err := c.measured(l, active, procs); err != nil {
		return err
	}
	c.Link = l.seen()
	for _, p := range procs {
		_ = p.in.Close()
		r, err := p.next("bye")
		if err != nil {
			return err
		}
		c.Suspicions += r.Suspicions
	}
	return nil
}

// node starts a node's process and waits until it is ready.
func (c *cell) node(l link, i int, places []place) (*proc, error) {
	b, err := json.Marshal(nodeConfig{Cell: *c, Self: places[i], Server: places[0], Others: places[:i], All: places})
	if err != nil {
		return nil, err
	}
	p := &proc{name: places[i].Name, cmd: exec.Command(os.Args[0], "-node", string(b))}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(out)
	if err := l.start(i, p.cmd); err != nil {
		return nil, err
	}
	_, err = p.next("ready")
	return p, err
}

// measured has nodes measure and adds up what they say.
func (c *cell) measured(l link, active, all []*proc) error {
	for _, p := range active {
		if _, err := io.WriteString(p.in, "go\n"); err != nil {
			return err
		}
	}
	for _, p := range active {
		if _, err := p.next("begin"); err != nil {
			return err
		}
	}
	pids := []int{os.Getpid()}
	for _, p := range all {
		pids = append(pids, p.cmd.Process.Pid)
	}
	if c.Kind == "beside" {
		p, err := l.probe()
		if err != nil {
			return err
		}
		if p != nil {
			go p.run()
			defer func() { c.BareP50, c.BareP99 = p.end() }()
		}
	}
	before, began := cpus(pids), time.Now()
	for _, p := range active {
		r, err := p.next("end")
		if err != nil {
			return err
		}
		c.PerS, c.Count, c.Bulks = c.PerS+r.PerS, c.Count+r.Count, c.Bulks+r.Bulk
		c.P50, c.P99 = max(c.P50, r.P50), max(c.P99, r.P99)
		c.Beats, c.BeatP50, c.BeatP99 = c.Beats+r.Beats, max(c.BeatP50, r.BeatP50), max(c.BeatP99, r.BeatP99)
		c.Sockets = r.Sockets
	}
	took := time.Since(began).Seconds()
	for i, after := range cpus(pids) {
		c.CPU = append(c.CPU, (after-before[i])/took)
	}
	return nil
}

// cpus are the seconds that processes have spent on processors; 0 where nobody
// tells.
func cpus(pids []int) (list []float64) {
	const tick = 100 // a second, on Linux
	for _, pid := range pids {
		var user, system float64
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			if _, rest, ok := strings.Cut(string(b), ") "); ok {
				if f := strings.Fields(rest); len(f) > 12 {
					_, _ = fmt.Sscan(f[11], &user)
					_, _ = fmt.Sscan(f[12], &system)
				}
			}
		}
		list = append(list, (user+system)/tick)
	}
	return list
}
