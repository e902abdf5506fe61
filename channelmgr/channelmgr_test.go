package channelmgr_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
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

// node is a registry with its manager, and a receiver that records.
type node struct {
	t      testing.TB
	reg    *channelmgr.Registry
	system *actor.ActorSystem

	mu          sync.Mutex
	got         []string
	undelivered []channelmgr.Undelivered
	up, down    []string
	sizes       []int
}

func (n *node) Receive(m *channelmgr.Incoming) messages.Reason {
	n.mu.Lock()
	defer n.mu.Unlock()
	if strings.HasPrefix(m.Target.ID, "nobody") {
		return messages.ReasonNoSuchActor
	}
	switch msg := m.Msg.(type) {
	case *wrapperspb.StringValue:
		n.got = append(n.got, m.Target.ID+":"+msg.Value)
	case *wrapperspb.BytesValue:
		n.sizes = append(n.sizes, len(msg.Value))
	case messages.Bytes:
		n.sizes = append(n.sizes, len(msg))
	}
	return ""
}

func (n *node) Undelivered(u channelmgr.Undelivered) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.undelivered = append(n.undelivered, u)
}

func (n *node) Lost(channelmgr.Loss) {}

func (n *node) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.got)
}

func quiet(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }

func start(t testing.TB, name string, tr transport.Transport, mode handshake.Mode, opts ...func(*channelmgr.Config)) *node {
	t.Helper()
	sec, err := handshake.NewSecurity(handshake.SecurityConfig{Mode: mode, Secrets: []string{"a secret of the test, long enough"}, Cluster: "c", Node: name})
	require.NoError(t, err)
	n := &node{t: t, system: actor.NewActorSystem(actor.WithLoggerFactory(quiet))}
	cfg := channelmgr.Config{
		System: n.system, Self: overlay.Peer{Name: name, Incarnation: overlay.Incarnation(len(name)*1000 + int(name[0]))}, Cluster: "c",
		Security: sec, Transport: tr, Listen: "127.0.0.1:0", Types: messages.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	}
	for _, o := range opts {
		o(&cfg)
	}
	n.reg, err = channelmgr.New(cfg)
	require.NoError(t, err)
	n.reg.SetReceiver(n)
	require.NoError(t, n.reg.Listen(context.Background()))
	host := n.system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		n.mu.Lock()
		defer n.mu.Unlock()
		switch m := c.Message().(type) {
		case *messages.LinkUp:
			n.up = append(n.up, m.Peer.Name)
		case *messages.LinkDown:
			n.down = append(n.down, m.Peer.Name+" "+m.Reason)
		}
	}))
	n.reg.BindOverlay("test", host)
	pid := n.system.Root.Spawn(channelmgr.ManagerProps(n.reg))
	n.reg.SetManager(pid)
	n.reg.Serve()
	t.Cleanup(func() {
		n.reg.Close()
		_ = n.system.Root.StopFuture(pid).Wait()
		_ = n.system.Root.StopFuture(host).Wait()
		n.system.Shutdown()
	})
	return n
}

func (n *node) connect(to *node) *channelmgr.Session {
	n.t.Helper()
	n.connectTo(to)
	self := to.reg.Self()
	require.Eventually(n.t, func() bool {
		s := n.reg.Session(self.Name)
		return s != nil && s.Linked()
	}, 10*time.Second, time.Millisecond)
	return n.reg.Session(self.Name)
}

func (n *node) connectTo(to *node) {
	n.system.Root.Send(managerOf(n), &messages.Connect{Owner: "test", Peer: &messages.NodeRef{Addr: to.reg.Self().Addr}})
}

func managerOf(n *node) *actor.PID { return n.reg.Manager() }

func forEach(t *testing.T, f func(t *testing.T, tr func() transport.Transport, mode handshake.Mode)) {
	t.Run("memory", func(t *testing.T) {
		m := transport.NewMemory()
		f(t, func() transport.Transport { return m }, handshake.ModeInsecure)
	})
	t.Run("tcp", func(t *testing.T) {
		f(t, func() transport.Transport { return transport.TCP{} }, handshake.ModeInsecure)
	})
	t.Run("tls", func(t *testing.T) { f(t, func() transport.Transport { return transport.TCP{} }, handshake.ModeSecret) })
}

// Messages to one target arrive in order, over every transport.
func TestOrder(t *testing.T) {
	forEach(t, func(t *testing.T, tr func() transport.Transport, mode handshake.Mode) {
		a, b := start(t, "a", tr(), mode), start(t, "b", tr(), mode)
		s := a.connect(b)
		const n = 20000
		for i := range n {
			require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String(fmt.Sprint(i))}))
		}
		require.Eventually(t, func() bool { return b.count() == n }, 20*time.Second, 5*time.Millisecond)
		for i, g := range b.got {
			require.Equal(t, fmt.Sprintf("x:%d", i), g)
		}
	})
}

