package actors_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// The broadcasts of those who seldom make one are brought to the root of the
// tree that another has made, over a link of their own or over relays, and reach
// all once; also when that node is gone.
func TestBroadcastsOverTheRoot(t *testing.T) {
	for _, policy := range []string{"adaptive", "relay"} {
		t.Run(policy, func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				var nodes []*actorstest.Node
				var probes []*actorstest.Probe
				for i := range 16 {
					nodes = append(nodes, c.Start(fmt.Sprintf("n%02d", i), nil))
				}
				c.Settle()
				for _, n := range nodes {
					p := n.Probe()
					_, err := n.SubscribeBroadcast("data", p.PID)
					require.NoError(t, err)
					probes = append(probes, p)
				}
				c.Pass(2 * time.Minute) // the trees of joins are of the past
				said := int64(0)
				say := func(from *actorstest.Node, hearers []*actorstest.Probe) {
					said++
					require.NoError(t, from.Broadcast("data", wrapperspb.Int64(said)))
					for _, p := range hearers {
						require.Equal(t, said, actorstest.Expect[*wrapperspb.Int64Value](p, 10*time.Second).Value)
					}
				}
				for range 4 {
					say(nodes[0], probes)
				}
				for _, n := range nodes[1:] {
					say(n, probes)
				}
				require.Greater(t, nodes[0].Stats()["lifted"], uint64(5))
				nodes[0].Crash()
				for _, n := range nodes[1:] {
					say(n, probes[1:])
				}
				for _, p := range probes[1:] {
					p.ExpectNone(10 * time.Millisecond)
				}
			}, actorstest.WithNodes(maquis.WithOverlays(maquis.OverlaySpec{Kind: maquis.HyParView, Active: 3, Passive: 12}), maquis.WithRouting(policy, 0)))
		})
	}
}
