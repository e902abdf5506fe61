package channelmgr_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

func atMost(n int) func(*channelmgr.Config) {
	return func(c *channelmgr.Config) {
		c.Limits.MaxConnections, c.Timing.Heartbeat = n, 100*time.Millisecond
	}
}

// A node with as many links as it is to have refuses those who have none, with the
// reason, and takes them when there is room again. The peers that it has use the
// links that they need.
func TestCrowdedRefuses(t *testing.T) {
	m := transport.NewMemory()
	full := start(t, "full", m, handshake.ModeInsecure, atMost(2))
	a, b, c := start(t, "a", m, handshake.ModeInsecure), start(t, "bb", m, handshake.ModeInsecure), start(t, "ccc", m, handshake.ModeInsecure)
	s := a.connect(full)
	b.connect(full)
	c.connectTo(full)
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.Equal(c.down, []string{" limit"})
	}, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return full.reg.Stats()["handshake_limit"] == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String("1")}))
	require.Eventually(t, func() bool { return full.count() == 1 }, 10*time.Second, time.Millisecond)
	require.EqualValues(t, 3, full.reg.Stats()["connections"])
	full.reg.SetLimits(channelmgr.Limits{MaxConnections: 4})
	c.connect(full)
}

// With as many links as there are to be no lane is opened: what would have gone over
// it waits on those that there are.
func TestCrowdedOpensNoLane(t *testing.T) {
	for _, most := range []int{3, 100} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			lanes := func(c *channelmgr.Config) { c.Channels = []channelmgr.ChannelSpec{{Name: "f", Lanes: 4}} }
			m := transport.NewMemory()
			a, b := start(t, "a", m, handshake.ModeInsecure, lanes, atMost(most)), start(t, "b", m, handshake.ModeInsecure, lanes)
			s := a.connect(b)
			const count = 400
			for i := range count {
				large := wrapperspb.String(fmt.Sprint(i, strings.Repeat("x", 128<<10)))
				require.NoError(t, s.Send(&channelmgr.Outgoing{Channel: "f", Target: fmt.Sprint("t", i%40), Msg: large}))
			}
			require.Eventually(t, func() bool { return b.count() == count }, 30*time.Second, time.Millisecond)
			if most == 3 {
				require.LessOrEqual(t, a.reg.Stats()["connections"], uint64(3))
				require.Positive(t, a.reg.Stats()["connections_full"])
			} else {
				require.Greater(t, a.reg.Stats()["connections"], uint64(3), "with room they open")
			}
		})
	}
}

// A shortcut that has been quiet gives way to who was refused.
func TestCrowdedShortcutYields(t *testing.T) {
	m := transport.NewMemory()
	adaptive := func(c *channelmgr.Config) { c.Routing = channelmgr.Adaptive }
	full := start(t, "full", m, handshake.ModeInsecure, adaptive, atMost(2))
	a, b := start(t, "a", m, handshake.ModeInsecure), start(t, "bb", m, handshake.ModeInsecure)
	short := full.reg.Ensure(a.reg.Self(), 1)
	require.NoError(t, short.Send(&channelmgr.Outgoing{Target: "x", Msg: wrapperspb.String("1")}))
	require.Eventually(t, func() bool { return a.count() == 1 }, 10*time.Second, time.Millisecond)
	self := full.reg.Self()
	require.Eventually(t, func() bool {
		b.system.Root.Send(managerOf(b), &messages.Connect{Owner: "test", Peer: &messages.NodeRef{Addr: self.Addr}})
		s := b.reg.Session(self.Name)
		return s != nil && s.Linked()
	}, 30*time.Second, 20*time.Millisecond)
	require.LessOrEqual(t, full.reg.Stats()["connections"], uint64(2))
}
