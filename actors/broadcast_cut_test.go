package actors_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// Who was cut off for less than a minute gets each broadcast that it missed, in
// order, also while new ones come.
func TestBroadcastsOverACut(t *testing.T) {
	for _, kind := range []string{maquis.FullMesh, maquis.HyParView, maquis.XBot, maquis.Scamp} {
		t.Run(kind, func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				const count = 8
				last := make([][count]int64, count) // by subscriber and origin
				for i := range count {
					c.Start(fmt.Sprint("n", i), func(n *actorstest.Node) error {
						pid := n.System.Root.Spawn(actor.PropsFromFunc(func(x actor.Context) {
							if m, ok := x.Message().(*wrapperspb.Int64Value); ok {
								from, number := m.Value%count, m.Value/count
								if want := last[i][from] + 1; number != want {
									t.Errorf("n%d got %d of n%d, not %d", i, number, from, want)
								}
								last[i][from] = number
							}
						}))
						_, err := n.SubscribeBroadcast("data", pid)
						return err
					})
				}
				c.Settle()
				live := c.Live()
				for i, a := range live {
					for _, b := range live[i+1:] {
						c.Slow(a, b, 20*time.Millisecond)
					}
				}
				made := int64(0)
				say := func(d time.Duration) {
					for end := time.Now().Add(d); time.Now().Before(end); c.Pass(500 * time.Millisecond) {
						made++
						for i, n := range live {
							require.NoError(t, n.Broadcast("data", wrapperspb.Int64(made*count+int64(i))))
						}
					}
				}
				say(5 * time.Second)
				c.Partition(live[:3], live[3:])
				say(45 * time.Second)
				c.Heal()
				say(20 * time.Second)
				c.Pass(20 * time.Second)
				for i := range count {
					for from := range count {
						require.Equal(t, made, last[i][from], "the last of n%d at n%d", from, i)
					}
				}
			}, actorstest.WithNodes(maquis.WithOverlays(maquis.OverlaySpec{Kind: kind})))
		})
	}
}
