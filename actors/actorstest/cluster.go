package actorstest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/transport"
)

// Option configures a Cluster.
type Option func(*Cluster)

// WithNodes gives options to all nodes; those of Start come after them.
func WithNodes(opts ...maquis.Option) Option {
	return func(c *Cluster) { c.opts = append(c.opts, opts...) }
}

// WithSeeds says how many of the first nodes are seeds of those that start
// later; the default is 3.
func WithSeeds(n int) Option { return func(c *Cluster) { c.seeds = n } }

// Boot is what an application's main does once its node has started: spawn,
// subscribe, register. Restart calls it again.
type Boot func(n *Node) error

// Cluster is the nodes of a test and the network between them. Its methods are
// for the test's goroutine.
type Cluster struct {
	t      testing.TB
	real   bool
	over   transport.Transport
	faults *transport.Faults
	opts   []maquis.Option
	seeds  int
	nodes  []*Node
	began  time.Time

	mu         sync.Mutex
	cuts       map[[2]string]bool // pairs that cannot talk in both directions
	intercepts []*func(maquis.Packet) maquis.Verdict
	lost       []maquis.Undelivered
	timeline   []string
}

// Node is a node of the cluster. System and Distribution are those of its
// current life.
type Node struct {
	System *actor.ActorSystem
	*maquis.Distribution

	c    *Cluster
	name string
	addr string
	boot Boot
	opts []maquis.Option
	up   bool
}

// Run runs a test on virtual time, over a network in memory.
func Run(t *testing.T, test func(t *testing.T, c *Cluster), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, opts)
		c.over = transport.NewMemory()
		defer func() {
			c.end()
			time.Sleep(time.Minute) // an actor system's throttles end by themselves
		}()
		test(t, c)
	})
}

// RunReal runs a test on the machine's clock, over TCP with TLS on loopback.
func RunReal(t *testing.T, test func(t *testing.T, c *Cluster), opts ...Option) {
	t.Helper()
	c := newCluster(t, opts)
	c.real, c.over = true, transport.TCP{}
	defer c.end()
	test(t, c)
}

func newCluster(t testing.TB, opts []Option) *Cluster {
	c := &Cluster{t: t, faults: transport.NewFaults(1), seeds: 3, cuts: make(map[[2]string]bool), began: time.Now()}
	for _, o := range opts {
		o(c)
	}
	return c
}

// end stops all nodes, and shows what happened if the test has failed.
func (c *Cluster) end() {
	if c.t.Failed() {
		c.mu.Lock()
		c.t.Logf("what happened:\n%s", strings.Join(c.timeline, "\n"))
		c.mu.Unlock()
	}
	c.faults.Heal()
	for _, n := range c.nodes {
		if n.up {
			n.Crash()
		}
	}
}

// note adds a line to what is shown when a test fails.
func (c *Cluster) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timeline = append(c.timeline, fmt.Sprintf("%10v  %s", time.Since(c.began).Round(time.Millisecond), fmt.Sprintf(format, args...)))
}

// Start starts a node, which calls the first of the others, and waits for
// nothing. boot may be nil.
func (c *Cluster) Start(name string, boot Boot, opts ...maquis.Option) *Node {
	c.t.Helper()
	n := &Node{c: c, name: name, boot: boot, opts: opts}
	if slices.ContainsFunc(c.nodes, func(x *Node) bool { return x.name == name }) {
		c.t.Fatalf("actorstest: there is a node %q already", name)
	}
	c.nodes = append(c.nodes, n)
	n.start()
	return n
}

func (n *Node) start() {
	c := n.c
	c.t.Helper()
	n.System = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	n.System.EventStream.Subscribe(c.event(n.name))
	opts := []maquis.Option{
		maquis.WithProfile("test"), maquis.WithName(n.name), maquis.WithLogger(slog.New(slog.DiscardHandler)),
		maquis.WithTransport(c.faults.Node(n.name, c.over)), maquis.WithIntercept(c.judge),
		maquis.WithTiming(channelmgr.Timing{Heartbeat: time.Second, SilentAfter: 2 * time.Second, DialTimeout: time.Second}),
	}
	if c.real {
		opts = append(opts, maquis.WithSecret("actorstest: a secret on loopback"))
	} else {
		opts = append(opts, maquis.WithInsecure())
	}
	if n.addr != "" {
		opts = append(opts, maquis.WithListen(n.addr)) // where it was before
	}
	var seeds []string
	for _, x := range c.nodes {
		if x != n && x.addr != "" && len(seeds) < c.seeds {
			seeds = append(seeds, x.addr)
		}
	}
	opts = append(append(append(opts, maquis.WithSeeds(seeds...)), c.opts...), n.opts...)
	d, err := maquis.Start(context.Background(), n.System, opts...)
	if err != nil {
		c.t.Fatalf("actorstest: starting %s: %v", n.name, err)
	}
	n.Distribution, n.up = d, true
	n.addr = d.Self().Addrs[0]
	c.note("%s starts at %s", n.name, n.addr)
	if n.boot != nil {
		if err := n.boot(n); err != nil {
			c.t.Fatalf("actorstest: booting %s: %v", n.name, err)
		}
	}
}

