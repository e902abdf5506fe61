package scenario

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/hyparview"
	"github.com/maquis-go/maquis/overlay/plumtree"
	"github.com/maquis-go/maquis/overlay/roster"
	"github.com/maquis-go/maquis/overlay/sim"
)

// isRoster reports whether a message is of the roster.
func isRoster(m proto.Message) bool {
	return strings.HasPrefix(string(m.ProtoReflect().Descriptor().Name()), "Roster")
}

// cluster is nodes with a roster over HyParView, and what they told.
type cluster struct {
	t     testing.TB
	w     *sim.World
	downs map[int]map[string]overlay.Time // by node: who was declared down when
	left  map[int]map[string]bool
	news  int // delivered by a tree
}

const (
	rosterInstance = iota
	stackInstance
)

var members = flag.Int("members", 60, "nodes of the tests of the roster")

func newCluster(t testing.TB, cfg sim.Config, n int, tree bool, more ...func(*roster.Config)) *cluster {
	c := &cluster{t: t, downs: make(map[int]map[string]overlay.Time), left: make(map[int]map[string]bool)}
	if cfg.Link.Latency == 0 {
		cfg.Link.Latency, cfg.Link.Jitter = 5*time.Millisecond, 5*time.Millisecond
	}
	cfg.Sizes = true
	cfg.Generation = func(m overlay.Machine) uint64 {
		return m.(*sim.Node).Instance(rosterInstance).(*roster.Machine).Self().Generation
	}
	cfg.Factory = func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
		rc := roster.LAN(roster.Config{
			Self: roster.Record{Peer: self, Generation: 1, Version: 1, Addrs: []string{self.Addr}}, Rand: rng, Partial: true, Tree: tree})
		for _, o := range more {
			o(&rc)
		}
		r, err := roster.New(rc)
		require.NoError(t, err)
		h, err := hyparview.New(hyparview.DefaultConfig(self, rng))
		require.NoError(t, err)
		stack := overlay.NewStack(h)
		if tree {
			p, err := plumtree.New(plumtree.DefaultConfig(self))
			require.NoError(t, err)
			stack = overlay.NewStack(h, p)
		}
		return sim.NewNode(connect, sim.Instance{Machine: r, Owns: isRoster}, sim.Instance{Machine: stack})
	}
	cfg.Notify = c.notice
	w, err := sim.New(cfg)
	require.NoError(t, err)
	c.w = w
	for i := range n {
		w.Add()
		if i > 0 {
			w.Join(i, 0)
		}
		w.Run(20 * time.Millisecond)
	}
	return c
}

// connect is how a roster and an overlay of partial views hang together.
func connect(n *sim.Node, from int, notice any) {
	switch x := notice.(type) {
	case overlay.NeighborUp:
		n.Feed(rosterInstance, x)
	case overlay.NeighborDown:
		n.Feed(rosterInstance, x)
	case overlay.Publish:
		n.Feed(stackInstance, x)
	case overlay.Delivered:
		n.Feed(rosterInstance, x)
	case roster.Down:
		n.Feed(stackInstance, overlay.MemberDown{Peer: x.Member.Peer})
	case roster.Gone:
		n.Feed(stackInstance, overlay.MemberDown{Peer: x.Member.Peer})
	case roster.Met:
		n.Feed(stackInstance, overlay.Join{Contacts: []overlay.Peer{{Addr: x.Peer.Addr}}})
	}
}

func (c *cluster) notice(w *sim.World, node int, notice any) {
	switch x := notice.(type) {
	case roster.Down:
		if x.Reason == "past_life" {
			return
		}
		if c.downs[node] == nil {
			c.downs[node] = make(map[string]overlay.Time)
		}
		c.downs[node][x.Member.Peer.Name] = w.Now()
	case roster.Gone:
		if c.left[node] == nil {
			c.left[node] = make(map[string]bool)
		}
		c.left[node][x.Member.Peer.Name] = true
	case overlay.Delivered:
		c.news++
	case roster.Up:
		delete(c.downs[node], x.Member.Peer.Name)
	}
}

func (c *cluster) roster(i int) *roster.Machine {
	return c.w.Machine(i).(*sim.Node).Instance(rosterInstance).(*roster.Machine)
}

// exact reports whether every live node's roster says that exactly the live
// nodes live; if not, it says who differs.
func (c *cluster) exact() (bool, string) {
	live := c.w.Live()
	for _, i := range live {
		n := 0
		for _, m := range c.roster(i).Members() {
			j, _ := c.w.Index(m.Peer.Name)
			if m.Status >= roster.StatusDown {
				continue
			}
			if !c.w.Alive(j) || m.Peer.Incarnation != c.w.Peer(j).Incarnation {
				return false, fmt.Sprintf("n%d believes that %v lives", i, m.Peer)
			}
			n++
		}
		if n != len(live) {
			return false, fmt.Sprintf("n%d knows %d of %d", i, n, len(live))
		}
	}
	return true, ""
}

func (c *cluster) waitExact(within time.Duration) time.Duration {
	c.t.Helper()
	began := c.w.Now()
	var why string
	ok := c.w.Until(within, 250*time.Millisecond, func() bool {
		var is bool
		is, why = c.exact()
		return is
	})
	require.True(c.t, ok, "after %v: %s", within, why)
	return c.w.Now().Sub(began)
}

