package channelmgr_test

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// greeter is an overlay that greets each peer that it is linked to, once.
type greeter struct {
	*node
	name             string
	linked, greeting atomic.Int64
	failed           atomic.Int64
}

func greet(n *node, name string) *greeter {
	g := &greeter{node: n, name: name}
	host := n.system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *messages.LinkUp:
			g.linked.Add(1)
			to := overlay.Peer{Name: m.Peer.Name, Incarnation: overlay.Incarnation(m.Peer.Incarnation), Addr: m.Peer.Addr}
			if err := n.reg.SendOverlay(name, to, &messages.HyparJoin{Request: 1}); err != nil {
				g.failed.Add(1)
			}
		case *messages.LinkDown:
			g.failed.Add(1)
		case *messages.OverlayInbound:
			n.reg.OverlayDone(1)
			g.greeting.Add(1)
		}
	}))
	n.reg.BindOverlay(name, host)
	n.t.Cleanup(func() { _ = n.system.Root.StopFuture(host).Wait() })
	return g
}

func (g *greeter) connect(p overlay.Peer) {
	g.system.Root.Send(managerOf(g.node), &messages.Connect{Owner: g.name, Peer: &messages.NodeRef{Name: p.Name, Incarnation: uint64(p.Incarnation), Addr: p.Addr}})
}

// Of calls to one node, by one or by both, by address or by name, one makes a link,
// and nothing that is said on it is lost.
func TestCallsInTurn(t *testing.T) {
	contact := func(n *node) overlay.Peer { return overlay.Peer{Addr: n.reg.Self().Addr} }
	for name, calls := range map[string]func(a, b [2]*greeter){
		"a contact by two": func(a, b [2]*greeter) {
			a[0].connect(contact(b[0].node))
			require.Eventually(t, func() bool { return a[0].linked.Load() == 1 }, 20*time.Second, time.Millisecond)
			a[1].connect(contact(b[0].node))
		},
		"a contact and its name at once": func(a, b [2]*greeter) {
			a[0].connect(contact(b[0].node))
			a[1].connect(b[0].reg.Self())
		},
		"its other address": func(a, b [2]*greeter) {
			a[0].connect(contact(b[0].node))
			require.Eventually(t, func() bool { return b[0].greeting.Load() == 1 }, 20*time.Second, time.Millisecond)
			_, port, _ := net.SplitHostPort(b[0].reg.Self().Addr)
			a[1].connect(overlay.Peer{Addr: "localhost:" + port})
		},
		"each other at once, by name": func(a, b [2]*greeter) {
			a[0].connect(b[0].reg.Self())
			b[1].connect(a[0].reg.Self())
		},
		"each other at once, as contacts": func(a, b [2]*greeter) {
			a[0].connect(contact(b[0].node))
			b[1].connect(contact(a[0].node))
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				tcp := transport.TCP{}
				na, nb := start(t, "a", tcp, handshake.ModeInsecure), start(t, "b", tcp, handshake.ModeInsecure)
				a, b := [2]*greeter{greet(na, "o"), greet(na, "p")}, [2]*greeter{greet(nb, "o"), greet(nb, "p")}
				calls(a, b)
				for i := range 2 {
					require.Eventually(t, func() bool {
						return a[i].linked.Load() == 1 && b[i].linked.Load() == 1 && a[i].greeting.Load() == 1 && b[i].greeting.Load() == 1
					}, 20*time.Second, time.Millisecond)
					require.Zero(t, a[i].failed.Load()+b[i].failed.Load())
				}
				for _, n := range []*node{na, nb} {
					require.Equal(t, 1, n.reg.Links())
					for k, v := range n.reg.Stats() {
						require.False(t, v > 0 && strings.HasPrefix(k, "link_ended"), "%s: %s", n.reg.Self().Name, k)
					}
				}
			}
		})
	}
}

// A member that claims a contact's address does not keep it from being called.
func TestAClaimedAddress(t *testing.T) {
	tcp := transport.TCP{}
	b := start(t, "b", tcp, handshake.ModeInsecure)
	a := start(t, "a", tcp, handshake.ModeInsecure)
	liar := start(t, "liar", tcp, handshake.ModeInsecure, func(c *channelmgr.Config) { c.Self.Addr = b.reg.Self().Addr })
	liar.connect(a)
	require.Equal(t, b.reg.Self().Addr, a.reg.Session("liar").Peer().Addr, "it is believed to live there")
	a.connectTo(b)
	require.Eventually(t, func() bool { s := a.reg.Session("b"); return s != nil && s.Linked() }, 20*time.Second, time.Millisecond)
}
