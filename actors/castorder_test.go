package actors_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
)

// talk is actors that broadcast answers to what they hear, with an oracle that
// knows what happened before what.
type talk struct {
	mu      sync.Mutex
	rng     *rand.Rand
	channel string
	past    []map[int64]bool // by broadcast
	heard   map[string]int   // how many, by node
	early   []string         // what came before what had happened before it
	most    int
}

func newTalk(channel string) *talk {
	return &talk{rng: rand.New(rand.NewPCG(7, 7)), channel: channel, heard: map[string]int{}, most: 300}
}

// listener subscribes an actor.
func (k *talk) listener(n *actorstest.Node) error {
	past, got := map[int64]bool{}, []int64(nil)
	pid := n.System.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		m, ok := c.Message().(*wrapperspb.Int64Value)
		if !ok {
			return
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, id := range got {
			if k.past[id][m.Value] {
				k.early = append(k.early, fmt.Sprintf("%s heard %d before %d", n.Name(), id, m.Value))
			}
		}
		got = append(got, m.Value)
		k.heard[n.Name()]++
		past[m.Value] = true
		for id := range k.past[m.Value] {
			past[id] = true
		}
		if k.rng.IntN(5) == 0 && len(k.past) < k.most {
			k.say(n, past)
		}
	}))
	_, err := n.SubscribeBroadcast(k.channel, pid)
	return err
}

// say broadcasts after what happened before. mu is held.
func (k *talk) say(n *actorstest.Node, past map[int64]bool) {
	id := int64(len(k.past))
	before := make(map[int64]bool, len(past))
	for p := range past {
		before[p] = true
	}
	k.past = append(k.past, before)
	past[id] = true
	if err := n.Broadcast(k.channel, wrapperspb.Int64(id)); err != nil {
		panic(err)
	}
}

// P-12: on a channel in causal order an answer is heard after the question, by
// all, however slow the ways are and though the tree has many; on one in the order
// of origins it is not.
func TestP12CausalBroadcast(t *testing.T) {
	unordered := 0
	for _, kind := range []string{maquis.FullMesh, maquis.HyParView} {
		t.Run(kind, func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				const count = 8
				talks := []*talk{newTalk("causal"), newTalk("data")}
				for i := range count {
					c.Start(fmt.Sprint("n", i), func(n *actorstest.Node) error {
						for _, k := range talks {
							if err := k.listener(n); err != nil {
								return err
							}
						}
						return nil
					})
				}
				c.Settle()
				live := c.Live()
				rng := rand.New(rand.NewPCG(3, 3))
				for i, a := range live {
					for _, b := range live[i+1:] {
						c.Slow(a, b, time.Duration(rng.IntN(500))*time.Millisecond)
					}
				}
				for range 100 {
					for _, k := range talks {
						k.mu.Lock()
						k.say(live[rng.IntN(count)], map[int64]bool{})
						k.mu.Unlock()
					}
					c.Pass(time.Duration(rng.IntN(300)) * time.Millisecond)
				}
				c.Until(time.Minute, func() error {
					for _, k := range talks {
						k.mu.Lock()
						defer k.mu.Unlock()
						for _, n := range live {
							if k.heard[n.Name()] < len(k.past) {
								return fmt.Errorf("%s heard %d of %d on %s", n.Name(), k.heard[n.Name()], len(k.past), k.channel)
							}
						}
					}
					return nil
				})
				waited := uint64(0)
				for _, n := range live {
					waited += n.Stats()["broadcast_causal_waited"]
					require.Zero(t, n.Stats()["broadcast_causal_given_up"])
				}
				require.Empty(t, talks[0].early)
				unordered += len(talks[1].early)
				t.Logf("%d broadcasts were heard in causal order, %d waited; %d times one came too early on the other channel", len(talks[0].past)*count, waited, len(talks[1].early))
			}, actorstest.WithNodes(causalChannel, maquis.WithOverlays(maquis.OverlaySpec{Kind: kind})))
		})
	}
	require.NotZero(t, unordered, "the test has nothing to find")
}

// The order holds over a partition, a node's end and its next life; who was cut off
// for less than a minute misses nothing.
func TestCausalBroadcastUnderFaults(t *testing.T) {
	for _, kind := range []string{maquis.FullMesh, maquis.HyParView} {
		t.Run(kind, func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				const count = 8
				k := newTalk("causal")
				k.most = 600
				for i := range count {
					c.Start(fmt.Sprint("n", i), k.listener)
				}
				c.Settle()
				live := c.Live()
				rng := rand.New(rand.NewPCG(4, 4))
				for i, a := range live {
					for _, b := range live[i+1:] {
						c.Slow(a, b, time.Duration(rng.IntN(200))*time.Millisecond)
					}
				}
				say := func(d time.Duration) {
					for end := time.Now().Add(d); time.Now().Before(end); c.Pass(time.Duration(rng.IntN(500)) * time.Millisecond) {
						live = c.Live()
						k.mu.Lock()
						k.say(live[rng.IntN(len(live))], map[int64]bool{})
						k.mu.Unlock()
					}
				}
				say(5 * time.Second)
				c.Partition(live[:3], live[3:])
				say(20 * time.Second)
				c.Heal()
				say(10 * time.Second)
				last := live[count-1]
				last.Crash()
				say(5 * time.Second)
				last.Restart()
				say(10 * time.Second)
				c.Until(time.Minute, func() error {
					k.mu.Lock()
					defer k.mu.Unlock()
					for _, n := range live[:count-1] {
						if k.heard[n.Name()] < len(k.past)-3 { // what the last made when it ended may be gone
							return fmt.Errorf("%s heard %d of %d", n.Name(), k.heard[n.Name()], len(k.past))
						}
					}
					return nil
				})
				c.Pass(20 * time.Second)
				k.mu.Lock()
				defer k.mu.Unlock()
				require.Empty(t, k.early)
				for _, n := range c.Live() {
					s := n.Stats()
					t.Logf("%s heard %d of %d, %d waited, %d were given up", n.Name(), k.heard[n.Name()], len(k.past), s["broadcast_causal_waited"], s["broadcast_causal_given_up"])
				}
			}, actorstest.WithNodes(causalChannel, maquis.WithOverlays(maquis.OverlaySpec{Kind: kind})))
		})
	}
}

var causalChannel = maquis.WithChannels(maquis.ChannelSpec{Name: "causal", Delivery: maquis.AtLeastOnce, Ordering: maquis.Causal})
