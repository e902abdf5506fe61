package channelmgr_test

import (
	"fmt"
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

// star starts a node, one in the middle, and some that reach the first over that.
// faults are between them, and those that more starts.
func star(t *testing.T, n int, opts ...func(*channelmgr.Config)) (faults *transport.Faults, a *node, leaves []*node, more func(name string, opts ...func(*channelmgr.Config)) *node) {
	faults = transport.NewFaults(1)
	memory := transport.NewMemory()
	opts = append([]func(*channelmgr.Config){func(c *channelmgr.Config) { c.Routing = channelmgr.RelayOnly }}, opts...)
	more = func(name string, opts ...func(*channelmgr.Config)) *node {
		n := start(t, name, faults.Node(name, memory), handshake.ModeInsecure, opts...)
		faults.Place(name, n.reg.Self().Addr)
		return n
	}
	a, middle := more("a", opts...), more("middle")
	a.connect(middle)
	for i := range n {
		b := more(fmt.Sprint("leaf", i), opts...)
		b.connect(middle)
		b.reg.SetWay(a.reg.Self(), middle.reg.Self())
		a.reg.SetWay(b.reg.Self(), middle.reg.Self())
		leaves = append(leaves, b)
	}
	for _, n := range append(leaves, a) { // else the first circuit finds no way, which nobody here looks for again
		require.Eventually(t, func() bool {
			s := middle.reg.Session(n.reg.Self().Name)
			return s != nil && s.Direct()
		}, time.Minute, time.Millisecond)
	}
	return faults, a, leaves, more
}

// Sessions over relays are opened some at a time, also by a manager that takes over
// from one that has ended; each is opened in the end.
func TestSessionsOverRelaysOpenInTurn(t *testing.T) {
	const atATime = 2
	faults, a, leaves, _ := star(t, 12, func(c *channelmgr.Config) { c.Limits.MaxHandshakes = 4 * atATime })
	faults.Slow("a", "middle", transport.Link{Latency: 20 * time.Millisecond})
	most, arrived := 0, func() (n int) {
		for _, b := range leaves {
			n += b.count()
		}
		return n
	}
	for _, b := range leaves {
		require.NoError(t, a.reg.Ensure(b.reg.Self(), 1).Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String("x")}))
	}
	until := func(n int) {
		require.Eventually(t, func() bool {
			most = max(most, a.reg.Opening())
			return arrived() >= n
		}, time.Minute, time.Millisecond)
	}
	until(1)
	require.NoError(t, a.system.Root.StopFuture(managerOf(a)).Wait())
	a.reg.SetManager(a.system.Root.Spawn(channelmgr.ManagerProps(a.reg)))
	until(len(leaves))
	require.Positive(t, most)
	require.LessOrEqual(t, most, atATime)
}

// Whatever is dialed over relays that lead nowhere any more, who calls is answered.
func TestDeadWaysLeaveHandshakes(t *testing.T) {
	var specs []channelmgr.ChannelSpec
	for i := range 20 {
		specs = append(specs, channelmgr.ChannelSpec{Name: fmt.Sprint("c", i)})
	}
	faults, a, leaves, more := star(t, 1, func(c *channelmgr.Config) {
		c.Channels, c.Limits.MaxHandshakes, c.Timing.SilentAfter = specs, 8, time.Minute
	})
	s := a.reg.Ensure(leaves[0].reg.Self(), 1)
	require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String("x")}))
	require.Eventually(t, func() bool { return leaves[0].count() == 1 }, time.Minute, time.Millisecond)
	faults.Cut("middle", "leaf0")
	for _, spec := range specs {
		require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: spec.Name, Target: "x", Msg: wrapperspb.String("x")}))
	}
	require.Eventually(t, func() bool { return a.reg.Dialing() > 8 }, time.Minute, time.Millisecond)
	for i := range 3 {
		more(fmt.Sprint("caller", i)).connect(a)
	}
	require.Zero(t, a.reg.Stats()["handshake_limit"])
}

// What is in vain by a way over relays is worth a link, before it is worth a search,
// of which nobody here knows the answer.
func TestALinkBeforeASearch(t *testing.T) {
	faults, a, leaves, _ := star(t, 1, func(c *channelmgr.Config) { c.Timing.SilentAfter = time.Hour }, func(c *channelmgr.Config) { c.Routing = channelmgr.Adaptive })
	s := a.reg.Ensure(leaves[0].reg.Self(), 1)
	send := func(n int) {
		require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String("x")}))
		require.Eventually(t, func() bool { return leaves[0].count() == n }, time.Minute, time.Millisecond)
	}
	faults.Cut("a", "leaf0")
	send(1) // over the middle, however slow that is
	faults.Restore("a", "leaf0")
	faults.Cut("middle", "leaf0")
	send(2)
	require.True(t, s.Direct())
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
