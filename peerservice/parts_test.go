package peerservice

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// untouched asserts that the death of a part changed nothing that stands.
func untouched(c *cluster, nodes []*node, links int) {
	c.t.Helper()
	for _, x := range nodes {
		x.sees("a", "b", "c")
		require.Empty(c.t, x.told("suspect", "down", "left", "gone", "isolated"))
		require.NoError(c.t, x.svc.Err())
	}
	require.Equal(c.t, links, nodes[0].reg.Links(), "live links stay")
}

// send sends numbered messages to a node and waits until all have come.
func (n *node) send(to *node, from, upTo int) {
	n.c.t.Helper()
	for i := from; i < upTo; i++ {
		require.NoError(n.c.t, n.reg.Session(to.name).Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String(fmt.Sprint(i))}))
	}
	n.c.until(20*time.Second, func() string {
		to.mu.Lock()
		defer to.mu.Unlock()
		if len(to.got) < upTo {
			return fmt.Sprintf("%d of %d messages arrived", len(to.got), upTo)
		}
		for i, g := range to.got {
			require.Equal(n.c.t, fmt.Sprint(i), g)
		}
		return ""
	})
}

// Each part is killed by a message of each kind that it lives on; the node
// recovers, live links stay, membership stays, nobody is declared down, and
// what is sent meanwhile arrives in order.
func TestPartsAreKilled(t *testing.T) {
	for _, k := range []struct {
		part, message string
		provoke       func(c *cluster, n []*node)
	}{
		{"channels", "*messages.Tick", nil},
		{"roster", "*messages.OverlayInbound", nil},
		{"roster", "peerservice.fired", nil},
		{"roster", "overlay.Command", func(_ *cluster, n []*node) { n[0].svc.tellRoster(overlay.Command{}) }},
		{"stack-main", "overlay.MemberUp", func(_ *cluster, n []*node) { n[0].svc.tellStacks(false, overlay.MemberUp{Peer: n[1].reg.Self()}) }},
		{"peers", "roster.Updated", func(_ *cluster, n []*node) { _ = n[1].svc.SetTags(map[string]string{"k": "v"}) }},
		{"extra", "string", func(_ *cluster, n []*node) {
			n[0].system.Root.Send(n[0].system.NewLocalPID("maquis/extra"), "boo")
		}},
	} {
		t.Run(k.part+" on "+k.message, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cluster) {
				nodes := []*node{c.start("a", nil, func(cfg *Config) {
					cfg.Parts = []Part{{"extra", actor.PropsFromFunc(func(actor.Context) {})}}
				}), c.start("b", []string{addr("a")}), c.start("c", []string{addr("a")})}
				for _, x := range nodes {
					x.sees("a", "b", "c")
				}
				nodes[0].send(nodes[1], 0, 100)
				links := nodes[0].reg.Links()
				nodes[0].strike(k.part, k.message)
				if k.provoke != nil {
					k.provoke(c, nodes)
				}
				c.until(20*time.Second, func() string {
					if nodes[0].strikes() == 0 {
						return "the part was not struck"
					}
					return ""
				})
				nodes[0].send(nodes[1], 100, 200)
				c.pass(10 * time.Second)
				untouched(c, nodes, links)
				require.Equal(t, uint64(1), nodes[0].svc.Stats()["part_failures"])
				// The node still finds out what happens to others.
				nodes[2].crash()
				nodes[0].sees("a", "b")
				d := c.start("d", []string{addr("a")})
				d.sees("a", "b", "d")
				nodes[0].sees("a", "b", "d")
			})
		})
	}
}

// The channel manager dies on each order and report while links come and go.
func TestChannelManagerDiesOnOrders(t *testing.T) {
	for _, message := range []string{"*messages.Connect", "*messages.OpenLink", "*messages.LinkEstablished", "*messages.LinkFailed", "*messages.LinkEnded"} {
		t.Run(message, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cluster) {
				n := c.form("a", "b", "c")
				n[0].strike("channels", message)
				if message == "*messages.LinkFailed" {
					_ = n[0].svc.Join(context.Background(), []string{addr("b")})
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					defer cancel()
					_ = n[0].svc.Join(ctx, []string{addr("x")})
				}
				n[0].send(n[1], 0, 10)
				for c.faults.Reset("a", "b"); n[0].strikes() == 0; c.faults.Reset("a", "b") { // either may dial
					c.pass(5 * time.Second)
				}
				c.pass(time.Minute)
				require.Equal(t, 1, n[0].strikes())
				for _, x := range n {
					x.sees("a", "b", "c")
					require.Empty(t, x.told("down", "left", "gone"))
				}
			})
		})
	}
}

