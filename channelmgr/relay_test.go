package channelmgr_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

// What is passed on for others does not go over a circuit: that might be the very
// one whose segments they are, which waits for itself then. It is dropped.
func TestNoCircuitOnACircuit(t *testing.T) {
	tr := transport.NewMemory()
	a, b := start(t, "a", tr, handshake.ModeInsecure), start(t, "b", tr, handshake.ModeInsecure)
	s := a.connect(b)
	waits := s.PassOnRelayed(frame.AppendRelay(nil, frame.Relay{Hops: 1, Circuit: 7, From: a.reg.Self(), To: b.reg.Self(), Body: []byte("x")}))
	require.Eventually(t, func() bool { return waits() == 0 }, 10*time.Second, time.Millisecond)
	require.NotContains(t, a.reg.Stats(), "link_ended_bad_frame")
	require.NotContains(t, b.reg.Stats(), "link_ended_bad_frame")
}

// The way of a circuit goes silent, and then there is a link: what overlays say on
// it is heard at once, and what the circuit had yet to bring comes before what is
// sent later, long before a silence would be noticed.
func TestALinkAfterADeadWay(t *testing.T) {
	faults := transport.NewFaults(1)
	memory := transport.NewMemory()
	patient := func(c *channelmgr.Config) {
		c.Routing, c.Timing.Heartbeat, c.Timing.SilentAfter = channelmgr.RelayOnly, time.Hour, 3*time.Hour
	}
	node := func(name string) *node {
		n := start(t, name, faults.Node(name, memory), handshake.ModeInsecure, patient)
		faults.Place(name, n.reg.Self().Addr)
		return n
	}
	a, b, c := node("a"), node("b"), node("c")
	a.connect(c)
	c.connect(b)
	require.NoError(t, c.reg.SendOverlay("test", b.reg.Self(), &messages.HyparJoin{}))
	a.reg.SetWay(b.reg.Self(), c.reg.Self())
	b.reg.SetWay(a.reg.Self(), c.reg.Self())
	s := a.reg.Ensure(b.reg.Self(), 1)
	send := func(text string) {
		require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String(text)}))
	}
	send("1")
	require.Eventually(t, func() bool { return b.count() == 1 }, 10*time.Second, time.Millisecond)
	require.False(t, s.Direct())
	faults.Cut("a", "c")
	faults.Cut("b", "c")
	send("2")
	a.connectTo(b)
	require.Eventually(t, s.Direct, 10*time.Second, time.Millisecond)
	require.NoError(t, a.reg.SendOverlay("test", b.reg.Self(), &messages.HyparJoin{}))
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.Contains(b.up, "a")
	}, 10*time.Second, time.Millisecond)
	send("3")
	require.Eventually(t, func() bool { return b.count() == 3 }, 30*time.Second, time.Millisecond)
	require.Equal(t, []string{"x:1", "x:2", "x:3"}, b.got)
}
