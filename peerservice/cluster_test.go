package peerservice

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

func TestMain(m *testing.M) {
	cmap.SHARD_COUNT = 4 // an actor system allocates a thousand of these tables
	goleak.VerifyTestMain(m)
}

// cluster is a set of nodes on one network, on virtual time.
type cluster struct {
	t      *testing.T
	memory *transport.Memory
	faults *transport.Faults
	nodes  map[string]*node
	lives  int

	routing channelmgr.Policy // of nodes that are started from now on
}

// bubble runs a test on virtual time and stops all its nodes at the end.
func bubble(t *testing.T, test func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, routing: channelmgr.DirectFirst, memory: transport.NewMemory(), faults: transport.NewFaults(1), nodes: make(map[string]*node)}
		defer func() {
			c.faults.Heal()
			for _, n := range c.nodes {
				n.crash()
			}
			c.pass(time.Minute) // an actor system's dead-letter throttle ends by itself
		}()
		test(t, c)
	})
}

// node is one node with a record of what it told.
type node struct {
	c      *cluster
	name   string
	system *actor.ActorSystem
	reg    *channelmgr.Registry
	svc    *Service
	cancel context.CancelFunc
	ended  chan struct{}
	once   sync.Once

	mu     sync.Mutex
	log    []string // events and ends of lives, in order
	got    []string // messages received
	heard  []string // broadcasts received
	failed error
	panics map[string]string // part -> type of the message on which it fails, or ""
	struck int
}

// start starts a node that calls the seeds given, and waits for nothing.
func (c *cluster) start(name string, seeds []string, opts ...func(*Config)) *node {
	c.t.Helper()
	n := c.startAt(addr(name), name, seeds, opts...)
	c.nodes[name] = n
	return n
}

// startAt is start at another address than the name's.
func (c *cluster) startAt(at, name string, seeds []string, opts ...func(*Config)) *node {
	c.t.Helper()
	c.lives++
	quiet := slog.New(slog.DiscardHandler)
	if os.Getenv("PEERSERVICE_LOG") != "" {
		quiet = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
	}
	sec, err := handshake.NewSecurity(handshake.SecurityConfig{Mode: handshake.ModeInsecure, Cluster: "c", Node: name})
	require.NoError(c.t, err)
	n := &node{c: c, name: name, ended: make(chan struct{}), panics: make(map[string]string),
		system: actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))}
	n.reg, err = channelmgr.New(channelmgr.Config{
		System: n.system, Self: overlay.Peer{Name: name, Incarnation: overlay.Incarnation(1000 + c.lives)}, Cluster: "c", Security: sec,
		Transport: c.faults.Node(name, c.memory), Listen: at, Types: messages.NewRegistry(), Logger: quiet,
		Timing: channelmgr.Timing{SilentAfter: 2 * time.Second, DialTimeout: time.Second}, Routing: c.routing,
	})
	require.NoError(c.t, err)
	n.reg.SetReceiver(n)
	require.NoError(c.t, n.reg.Listen(context.Background()))
	n.system.ProcessRegistry.Address = n.reg.Address()
	cfg := Config{
		System: n.system, Registry: n.reg, Preset: roster.Local, Seeds: seeds, Seed: uint64(c.lives), Logger: quiet,
		OnNodeGone: func(p overlay.Peer, _ messages.Reason) { n.note("gone " + p.Name) },
		OnFail:     func(err error) { n.mu.Lock(); n.failed = err; n.mu.Unlock() },
		OnBroadcast: func(o overlay.Peer, data []byte) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.heard = append(n.heard, o.Name+" "+string(data))
		},
		tap: n.tap,
	}
	for _, o := range opts {
		o(&cfg)
	}
	// The seeds are called once somebody listens: else what they bring may be in
	// the first Snapshot instead of an event.
	seeds, cfg.Seeds = cfg.Seeds, nil
	n.svc, err = Start(context.Background(), cfg)
	require.NoError(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	sub := n.svc.Subscribe(1000)
	first, ok := sub.Next(ctx)
	require.True(c.t, ok)
	n.note(describe(first))
	if len(seeds) > 0 {
		n.svc.call(seeds)
	}
	go func() {
		defer close(n.ended)
		for {
			e, ok := sub.Next(ctx)
			if !ok {
				return
			}
			n.note(describe(e))
		}
	}()
	return n
}