// A part that dies while a member goes down does not keep it alive: the
// manager asks the roster what it missed.
func TestManagerDiesOnTheNewsOfADeath(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		n[0].strike("peers", "roster.Down")
		n[2].crash()
		n[0].sees("a", "b")
		require.Equal(t, 1, n[0].strikes())
		require.Equal(t, []string{"gone c", "down c"}, about(n[0], "c")[1:])
	})
}

// A part that cannot live ends the node visibly.
func TestNodeFailsWithItsPart(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b")
		n[0].strike("channels", "*messages.Tick!")
		<-n[0].svc.Fail()
		require.ErrorContains(t, n[0].svc.Err(), "maquis/channels failed 11 times")
		c.until(time.Second, func() string {
			n[0].mu.Lock()
			defer n[0].mu.Unlock()
			if n[0].failed != n[0].svc.Err() {
				return "OnFail was not told"
			}
			return ""
		})
		require.ErrorIs(t, n[0].svc.SetTags(nil), n[0].svc.Err())
		n[0].crash()
		n[1].sees("b")
	})
}

// A part whose actor was stopped is there again.
func TestStoppedPartIsSpawnedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		links := n[0].reg.Links()
		for _, part := range []string{"roster", "stack-main", "peers", "channels"} {
			n[0].system.Root.Stop(n[0].svc.pids[part])
			c.pass(5 * time.Second)
		}
		untouched(c, n, links)
		n[2].crash()
		n[0].sees("a", "b")
	})
}

// What kills a part twice is dropped when it comes again; the part lives on.
func TestPoisonIsQuarantined(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b")
		a, pid := n[0], n[0].svc.pids[rosterPart]
		poison := func() any {
			return &messages.OverlayInbound{From: nodeRef(n[1].reg.Self()), Overlay: "roster", Type: "maquis.v1.Poison", Body: []byte("x")}
		}
		for range 2 {
			a.strike(rosterPart, "*messages.OverlayInbound")
			a.system.Root.Send(pid, poison())
			c.pass(time.Second)
		}
		require.Equal(t, 2, a.strikes())
		before := a.svc.Stats()
		for range 3 {
			a.system.Root.Send(pid, poison())
		}
		c.pass(time.Second)
		after := a.svc.Stats()
		require.Equal(t, uint64(3), after["quarantined"])
		require.Equal(t, before["rejected_malformed"], after["rejected_malformed"], "the machine did not see it")
		require.Equal(t, before["part_failures"], after["part_failures"])
		n[0].sees("a", "b")
	})
}

// A machine that panics is made anew and knows what its predecessor knew.
func TestMachinePanics(t *testing.T) {
	for _, instance := range []string{rosterInstance, mainInstance} {
		t.Run(instance, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *cluster) {
				bomb := make(chan struct{}, 1)
				n := []*node{c.start("a", nil, func(cfg *Config) {
					cfg.wrap = func(name string, m overlay.Machine) overlay.Machine {
						if name != instance {
							return m
						}
						return &bombed{m, bomb}
					}
				}), c.start("b", []string{addr("a")}), c.start("c", []string{addr("a")})}
				for _, x := range n {
					x.sees("a", "b", "c")
				}
				links := n[0].reg.Links()
				for i := range 3 {
					bomb <- struct{}{}
					n[0].svc.tellRoster(overlay.Command{Order: i})
					n[0].svc.tellStacks(false, overlay.Command{Order: i})
					c.pass(5 * time.Second)
					require.Empty(t, bomb)
				}
				untouched(c, n, links)
			})
		})
	}
}

// bombed is a machine that panics once for each thing in bomb.
type bombed struct {
	overlay.Machine
	bomb chan struct{}
}

func (b *bombed) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	select {
	case <-b.bomb:
		panic("a broken invariant")
	default:
	}
	b.Machine.Step(now, ev, out)
}

func (b *bombed) Members() []roster.Member {
	return b.Machine.(interface{ Members() []roster.Member }).Members()
}

// The report that a dial failed kills both channel managers: nobody waits for
// an answer that cannot come any more.
func TestLostAnswerToConnect(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		n[0].strike("channels", "*messages.LinkFailed")
		n[1].strike("channels", "*messages.LinkFailed")
		c.faults.Cut("a", "b")
		c.pass(30 * time.Second)
		require.Equal(t, 2, n[0].strikes()+n[1].strikes())
		c.faults.Heal()
		for _, x := range n {
			x.sees("a", "b", "c")
		}
	})
}
