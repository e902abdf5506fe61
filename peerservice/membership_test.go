package peerservice

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay/roster"
)

func TestTwoNodesJoin(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b")
		a, b := n[0], n[1]
		require.Equal(t, []string{"up b"}, a.told("up"))
		require.Equal(t, []string{"up a"}, b.told("up"))
		require.Empty(t, a.told("suspect", "down"))
		s, why := a.svc.Session("b")
		require.Empty(t, why)
		require.Equal(t, b.reg.Self(), s.Peer())
	})
}

func TestJoinReturnsWhenJoined(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a", nil), c.start("b", nil)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, b.svc.Join(ctx, []string{addr("a")}))
		b.sees("a", "b")
		a.sees("a", "b")
		require.NoError(t, b.svc.Join(ctx, []string{addr("a")}), "joining again is no error")
	})
}

func TestJoinSaysWhyNoContactAccepted(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		b := c.start("b", nil)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		err := b.svc.Join(ctx, []string{addr("x"), addr("b")})
		var je *JoinError
		require.ErrorAs(t, err, &je)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []ContactError{{addr("x"), "refused"}, {addr("b"), "self"}}, je.Contacts)
		require.Equal(t, []string{"refused " + addr("b") + " self", "refused " + addr("x") + " refused"}, b.told("refused"),
			"told once, not per retry")
	})
}

// All nodes have all as their seeds and start at once.
func TestAllAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		names := []string{"a", "b", "c", "d", "e"}
		var seeds []string
		for _, n := range names {
			seeds = append(seeds, addr(n))
		}
		var nodes []*node
		for _, name := range names {
			nodes = append(nodes, c.start(name, seeds))
		}
		for _, n := range nodes {
			n.sees(names...)
			require.Empty(t, n.told("suspect", "down", "left"))
		}
	})
}

// A process that dies is down everywhere in under three seconds, its watches
// end before the event.
func TestCrash(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		n[2].crash()
		began := time.Now()
		for _, x := range n[:2] {
			x.sees("a", "b")
			require.Equal(t, []string{"suspect c", "gone c", "down c"}, x.told("suspect", "gone", "down"))
			require.Nil(t, x.reg.Session("c"))
		}
		require.Less(t, time.Since(began), 3*time.Second)
	})
}

// Two nodes: nobody else can say whether the other lives.
func TestCrashOfTheOnlyOther(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b")
		n[1].crash()
		n[0].sees("a")
		require.Equal(t, []string{"gone b", "down b"}, n[0].told("gone", "down"))
		c.until(5*time.Second, func() string {
			if len(n[0].told("isolated")) == 0 {
				return "a was not told that it is isolated"
			}
			return ""
		})
	})
}

func TestLeave(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		began := time.Now()
		require.NoError(t, n[1].svc.Leave(context.Background()))
		n[0].sees("a", "c")
		n[2].sees("a", "c")
		require.Less(t, time.Since(began), time.Second)
		require.Equal(t, []string{"gone b", "left b"}, n[0].told("gone", "left", "down", "suspect"))
		c.pass(time.Minute)
		n[0].sees("a", "c")
		require.Equal(t, []string{"gone b", "left b"}, n[0].told("gone", "left", "down", "suspect"), "it stays away")
		m, ok := n[0].svc.Lookup("b")
		require.True(t, ok)
		require.Equal(t, "left", m.Status.String())

		require.NoError(t, n[1].svc.Join(context.Background(), []string{addr("c")}))
		for _, x := range n {
			x.sees("a", "b", "c")
		}
		require.Equal(t, uint64(2), n[1].svc.Self().Generation)
	})
}

// Restarted under the same name at once: the old life is down before the new
// one is up.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		n[1].crash()
		again := c.start("b", []string{addr("a")})
		again.sees("a", "b", "c")
		for _, x := range []*node{n[0], n[2]} {
			x.sees("a", "b", "c")
			require.Equal(t, []string{"gone b", "down b", "up b"}, x.told("gone", "down", "up")[2:])
		}
		require.Greater(t, again.svc.Self().Generation, uint64(1))
	})
}

// Another live node has the name: the newcomer is told, the cluster is not
// disturbed.
func TestNameTaken(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		twin := c.startAt(addr("x"), "b", nil)
		defer twin.crash()
		err := twin.svc.Join(context.Background(), []string{addr("a")})
		var je *JoinError
		require.ErrorAs(t, err, &je)
		require.Equal(t, messages.ReasonNameTaken, je.Contacts[0].Reason)
		c.pass(10 * time.Second)
		for _, x := range n {
			x.sees("a", "b", "c")
			require.Empty(t, x.told("suspect", "down", "left"))
		}
	})
}

