package actorstest_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

func init() { cmap.SHARD_COUNT = 1 } // an empty actor system is 24 times smaller

// stock keeps what is left of something: it answers each reservation with what
// remains.
func stock(n *actorstest.Node) error {
	left := int64(100)
	_, err := n.System.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(*wrapperspb.Int64Value); ok {
			left -= m.Value
			c.Respond(wrapperspb.Int64(left))
		}
	}), "stock")
	return err
}

// A shop with three nodes: a sells, b has the stock, x stands by. The way
// between a and b breaks, and nobody notices; then b is cut off, and a does.
func TestReservationSurvivesAPartialPartition(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b, x := c.Start("a", nil), c.Start("b", stock), c.Start("x", nil)
		c.Settle()
		p, pid := a.Probe(), a.PID("b", "stock")
		p.Watch(pid)
		p.Request(pid, wrapperspb.Int64(1))
		require.Equal(t, int64(99), actorstest.Expect[*wrapperspb.Int64Value](p, time.Second).Value)

		c.Cut(a, b)              // both still reach x
		c.Pass(10 * time.Second) // the silent link is given up
		p.Request(pid, wrapperspb.Int64(1))
		require.Equal(t, int64(98), actorstest.Expect[*wrapperspb.Int64Value](p, 2*time.Second).Value, "it went round")
		p.ExpectNone(time.Minute) // nobody was declared down

		c.Cut(b, x) // now b is alone
		require.Equal(t, actor.TerminatedReason_AddressTerminated, p.ExpectTerminated(pid, time.Minute))
		c.Heal()
		c.Settle()
		p.Request(a.PID("b", "stock"), wrapperspb.Int64(1))
		require.Equal(t, int64(97), actorstest.Expect[*wrapperspb.Int64Value](p, 5*time.Second).Value, "the actor lived on")
	})
}

// The same seed makes the same faults; whatever they are, the nodes find each
// other again and work.
func TestChaos(t *testing.T) {
	for _, kind := range []string{maquis.FullMesh, maquis.HyParView} {
		t.Run(kind, func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				var nodes []*actorstest.Node
				for _, name := range []string{"a", "b", "c", "d", "e"} {
					nodes = append(nodes, c.Start(name, stock))
				}
				c.Settle()
				c.Play(7, 5*time.Minute, actorstest.AllFaults...)
				c.Settle()
				p := nodes[0].Probe()
				for _, n := range nodes[1:] {
					p.Request(nodes[0].PID(n.Name(), "stock"), wrapperspb.Int64(1))
					actorstest.Expect[*wrapperspb.Int64Value](p, 10*time.Second)
				}
			}, actorstest.WithNodes(maquis.WithOverlays(maquis.OverlaySpec{Kind: kind})))
		})
	}
}

// On the machine's clock, over TCP with TLS, a node restarts under its name.
func TestRestartOnRealConnections(t *testing.T) {
	actorstest.RunReal(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b := c.Start("a", nil), c.Start("b", stock)
		c.Settle()
		before := b.Self().Incarnation
		p, pid := a.Probe(), a.PID("b", "stock")
		p.Watch(pid)
		c.Pass(100 * time.Millisecond)
		b.Restart()
		require.Equal(t, actor.TerminatedReason_AddressTerminated, p.ExpectTerminated(pid, 20*time.Second))
		c.Settle()
		require.NotEqual(t, before, b.Self().Incarnation)
		p.Request(a.PID("b", "stock"), wrapperspb.Int64(1))
		require.Equal(t, int64(99), actorstest.Expect[*wrapperspb.Int64Value](p, 10*time.Second).Value, "booted anew")
		require.Empty(t, c.Undelivered())
	}, actorstest.WithNodes(maquis.WithLogger(slog.New(slog.DiscardHandler))))
}

// Messages are dropped, doubled and held as a test says.
func TestVerbs(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		a, b := c.Start("a", nil), c.Start("b", nil)
		c.Settle()
		p, q := a.Probe(), b.Probe()
		end := c.Lose(a, b, 1)
		p.Send(q.PID, wrapperspb.Int64(1))
		q.ExpectNone(time.Second)
		end()
		c.Hold(a, b)
		p.Send(q.PID, wrapperspb.Int64(2))
		q.ExpectNone(time.Second)
		c.Release(a, b)
		require.Equal(t, int64(2), actorstest.Expect[*wrapperspb.Int64Value](q, time.Second).Value)
		c.CutOneWay(a, b)
		c.Pass(20 * time.Second)
		c.Heal()
		c.Settle()
		a.Crash()
		require.Len(t, c.Live(), 1)
		c.Settle()
		require.Equal(t, []string{"b"}, b.NodeList())
	})
}