// event notes what nodes publish.
func (c *Cluster) event(node string) func(any) {
	return func(e any) {
		switch e := e.(type) {
		case *maquis.Undelivered:
			c.mu.Lock()
			c.lost = append(c.lost, *e)
			c.mu.Unlock()
			c.note("%s: undelivered to %v: %s", node, e.Target, e.Reason)
		case *maquis.PossiblyLost:
			c.note("%s: messages %d to %d of a flow to %s lost, confirmed %v", node, e.From, e.To-1, e.Node, e.Confirmed)
		case *maquis.NodeUp:
			c.note("%s: %s is up", node, e.Member.Name)
		case *maquis.NodeSuspect:
			c.note("%s: %s is suspect", node, e.Member.Name)
		case *maquis.NodeDown:
			c.note("%s: %s is down: %s", node, e.Member.Name, e.Reason)
		case *maquis.NodeLeft:
			c.note("%s: %s has left", node, e.Member.Name)
		case *maquis.Isolated:
			c.note("%s: isolated", node)
		}
	}
}

// Crash ends a node without a word, as SIGKILL would.
func (n *Node) Crash() {
	if !n.up {
		return
	}
	n.up = false
	n.c.note("%s crashes", n.name)
	n.Kill()
	n.System.Shutdown()
}

// Restart crashes a node if it runs and starts it in another life, under the
// same name and address.
func (n *Node) Restart() {
	n.c.t.Helper()
	n.Crash()
	n.start()
}

// Name is the node's name.
func (n *Node) Name() string { return n.name }

// Live returns the nodes that run, in the order of their starts.
func (c *Cluster) Live() []*Node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *Node) bool { return !n.up })
}

// settleWithin is how long Settle waits at most.
const settleWithin = 2 * time.Minute

// Settle waits until all nodes that can reach each other, be it over others,
// agree that they are the members, and what was under way has arrived. After two
// minutes the test fails.
func (c *Cluster) Settle() {
	c.t.Helper()
	c.Until(settleWithin, func() error {
		for _, side := range c.sides() {
			var names []string
			for _, n := range side {
				names = append(names, n.name)
			}
			slices.Sort(names)
			for _, n := range side {
				for _, m := range n.Members() {
					switch i := slices.IndexFunc(side, func(other *Node) bool { return other.name == m.Name }); {
					case m.Status == maquis.Suspect:
						return fmt.Errorf("%s suspects %s", n.name, m.Name)
					case m.Status == maquis.Alive && i >= 0 && m.Incarnation != side[i].Self().Incarnation:
						return fmt.Errorf("%s has not heard that %s was started again", n.name, m.Name)
					}
				}
				if got := n.NodeList(); !slices.Equal(got, names) {
					return fmt.Errorf("%s takes %v for members, not %v", n.name, got, names)
				}
			}
		}
		return nil
	})
	c.Pass(100 * time.Millisecond)
}

// sides are the nodes that can reach each other, in the order of their starts.
func (c *Cluster) sides() (list [][]*Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.Live()
	for len(rest) > 0 {
		side := []*Node{rest[0]}
		rest = rest[1:]
		for i := 0; i < len(side); i++ {
			rest = slices.DeleteFunc(rest, func(n *Node) bool {
				near := !c.cuts[pair(side[i].name, n.name)]
				if near {
					side = append(side, n)
				}
				return near
			})
		}
		list = append(list, side)
	}
	return list
}

// Until waits until a condition holds, which says what is missing. After the
// time given the test fails.
func (c *Cluster) Until(within time.Duration, missing func() error) {
	c.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		err := missing()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("after %v: %v", within, err)
		}
	}
}

// Pass lets time pass.
func (c *Cluster) Pass(d time.Duration) { time.Sleep(d) }

// Undelivered returns what all nodes have published as undelivered so far.
func (c *Cluster) Undelivered() []maquis.Undelivered {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lost)
}