// All know all over partial views; a crash is known to all in bounded time; a
// leave is final; halves of a long partition merge.
// It needs no broadcast tree for that. `go test -run Roster -members 1000 -v
// ./overlay/sim/scenario` has the figures of 1,000 nodes.
func TestRosterOverPartialViews(t *testing.T) {
	long(t)
	t.Run("tree", func(t *testing.T) { testRoster(t, true) })
	t.Run("no tree", func(t *testing.T) { testRoster(t, false) })
}

func testRoster(t *testing.T, tree bool) {
	n := *members
	c := newCluster(t, sim.Config{Seed: 1, Check: n <= 100}, n, tree)
	t.Logf("joined: all know all after %v", c.waitExact(time.Minute))
	require.Empty(t, c.downs)
	require.Equal(t, tree, c.news > 0, "news go over the tree if there is one")

	c.w.Run(30 * time.Second)
	before := c.w.Totals().Bytes
	c.w.Run(time.Minute)
	t.Logf("at rest: %.0f bytes a second and node", float64(c.w.Totals().Bytes-before)/float64(n)/60)

	c.w.Crash(17)
	t.Logf("crash: known to all after %v", c.waitExact(30*time.Second))

	c.w.Leave(23, 2*time.Second)
	c.w.Run(2 * time.Second)
	t.Logf("leave: known to all after %v", c.waitExact(20*time.Second))
	c.w.Run(time.Minute)
	for _, i := range c.w.Live() {
		require.True(t, c.left[i]["n23"], "n%d", i)
		m, ok := c.roster(i).Lookup("n23")
		require.True(t, ok)
		require.Equal(t, roster.StatusLeft, m.Status, "n%d: a leave is never undone", i)
	}

	c.w.Restart(17)
	c.w.Join(17, 3, 4)
	t.Logf("restart: known to all after %v", c.waitExact(30*time.Second))

	half := c.w.Live()[:n/2]
	c.w.Partition(half)
	c.w.Run(10 * time.Minute)
	c.w.Heal()
	t.Logf("healed: all know all after %v", c.waitExact(5*time.Minute))
	c.w.Run(time.Minute)
	g := c.w.Graph()
	require.Equal(t, 1, g.Components, "%+v", g)
	require.NoError(t, c.w.Err())
}

// Nobody that lives is declared down while messages are lost, some nodes are
// slow, or a way is cut in one direction.
func TestRosterAccusesNobodyThatLives(t *testing.T) {
	long(t)
	n := *members
	for name, fault := range map[string]func(w *sim.World){
		"a tenth of the messages are lost": func(w *sim.World) { w.Lose(0.1) },
		"a tenth of the nodes are slow": func(w *sim.World) {
			for i := range n / 10 {
				w.Slow(i*10, 400*time.Millisecond)
			}
		},
		"ways are cut in one direction": func(w *sim.World) {
			for i := range n {
				w.Cut(i, (i+7)%n)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, sim.Config{Seed: 2, Check: n <= 100}, n, true)
			c.waitExact(time.Minute)
			fault(c.w)
			c.w.Run(5 * time.Minute)
			for i, d := range c.downs {
				require.Empty(t, d, "declared down by n%d", i)
			}
			require.NoError(t, c.w.Err())
		})
	}
}

// When many crash at once, some of them with all their neighbors, so that nobody
// misses a link, all come to know of all.
func TestRosterAfterMassCrash(t *testing.T) {
	long(t)
	for seed := range uint64(6) {
		c := newCluster(t, sim.Config{Seed: seed + 1}, 200, true)
		c.waitExact(time.Minute)
		c.w.Run(20 * time.Second)
		rng := rand.New(rand.NewPCG(seed, 9))
		part := 60 // 30 %
		if seed >= 3 {
			part = 160 // 80 %
		}
		for _, i := range rng.Perm(200)[:part] {
			c.w.Crash(i)
		}
		took := c.waitExact(30 * time.Second)
		t.Logf("%d of 200 crash: known to all after %v", part, took)
	}
}

// When many crash at once, those who miss them do not tell the tree one by one; nor if
// the member that tells for the others, and those that would next, are among them.
func TestFewWordsAfterAMassCrash(t *testing.T) {
	long(t)
	for seed := range uint64(4) {
		var words [2]float64
		for i, gather := range []int{0, 64} {
			c := newCluster(t, sim.Config{Seed: seed + 1}, 200, true, func(c *roster.Config) { c.Gather = gather })
			c.waitExact(time.Minute)
			c.w.Run(20 * time.Second)
			before := c.news
			gone := rand.New(rand.NewPCG(seed, 9)).Perm(200)
			if seed%2 == 1 {
				byName := slices.SortedFunc(slices.Values(gone), func(i, j int) int { return c.w.Peer(i).Compare(c.w.Peer(j)) })
				gone = append(byName[:3:3], slices.DeleteFunc(gone, func(i int) bool { return slices.Contains(byName[:3], i) })...)
			}
			for _, i := range gone[:60] {
				c.w.Crash(i)
			}
			took := c.waitExact(30 * time.Second)
			c.w.Run(20 * time.Second) // what was to be told again
			words[i] = float64(c.news-before) / float64(len(c.w.Live()))
			t.Logf("gathered from %d members on: known to all after %v, %.1f words", gather, took, words[i])
		}
		require.Less(t, words[1], words[0]/3)
	}
}
