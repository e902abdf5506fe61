package channelmgr_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

// doors is a receiver whose targets that begin with "door" take nothing while
// they are shut.
type doors struct {
	*node
	mu   sync.Mutex
	open chan struct{}
}

func newDoors(n *node) *doors {
	d := &doors{node: n, open: make(chan struct{})}
	n.reg.SetReceiver(d)
	return d
}

func (d *doors) Receive(m *channelmgr.Incoming) messages.Reason {
	if strings.HasPrefix(m.Target.ID, "door") {
		d.mu.Lock()
		open := d.open
		d.mu.Unlock()
		<-open
	}
	return d.node.Receive(m)
}

func (d *doors) TryReceive(m *channelmgr.Incoming) (messages.Reason, bool) {
	if strings.HasPrefix(m.Target.ID, "door") {
		return "", false
	}
	return d.node.Receive(m), true
}

// A target without room holds up its flow and nothing else: what goes to others
// on the same channel and link arrives, its sender is held up when the window
// closes, and when it opens all arrives in order.
func TestFullTarget(t *testing.T) {
	for _, mode := range []channelmgr.Delivery{channelmgr.AtMostOnce, channelmgr.AtLeastOnce} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			m := transport.NewMemory()
			with := func(c *channelmgr.Config) {
				c.Channels = []channelmgr.ChannelSpec{{Name: "c", Delivery: mode, Overflow: channelmgr.Reject}}
				c.Timing.Heartbeat = 100 * time.Millisecond
			}
			a, b := start(t, "a", m, handshake.ModeInsecure, with), start(t, "b", m, handshake.ModeInsecure, with)
			d := newDoors(b)
			s := a.connect(b)
			sent := 0
			refused := func() bool {
				if err := s.Send(text("door", sent)); err != nil {
					require.ErrorContains(t, err, "overflow")
					return true
				}
				sent++
				return false
			}
			require.Eventually(t, func() bool { return refused() }, 20*time.Second, 20*time.Microsecond, "the window never closes")
			require.Less(t, sent, 60_000)
			for i := range 1000 {
				require.NoError(t, s.Send(text("free", i)))
			}
			require.Eventually(t, func() bool { return b.count() == 1000 }, 10*time.Second, time.Millisecond)
			close(d.open)
			require.Eventually(t, func() bool { return b.count() == 1000+sent }, 10*time.Second, time.Millisecond)
			for i, g := range b.all()[1000:] {
				require.Equal(t, fmt.Sprint("door:", i), g)
			}
			require.Eventually(t, func() bool { return !refused() }, 10*time.Second, time.Millisecond, "the window does not open again")
			require.Equal(t, 1, int(a.reg.Stats()["links"])-1)
		})
	}
}