func addr(name string) string {
	if i, err := strconv.Atoi(name[1:]); err == nil {
		return fmt.Sprintf("10.1.0.%d:6278", i)
	}
	return fmt.Sprintf("10.0.0.%d:6278", 1+int(name[0]-'a'))
}

func describe(e Event) string {
	switch e := e.(type) {
	case Snapshot:
		return fmt.Sprintf("snapshot %d", len(e.Members))
	case Up:
		return "up " + e.Member.Peer.Name
	case Suspect:
		return "suspect " + e.Member.Peer.Name
	case Down:
		return "down " + e.Member.Peer.Name
	case Left:
		return "left " + e.Member.Peer.Name
	case Updated:
		return "updated " + e.New.Peer.Name
	case Isolated:
		return "isolated"
	case Refused:
		return "refused " + e.Contact + " " + string(e.Reason)
	}
	return fmt.Sprintf("%T", e)
}

func (n *node) note(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, s)
}

// told returns what was told of the given kinds.
func (n *node) told(kinds ...string) []string {
	synctest.Wait() // what was published is noted
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []string
	for _, s := range n.log {
		if slices.Contains(kinds, strings.Fields(s)[0]) {
			list = append(list, s)
		}
	}
	return list
}

func (n *node) Receive(m *channelmgr.Incoming) messages.Reason {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, m.Msg.(*wrapperspb.StringValue).Value)
	return ""
}

func (n *node) Undelivered(channelmgr.Undelivered) {}
func (n *node) Lost(channelmgr.Loss)               {}

// tap makes a part fail on the next message of a type; a type that ends in "!"
// fails on each. Of a notice the type of what was notified counts.
func (n *node) tap(part string, msg any) {
	n.mu.Lock()
	what, ok := n.panics[part]
	is := fmt.Sprintf("%T", msg)
	if m, ok := msg.(notice); ok {
		is = fmt.Sprintf("%T", m.value)
	}
	if !ok || strings.TrimSuffix(what, "!") != is {
		n.mu.Unlock()
		return
	}
	if !strings.HasSuffix(what, "!") {
		delete(n.panics, part)
	}
	n.struck++
	n.mu.Unlock()
	panic("struck by the test")
}

func (n *node) strike(part, what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.panics["maquis/"+part] = what
}

func (n *node) strikes() int { n.mu.Lock(); defer n.mu.Unlock(); return n.struck }

// crash ends a node as a kill would: without a word.
func (n *node) crash() {
	n.once.Do(func() {
		n.reg.Close()
		n.svc.Stop()
		n.cancel()
		<-n.ended
		n.system.Shutdown()
		if n.c.nodes[n.name] == n {
			delete(n.c.nodes, n.name)
		}
	})
}

// sees waits until a node knows exactly these live members, itself included,
// and has links to all of them.
func (n *node) sees(names ...string) {
	n.c.t.Helper()
	n.c.until(20*time.Second, func() string {
		var got []string
		for _, m := range n.svc.View().Members {
			got = append(got, m.Peer.Name)
			if s := n.reg.Session(m.Peer.Name); m.Peer.Name != n.name && (s == nil || !s.Linked()) {
				return n.name + " has no link to " + m.Peer.Name
			}
			if m.Status != roster.StatusAlive {
				return fmt.Sprintf("%s takes %s for %s", n.name, m.Peer.Name, m.Status)
			}
		}
		if !slices.Equal(got, names) {
			return fmt.Sprintf("%s sees %v, not %v", n.name, got, names)
		}
		return ""
	})
}

// until waits for a condition, at most so long in virtual time. The condition
// says what is missing.
func (c *cluster) until(within time.Duration, missing func() string) {
	c.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		what := missing()
		if what == "" {
			return
		}
		if time.Since(began) > within {
			for _, n := range c.nodes {
				n.mu.Lock()
				c.t.Logf("%s told %v", n.name, n.log)
				n.mu.Unlock()
			}
			c.t.Fatalf("after %v: %s", within, what)
		}
	}
}

// pass lets virtual time pass.
func (c *cluster) pass(d time.Duration) { <-time.After(d) }

// form starts nodes that have the first as their seed and waits until all see
// all.
func (c *cluster) form(names ...string) []*node {
	c.t.Helper()
	var list []*node
	for i, name := range names {
		var seeds []string
		if i > 0 {
			seeds = []string{addr(names[0])}
		}
		list = append(list, c.start(name, seeds))
	}
	for _, n := range list {
		n.sees(names...)
	}
	return list
}
