//go:build linux

package faultnet

import (
	"cmp"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bed makes faults between processes that listen on addresses of their own.
type Bed interface {
	Name() string
	// Wrapped says that nodes are to make the faults themselves.
	Wrapped() bool
	// Set makes the faults all those given and no others.
	Set(c *Cluster, ways []Way) error
	// Reset breaks the connections between two nodes that stand.
	Reset(c *Cluster, a, b string) error
}

// housed is a bed that has places of its own for nodes.
type housed interface {
	host(i int) string // the IP address of the node with that number; "" if there is no place for it
	start(i int, cmd *exec.Cmd) error
}

// Options of a cluster. Zero fields mean defaults.
type Options struct {
	Overlay string // hyparview
	Preset  string // local
	Dir     string // for ledgers; must exist
	Flow    FlowChannel
}

// Cluster is a set of node processes. Its methods are safe for concurrent use,
// but for New and Close.
type Cluster struct {
	bed    Bed
	opts   Options
	secret string
	port   int

	setting sync.Mutex // of faults, one after the other

	mu     sync.Mutex
	places map[string]string
	order  []string         // of places: a node's number
	procs  map[string]*Proc // the last life of each name
	ended  map[uint64]bool  // lives that were killed
	ways   map[[2]string]Way
	events []Event
	change chan struct{} // closed and replaced with each event
}

// Event is something that a node has told.
type Event struct {
	By string // the node
	Line
}

// New makes a cluster without nodes.
func New(bed Bed, opts Options) (*Cluster, error) {
	opts.Overlay = cmp.Or(opts.Overlay, "hyparview")
	opts.Preset = cmp.Or(opts.Preset, "local")
	var key [32]byte
	if _, err := crand.Read(key[:]); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	return &Cluster{bed: bed, opts: opts, secret: hex.EncodeToString(key[:]), port: port,
		places: make(map[string]string), procs: make(map[string]*Proc), ended: make(map[uint64]bool), ways: make(map[[2]string]Way), change: make(chan struct{})}, nil
}

// freePort finds a port that is free on all addresses, below those that dials
// take, so that it stays free while a node is down.
func freePort() (int, error) {
	for range 1000 {
		port := 10000 + rand.IntN(20000)
		ln, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return port, ln.Close()
	}
	return 0, errors.New("faultnet: no free port from 10000 to 30000 was found")
}

// Close kills all processes.
func (c *Cluster) Close() {
	for _, p := range c.Live() {
		_ = p.Kill()
	}
	_ = c.bed.Set(c, nil)
}

// Place gives a node its address, which it keeps over all its lives.
func (c *Cluster) Place(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places[name] == "" {
		i := len(c.order)
		host := fmt.Sprint("127.0.0.", 2+i)
		if h, ok := c.bed.(housed); ok {
			host = h.host(i)
		}
		c.places[name] = fmt.Sprintf("%s:%d", host, c.port)
		c.order = append(c.order, name)
	}
	return c.places[name]
}

// number is the number of the node at a place.
func (c *Cluster) number(place string) int {
	c.Place(place)
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Index(c.order, place)
}

// run starts a command at a place.
func (c *Cluster) run(place string, cmd *exec.Cmd) error {
	h, ok := c.bed.(housed)
	if !ok {
		return cmd.Start()
	}
	i := c.number(place)
	if h.host(i) == "" {
		return fmt.Errorf("faultnet: the bed %s has no place for a node with number %d", c.bed.Name(), i)
	}
	return h.start(i, cmd)
}

// Live returns the processes that run, by name; those that stand still, too.
func (c *Cluster) Live() []*Proc {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*Proc
	for _, name := range slices.Sorted(maps.Keys(c.procs)) {
		if p := c.procs[name]; !p.over() {
			list = append(list, p)
		}
	}
	return list
}

// Cut cuts two nodes off from each other.
func (c *Cluster) Cut(a, b string) error {
	return c.set(Way{From: a, To: b, Cut: true}, Way{From: b, To: a, Cut: true})
}

// CutOneWay ends what goes from one node to another.
func (c *Cluster) CutOneWay(from, to string) error { return c.set(Way{From: from, To: to, Cut: true}) }

// Both makes both directions between two nodes so.
func (c *Cluster) Both(a, b string, w Way) error {
	there, back := w, w
	there.From, there.To = a, b
	back.From, back.To = b, a
	return c.set(there, back)
}

// Lose has a part of the packets between two nodes lost.
func (c *Cluster) Lose(a, b string, part float64) error {
	return c.Both(a, b, Way{Loss: part})
}

// Partition cuts all nodes of one side off from all of the other.
func (c *Cluster) Partition(left, right []string) error {
	var ways []Way
	for _, a := range left {
		for _, b := range right {
			ways = append(ways, Way{From: a, To: b, Cut: true}, Way{From: b, To: a, Cut: true})
		}
	}
	return c.set(ways...)
}

// Restore ends what is wrong between two nodes.
func (c *Cluster) Restore(a, b string) error { return c.set(Way{From: a, To: b}, Way{From: b, To: a}) }

// Heal ends all that is wrong.
func (c *Cluster) Heal() error {
	c.setting.Lock()
	defer c.setting.Unlock()
	c.mu.Lock()
	clear(c.ways)
	c.mu.Unlock()
	return c.bed.Set(c, nil)
}

// set changes ways and has the bed do it.
func (c *Cluster) set(ways ...Way) error {
	c.setting.Lock()
	defer c.setting.Unlock()
	c.mu.Lock()
	for _, w := range ways {
		if w == (Way{From: w.From, To: w.To}) {
			delete(c.ways, [2]string{w.From, w.To})
		} else {
			c.ways[[2]string{w.From, w.To}] = w
		}
	}
	c.mu.Unlock()
	return c.bed.Set(c, c.wrong())
}

// wrong lists all that is wrong.
func (c *Cluster) wrong() []Way {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Collect(maps.Values(c.ways))
	slices.SortFunc(list, func(a, b Way) int { return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To)) })
	return list
}

