package actors_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// A node broadcasts, is killed and broadcasts in a new life while others are cut
// off. When they are back they get all of the new life that they missed, and
// nothing of the old one after it.
func TestBroadcastsOfANewLife(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				const count = 8
				r := rand.New(rand.NewPCG(seed, 1))
				between := func(a, b time.Duration) time.Duration { return a + time.Duration(r.Int64N(int64(b-a))) }
				last := make([][count]int64, count) // by subscriber and origin; numbers go on in a new life
				for i := range count {
					c.Start(fmt.Sprint("n", i), func(n *actorstest.Node) error {
						last[i] = [count]int64{}
						pid := n.System.Root.Spawn(actor.PropsFromFunc(func(x actor.Context) {
							if m, ok := x.Message().(*wrapperspb.Int64Value); ok {
								from, number := m.Value%count, m.Value/count
								if number <= last[i][from] {
									t.Errorf("n%d got %d of n%d after %d", i, number, from, last[i][from])
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
				slow := func() {
					for i, a := range live {
						for _, b := range live[i+1:] {
							c.Slow(a, b, between(time.Millisecond, 20*time.Millisecond))
						}
					}
				}
				slow()
				var made [count]int64
				say := func(d time.Duration, dead int) {
					for end := time.Now().Add(d); time.Now().Before(end); c.Pass(500 * time.Millisecond) {
						for i, n := range live {
							if i != dead {
								made[i]++
								require.NoError(t, n.Broadcast("data", wrapperspb.Int64(made[i]*count+int64(i))))
							}
						}
					}
				}
				say(5*time.Second, -1)
				k := 1 + r.IntN(4)
				c.Partition(live[:k], live[k:])
				say(between(5*time.Second, 30*time.Second), -1)
				dies := 4 + r.IntN(4)
				live[dies].Crash()
				say(between(10*time.Millisecond, 8*time.Second), dies)
				live[dies].Restart()
				say(between(100*time.Millisecond, 10*time.Second), -1)
				c.Heal()
				slow()
				c.Pass(20 * time.Second)
				for i := range count {
					for from := range count {
						if i != dies { // it is to hear nothing of before it came
							require.Equal(t, made[from], last[i][from], "the last of n%d at n%d", from, i)
						}
					}
				}
			}, actorstest.WithNodes(maquis.WithOverlays(maquis.OverlaySpec{Kind: maquis.HyParView}), maquis.WithFailurePreset("local")))
		})
	}
}
