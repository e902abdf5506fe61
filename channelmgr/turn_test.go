package channelmgr_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

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
			n.reg.OverlayDone(m)
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
		"its other address and its name at once": func(a, b [2]*greeter) {
			_, port, _ := net.SplitHostPort(b[0].reg.Self().Addr)
			a[0].connect(overlay.Peer{Addr: "localhost:" + port})
			a[1].connect(b[0].reg.Self())
		},
		"two addresses at once": func(a, b [2]*greeter) {
			_, port, _ := net.SplitHostPort(b[0].reg.Self().Addr)
			a[0].connect(overlay.Peer{Addr: "localhost:" + port})
			a[1].connect(contact(b[0].node))
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
					state := func() string {
						return fmt.Sprint(a[i].linked.Load(), b[i].linked.Load(), a[i].greeting.Load(), b[i].greeting.Load(), a[i].failed.Load(), b[i].failed.Load())
					}
					for end := time.Now().Add(20 * time.Second); state() != "1 1 1 1 0 0"; time.Sleep(time.Millisecond) {
						require.True(t, time.Now().Before(end), "linked, greeted, failed at both: %s; %v; %v", state(), na.reg.Stats(), nb.reg.Stats())
					}
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

// Two that begin to send on a channel at once have one link for it between them,
// over which both send, and no other takes its place.
func TestBothSendFirst(t *testing.T) {
	const channels = 50
	var specs []channelmgr.ChannelSpec
	for i := range channels {
		specs = append(specs, channelmgr.ChannelSpec{Name: fmt.Sprint("c", i)})
	}
	forEach(t, func(t *testing.T, tr func() transport.Transport, mode handshake.Mode) {
		many := func(c *channelmgr.Config) {
			c.Channels, c.Limits.MaxHandshakes = specs, 4*channels
			c.Timing.HandshakeTimeout = time.Minute // a busy machine takes its time
		}
		a, b := start(t, "a", tr(), mode, many), start(t, "b", tr(), mode, many)
		there := a.connect(b)
		require.Eventually(t, func() bool { s := b.reg.Session("a"); return s != nil && s.Linked() }, 10*time.Second, time.Millisecond)
		back := b.reg.Session("a")
		var all sync.WaitGroup
		for _, spec := range specs {
			for _, s := range []*channelmgr.Session{there, back} {
				all.Go(func() {
					if err := s.Send(&channelmgr.Outgoing{Channel: spec.Name, Target: "x", Msg: wrapperspb.String("x")}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		require.Eventually(t, func() bool { return a.count() == channels && b.count() == channels }, time.Minute, time.Millisecond)
		require.Equal(t, a.reg.Links(), b.reg.Links())
		for _, n := range []*node{a, b} {
			for k, v := range n.reg.Stats() {
				require.False(t, v > 0 && strings.HasPrefix(k, "link_ended"), "%s: %s %d", n.reg.Self().Name, k, v)
			}
		}
	})
}

// A member that claims a contact's address does not keep it from being called.
func TestAClaimedAddress(t *testing.T) {
	tcp := transport.TCP{}
	b := start(t, "b", tcp, handshake.ModeInsecure)
	a := start(t, "a", tcp, handshake.ModeInsecure)
	liar := start(t, "liar", tcp, handshake.ModeInsecure, func(c *channelmgr.Config) { c.Self.Addr = b.reg.Self().Addr })
	liar.connect(a)
	require.Eventually(t, func() bool { s := a.reg.Session("liar"); return s != nil && s.Linked() }, 20*time.Second, time.Millisecond)
	require.Equal(t, b.reg.Self().Addr, a.reg.Session("liar").Peer().Addr, "it is believed to live there")
	a.connectTo(b)
	require.Eventually(t, func() bool { s := a.reg.Session("b"); return s != nil && s.Linked() }, 20*time.Second, time.Millisecond)
}