// A pause of any length harms no link: what follows it arrives on the same one,
// and a link that idles is closed in order by both ends.
func TestPause(t *testing.T) {
	forEach(t, func(t *testing.T, tr func() transport.Transport, mode handshake.Mode) {
		brief := func(c *channelmgr.Config) {
			c.Timing.WriteTimeout, c.Timing.IdleAfter = 50*time.Millisecond, time.Second
		}
		a, b := start(t, "a", tr(), mode, brief), start(t, "b", tr(), mode, brief)
		s := a.connect(b)
		for i := range 3 {
			require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String(fmt.Sprint(i))}))
			require.Eventually(t, func() bool { return b.count() == i+1 }, 10*time.Second, time.Millisecond)
			time.Sleep(100 * time.Millisecond)
		}
		require.Eventually(t, func() bool { return a.reg.Stats()["links"] == 1 && b.reg.Stats()["links"] == 1 }, 10*time.Second, 10*time.Millisecond)
		for _, n := range []*node{a, b} {
			for what, count := range n.reg.Stats() {
				if strings.HasPrefix(what, "link_ended_") {
					require.Equal(t, "link_ended_peer_closed 1", fmt.Sprint(what, " ", count))
				}
			}
		}
	})
}

// Large messages are split and come whole, in order with small ones.
func TestLargeMessages(t *testing.T) {
	forEach(t, func(t *testing.T, tr func() transport.Transport, mode handshake.Mode) {
		a, b := start(t, "a", tr(), mode), start(t, "b", tr(), mode)
		s := a.connect(b)
		sizes := []int{10, 20 << 10, 64 << 10, 65 << 10, 1 << 20, 3, 5 << 20, 17 << 10}
		for _, size := range sizes {
			require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.Bytes(make([]byte, size))}))
		}
		for _, size := range sizes {
			require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: messages.Bytes(make([]byte, size))}))
		}
		require.Eventually(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.sizes) == 2*len(sizes) }, 20*time.Second, 5*time.Millisecond)
		require.Equal(t, append(append([]int{}, sizes...), sizes...), b.sizes)
	})
}

// A message that the peer cannot deliver comes back with the reason.
func TestUndelivered(t *testing.T) {
	forEach(t, func(t *testing.T, tr func() transport.Transport, mode handshake.Mode) {
		a, b := start(t, "a", tr(), mode), start(t, "b", tr(), mode)
		s := a.connect(b)
		require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "nobody", Sender: &actor.PID{Address: a.reg.Address(), Id: "me"}, Msg: wrapperspb.String("hi")}))
		require.Eventually(t, func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.undelivered) == 1 }, 10*time.Second, time.Millisecond)
		u := a.undelivered[0]
		require.Equal(t, messages.ReasonNoSuchActor, u.Reason)
		require.Equal(t, "me", u.Sender.Id)
		require.True(t, u.Remote)
	})
}

// What is queued when a session ends comes back decoded.
func TestEndReturnsQueued(t *testing.T) {
	m := transport.NewMemory()
	a := start(t, "a", m, handshake.ModeInsecure)
	s := a.reg.Ensure(overlay.Peer{Name: "z", Incarnation: 9, Addr: "127.0.0.1:1"}, 1)
	for i := range 3 {
		require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String(fmt.Sprint(i))}))
	}
	require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.Bytes(make([]byte, 300<<10))}))
	a.reg.EndSession(s.Peer(), 1, messages.ReasonNodeDown)
	require.Len(t, a.undelivered, 4)
	require.Equal(t, "2", a.undelivered[2].Msg.(*wrapperspb.StringValue).Value)
	require.Len(t, a.undelivered[3].Msg.(*wrapperspb.BytesValue).Value, 300<<10)
	err := s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String("late")})
	var se *channelmgr.SendError
	require.ErrorAs(t, err, &se)
	require.Equal(t, messages.ReasonNodeDown, se.Reason)
}

// Both dial each other at once and end up with one session.
func TestSimultaneousDials(t *testing.T) {
	forEach(t, func(t *testing.T, tr func() transport.Transport, mode handshake.Mode) {
		a, b := start(t, "a", tr(), mode), start(t, "b", tr(), mode)
		for _, p := range [][2]*node{{a, b}, {b, a}} {
			self := p[1].reg.Self()
			p[0].system.Root.Send(managerOf(p[0]), &messages.Connect{Owner: "test", Peer: &messages.NodeRef{Name: self.Name, Incarnation: uint64(self.Incarnation), Addr: self.Addr}})
		}
		for _, n := range []*node{a, b} {
			require.Eventually(t, func() bool { n.mu.Lock(); defer n.mu.Unlock(); return len(n.up) == 1 }, 10*time.Second, time.Millisecond)
		}
		require.Eventually(t, func() bool { return a.reg.Links() == 1 && b.reg.Links() == 1 }, 10*time.Second, time.Millisecond)
		s := a.reg.Session("b")
		require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String("1")}))
		require.Eventually(t, func() bool { return b.count() == 1 }, 10*time.Second, time.Millisecond)
	})
}