// A target without room that is given large messages holds up the link when too
// much is parked, and memory stays bounded; all arrives in the end.
func TestFullTargetOfLargeMessages(t *testing.T) {
	m := transport.NewMemory()
	a, b := start(t, "a", m, handshake.ModeInsecure), start(t, "b", m, handshake.ModeInsecure)
	d := newDoors(b)
	s := a.connect(b)
	const count, size = 120, 1 << 20
	done := make(chan error, 1)
	go func() {
		for range count {
			if err := s.Send(&channelmgr.Outgoing{Target: "door", Msg: wrapperspb.Bytes(make([]byte, size))}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	require.Eventually(t, func() bool { return b.reg.Stats()["readers_held_up"] > 0 }, 20*time.Second, time.Millisecond)
	close(d.open)
	require.NoError(t, <-done)
	require.Eventually(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.sizes) == count }, 20*time.Second, time.Millisecond)
}

// The messages of a label come in causal order: A→B, A→C, and C→B because of
// it, with A→B slowed down.
func TestCausalTriangle(t *testing.T) {
	faults := transport.NewFaults(1)
	m := transport.NewMemory()
	with := func(c *channelmgr.Config) {
		c.Channels = []channelmgr.ChannelSpec{{Name: "c", Delivery: channelmgr.AtLeastOnce, Ordering: channelmgr.Causal}}
	}
	a := start(t, "a", faults.Node("a", m), handshake.ModeInsecure, with)
	b := start(t, "b", faults.Node("b", m), handshake.ModeInsecure, with)
	c := start(t, "c", faults.Node("c", m), handshake.ModeInsecure, with)
	ab, ac, cb := a.connect(b), a.connect(c), c.connect(b)
	relayed := &relayTo{node: c, to: cb}
	c.reg.SetReceiver(relayed)
	faults.Slow("a", "b", transport.Link{Latency: 100 * time.Millisecond})
	for i := range 20 {
		require.NoError(t, ab.Send(text("x", 2*i)))
		require.NoError(t, ac.Send(text("x", 2*i+1)))
	}
	got := b.settled(40)
	for i := range 20 {
		require.Less(t, index(got, fmt.Sprint("x:", 2*i)), index(got, fmt.Sprint("x:", 2*i+1)), "%v", got)
	}
}

func index(list []string, s string) int {
	for i, g := range list {
		if g == s {
			return i
		}
	}
	return len(list)
}

// relayTo sends what it receives on to another node.
type relayTo struct {
	*node
	to *channelmgr.Session
}

func (r *relayTo) Receive(m *channelmgr.Incoming) messages.Reason {
	if err := r.to.Send(&channelmgr.Outgoing{Channel: "c", Target: "x", Msg: m.Msg}); err != nil {
		return messages.ReasonInternal
	}
	return ""
}

// What waits for a node that is gone is released, and counted.
func TestCausalRelease(t *testing.T) {
	faults := transport.NewFaults(1)
	m := transport.NewMemory()
	a := start(t, "a", faults.Node("a", m), handshake.ModeInsecure)
	b := start(t, "b", faults.Node("b", m), handshake.ModeInsecure)
	c := start(t, "c", faults.Node("c", m), handshake.ModeInsecure)
	ab, ac := a.connect(b), a.connect(c)
	send := func(s *channelmgr.Session, n int) {
		require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Label: "l", Msg: wrapperspb.String(fmt.Sprint(n))}))
	}
	send(ac, 0)
	require.Equal(t, []string{"x:0"}, c.settled(1))
	faults.Cut("a", "b")
	send(ab, 1)
	send(ac, 2)
	time.Sleep(50 * time.Millisecond)
	require.Equal(t, 1, c.count(), "it waits for what went to b")
	a.reg.EndSession(ab.Peer(), 1, messages.ReasonNodeDown)
	require.Equal(t, []string{"x:0", "x:2"}, c.settled(2))
	require.EqualValues(t, 1, a.reg.Stats()["causal_given_up"])

	ab = a.reg.Ensure(b.reg.Self(), 1)
	send(ab, 3)
	send(ac, 4)
	time.Sleep(50 * time.Millisecond)
	require.Equal(t, 2, c.count())
	c.reg.EndSession(a.reg.Self(), 1, messages.ReasonNodeDown)
	require.Equal(t, []string{"x:0", "x:2", "x:4"}, c.settled(3))
	require.EqualValues(t, 1, c.reg.Stats()["causal_released"])
}

// Who has a message that waits for its turn asks its sender whether that has come,
// also when it is empty: the sender may have ended its session with us in between,
// have nothing more to send, and so no link.
func TestCausalAfterASessionsEnd(t *testing.T) {
	faults := transport.NewFaults(1)
	m := transport.NewMemory()
	with := func(c *channelmgr.Config) {
		c.Timing.Heartbeat, c.Timing.BackoffMin, c.Timing.BackoffMax = 20*time.Millisecond, 10*time.Millisecond, 50*time.Millisecond
	}
	a := start(t, "a", faults.Node("a", m), handshake.ModeInsecure, with)
	b := start(t, "b", faults.Node("b", m), handshake.ModeInsecure, with)
	c := start(t, "c", faults.Node("c", m), handshake.ModeInsecure, with)
	ab, ac := a.connect(b), a.connect(c)
	send := func(s *channelmgr.Session, text string) {
		require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Label: "l", Msg: wrapperspb.String(text)}))
	}
	faults.Cut("a", "b")
	send(ab, "1")
	send(ac, "")
	require.Eventually(t, func() bool { s := c.reg.Session("a"); return s != nil && s.Parked() > 0 }, 10*time.Second, time.Millisecond)
	a.reg.EndSession(ac.Peer(), 1, messages.ReasonNodeDown)
	a.reg.Ensure(c.reg.Self(), 1)
	faults.Restore("a", "b")
	require.Equal(t, []string{"x:1"}, b.settled(1))
	require.Equal(t, []string{"x:"}, c.settled(1))
}
