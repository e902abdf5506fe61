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

// Over relays that are slow a session opens once: it is not closed as unused while
// its data link, for which messages wait, is still under way.
func TestSlowRelays(t *testing.T) {
	for _, each := range []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(each.String(), func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				chain := func(i int) maquis.Option {
					var beside []string
					for _, k := range []int{i - 1, i + 1} {
						if k >= 0 && k < 3 {
							beside = append(beside, fmt.Sprint("n", k))
						}
					}
					return maquis.WithOverlays(maquis.OverlaySpec{Kind: maquis.Static, Neighbors: beside})
				}
				var got atomic.Int64
				for i := range 3 {
					c.Start(fmt.Sprint("n", i), func(n *actorstest.Node) error {
						_, err := n.System.Root.SpawnNamed(actor.PropsFromFunc(func(x actor.Context) {
							if _, ok := x.Message().(*wrapperspb.Int64Value); ok {
								got.Add(1)
							}
						}), "sink")
						return err
					}, chain(i))
				}
				c.Settle()
				c.Pass(time.Minute) // until the link of a join is closed
				live := c.Live()
				c.Slow(live[0], live[1], each)
				c.Slow(live[1], live[2], each)
				live[0].System.Root.Send(live[0].PID("n2", "sink"), wrapperspb.Int64(1))
				c.Until(time.Minute, func() error {
					if got.Load() == 0 {
						return fmt.Errorf("nothing has arrived")
					}
					return nil
				})
				require.EqualValues(t, 1, got.Load())
				require.Zero(t, live[0].Stats()["link_ended_closed"])
			}, actorstest.WithNodes(maquis.WithRouting("relay", 0)))
		})
	}
}
