package actors_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// chained starts three nodes, of which the outer ones reach each other over the
// middle one, whose links are slow, and returns what arrives at their sinks.
func chained(c *actorstest.Cluster, slow time.Duration) (live []*actorstest.Node, got *atomic.Int64) {
	got = new(atomic.Int64)
	for i := range 3 {
		var beside []string
		for _, k := range []int{i - 1, i + 1} {
			if k >= 0 && k < 3 {
				beside = append(beside, fmt.Sprint("n", k))
			}
		}
		c.Start(fmt.Sprint("n", i), func(n *actorstest.Node) error {
			_, err := n.System.Root.SpawnNamed(actor.PropsFromFunc(func(x actor.Context) {
				if _, ok := x.Message().(*wrapperspb.Int64Value); ok {
					got.Add(1)
				}
			}), "sink")
			return err
		}, maquis.WithRouting("relay", 0), maquis.WithOverlays(maquis.OverlaySpec{Kind: maquis.Static, Neighbors: beside}))
	}
	c.Settle()
	c.Pass(time.Minute) // until the link of a join is closed
	live = c.Live()
	c.Slow(live[0], live[1], slow)
	c.Slow(live[1], live[2], slow)
	return live, got
}

func arrived(c *actorstest.Cluster, got *atomic.Int64, want int64) {
	c.Until(time.Minute, func() error {
		if n := got.Load(); n < want {
			return fmt.Errorf("%d of %d have arrived", n, want)
		}
		return nil
	})
}

// Over relays that are slow a session opens once: it is not closed as unused while
// its data link, for which messages wait, is still under way.
func TestSlowRelays(t *testing.T) {
	for _, each := range []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(each.String(), func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				live, got := chained(c, each)
				live[0].System.Root.Send(live[0].PID("n2", "sink"), wrapperspb.Int64(1))
				arrived(c, got, 1)
				require.EqualValues(t, 1, got.Load())
				require.Zero(t, live[0].Stats()["link_ended_closed"])
			})
		})
	}
}

// Two that begin at once with each other open one session between them: of the two
// that they dial one is refused, and its data link is dialed by one only.
func TestBothBeginOverRelays(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		live, got := chained(c, 50*time.Millisecond)
		duplicates := func() uint64 { return live[0].Stats()["handshake_duplicate"] + live[2].Stats()["handshake_duplicate"] }
		before := duplicates()
		live[0].System.Root.Send(live[0].PID("n2", "sink"), wrapperspb.Int64(1))
		live[2].System.Root.Send(live[2].PID("n0", "sink"), wrapperspb.Int64(1))
		arrived(c, got, 2)
		c.Pass(5 * time.Second)
		require.EqualValues(t, 2, got.Load())
		require.LessOrEqual(t, duplicates()-before, uint64(2), "each is counted at both ends")
	})
}