// Reset breaks the connections between two nodes.
func (c *Cluster) Reset(a, b string) error { return c.bed.Reset(c, a, b) }

// record keeps what a node has told.
func (c *Cluster) record(by string, l Line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, Event{by, l})
	close(c.change)
	c.change = make(chan struct{})
}

// Events returns what nodes have told since a time, in the order in which it
// came, as far as match says so.
func (c *Cluster) Events(since time.Time, match func(Event) bool) (list []Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.At.After(since) && match(e) {
			list = append(list, e)
		}
	}
	return list
}

// Forget drops the events of before a time, for clusters that live long.
func (c *Cluster) Forget(before time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = slices.DeleteFunc(c.events, func(e Event) bool { return e.At.Before(before) })
}

// Await waits until count events since a time match.
func (c *Cluster) Await(since time.Time, within time.Duration, count int, match func(Event) bool) ([]Event, error) {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		c.mu.Lock()
		change := c.change
		c.mu.Unlock()
		list := c.Events(since, match)
		if len(list) >= count {
			return list, nil
		}
		select {
		case <-change:
		case <-late.C:
			return list, fmt.Errorf("%d of %d events came within %v", len(list), count, within)
		}
	}
}

// Audit compares the ledgers of all lives.
func (c *Cluster) Audit() (Accounts, error) {
	c.mu.Lock()
	ended := maps.Clone(c.ended)
	c.mu.Unlock()
	return Audit(c.opts.Dir, func(_ string, life uint64) bool { return ended[life] })
}

// errNotExact is why a roster is not what it should be.
var errNotExact = errors.New("the roster is not exact")

// Exact checks that each of the processes takes all of them, in their present
// lives, for its members, suspects nobody, and knows nobody else to be up.
func (c *Cluster) Exact(procs []*Proc) error {
	lives := make(map[string]uint64)
	for _, p := range procs {
		lives[p.Name] = p.Life()
	}
	errs := make([]error, len(procs))
	var wg sync.WaitGroup
	for i, p := range procs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			l, err := p.Ask(Order{Do: "members"}, 5*time.Second)
			if err != nil {
				errs[i] = err
				return
			}
			up := 0
			for _, m := range l.Members {
				switch m.Status {
				case "alive":
					if lives[m.Name] != m.Life {
						errs[i] = fmt.Errorf("%w: %s has %s in a life that is none", errNotExact, p.Name, m.Name)
					}
					up++
				case "down", "left":
				default:
					errs[i] = fmt.Errorf("%w: %s has %s as %s", errNotExact, p.Name, m.Name, m.Status)
				}
			}
			if errs[i] == nil && up != len(procs) {
				errs[i] = fmt.Errorf("%w: %s knows %d of %d", errNotExact, p.Name, up, len(procs))
			}
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// UntilExact waits until Exact, and says how long that took.
func (c *Cluster) UntilExact(within time.Duration, procs ...*Proc) (time.Duration, error) {
	began := time.Now()
	for {
		err := c.Exact(procs)
		took := time.Since(began)
		switch {
		case err == nil:
			return took, nil
		case took > within:
			return took, fmt.Errorf("after %v: %w", within, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