func TestTagsReachAll(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		require.NoError(t, n[0].svc.SetTags(map[string]string{"zone": "eu"}))
		require.Equal(t, "eu", n[0].svc.Self().Tags["zone"])
		require.NoError(t, n[0].svc.SetKinds([]string{"worker"}))
		require.NoError(t, n[0].svc.SetLeaving(context.Background(), true))
		c.until(5*time.Second, func() string {
			m, _ := n[2].svc.Lookup("a")
			if m.Tags["zone"] == "eu" && len(m.Kinds) == 1 && m.Leaving {
				return ""
			}
			return "c does not know what a says of itself"
		})
		require.ErrorContains(t, n[0].svc.SetTags(map[string]string{"k": strings.Repeat("x", 2000)}), "at most")
	})
}

func TestDisconnect(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		require.NoError(t, n[0].svc.Disconnect(context.Background(), "b"))
		c.pass(20 * time.Second)
		require.False(t, n[0].reg.Session("b").Linked())
		for _, x := range n {
			require.Empty(t, x.told("suspect", "down", "left"), "it stays a member")
			require.Len(t, x.svc.View().Members, 3)
		}
		require.NoError(t, n[0].svc.Join(context.Background(), []string{addr("b")}))
		for _, x := range n {
			x.sees("a", "b", "c")
		}
		require.Error(t, n[0].svc.Disconnect(context.Background(), "nobody"))
		require.Error(t, n[0].svc.Disconnect(context.Background(), "a"))
	})
}

func TestForceLeave(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		require.ErrorContains(t, n[0].svc.ForceLeave(context.Background(), "c"), "alive")
		require.ErrorContains(t, n[0].svc.ForceLeave(context.Background(), "x"), "no member")
		n[2].crash()
		n[0].sees("a", "b")
		require.NoError(t, n[0].svc.ForceLeave(context.Background(), "c"))
		for _, x := range n[:2] {
			c.until(5*time.Second, func() string {
				if m, _ := x.svc.Lookup("c"); m.Status != roster.StatusLeft {
					return "c is " + m.Status.String()
				}
				return ""
			})
		}
	})
}

// A and B cannot reach each other, both reach C: nobody is declared down.
func TestPartialPartition(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		c.faults.Cut("a", "b")
		c.pass(2 * time.Minute)
		for _, x := range n {
			require.Len(t, x.svc.View().Members, 3)
			require.Empty(t, x.told("down", "left", "gone"))
		}
		require.False(t, n[0].reg.Session("b").Linked())
		c.faults.Heal()
		for _, x := range n {
			x.sees("a", "b", "c")
		}
	})
}

// Two halves declare each other down, and find each other again after a cut of
// any length. Their members come back in new generations.
func TestHalvesMerge(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c", "d", "e")
		for _, x := range []string{"a", "b"} {
			for _, y := range []string{"c", "d", "e"} {
				c.faults.Cut(x, y)
			}
		}
		n[0].sees("a", "b")
		n[4].sees("c", "d", "e")
		c.pass(time.Hour)
		c.faults.Heal()
		healed := time.Now()
		for _, x := range n {
			x.sees("a", "b", "c", "d", "e")
		}
		require.Less(t, time.Since(healed), 30*time.Second)
		require.Equal(t, []string{"gone c", "down c", "up c"}, about(n[0], "c")[1:4])
	})
}

// about returns what a node was told of another.
func about(n *node, name string) []string {
	return slices.DeleteFunc(n.told("up", "down", "left", "gone"), func(s string) bool { return !strings.HasSuffix(s, " "+name) })
}

// Links that break are made again; nobody is even suspected.
func TestBrokenLinks(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		for range 3 {
			c.faults.Reset("a", "b")
			n[0].sees("a", "b", "c")
			n[1].sees("a", "b", "c")
		}
		for _, x := range n {
			require.Empty(t, x.told("suspect", "down", "gone"))
		}
	})
}

// A node that all others wrongly declared down comes back under the same
// incarnation with the next generation, and messages to it flow again.
func TestWronglyDownReturns(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		n := c.form("a", "b", "c")
		n[0].send(n[2], 0, 10)
		c.faults.Cut("a", "c")
		c.faults.Cut("b", "c")
		n[0].sees("a", "b")
		n[1].sees("a", "b")
		c.faults.Heal()
		for _, x := range n {
			x.sees("a", "b", "c")
		}
		self := n[2].svc.Self()
		require.Equal(t, uint64(2), self.Generation)
		m, _ := n[0].svc.Lookup("c")
		require.Equal(t, self.Peer, m.Peer, "its PIDs are as they were")
		require.Equal(t, uint64(2), n[2].reg.Generation())
		n[2].mu.Lock()
		n[2].got = nil
		n[2].mu.Unlock()
		n[0].send(n[2], 0, 10)
		require.Equal(t, []string{"up c", "gone c", "down c", "up c"}, about(n[0], "c"))
	})
}

// One who leaves alone, or twice, does not wait for anyone.
func TestLeaveAlone(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		a := c.start("a", nil)
		began := time.Now()
		require.NoError(t, a.svc.Leave(context.Background()))
		require.NoError(t, a.svc.Leave(context.Background()))
		require.Less(t, time.Since(began), time.Second)
	})
}
