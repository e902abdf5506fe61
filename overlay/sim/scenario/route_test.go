package scenario

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/hyparview"
	"github.com/maquis-go/maquis/overlay/plumtree"
	"github.com/maquis-go/maquis/overlay/sim"
	"github.com/maquis-go/maquis/peerservice/route"
)

// traffic is nodes with routes over HyParView, and what became of messages.
type traffic struct {
	t       testing.TB
	w       *sim.World
	rng     *rand.Rand
	next    uint64
	sent    map[string]bool // by sender and id
	arrived map[string]int  // how often
	lost    map[string]int
	hops    []int

	onArrived func(w *sim.World, node int, m route.Arrived)
}

func newTraffic(t testing.TB, n int) *traffic {
	x := &traffic{t: t, sent: map[string]bool{}, arrived: map[string]int{}, lost: map[string]int{}}
	w, err := sim.New(sim.Config{
		Seed: 9, Check: true, Link: sim.Model{Latency: 2 * time.Millisecond, Jitter: time.Millisecond},
		Factory: func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
			h, err := hyparview.New(hyparview.DefaultConfig(self, rng))
			require.NoError(t, err)
			c := plumtree.DefaultConfig(self)
			c.Lift = func(subject string) bool { return subject != route.Subject } // as in nodes: its way is its answer's
			p, err := plumtree.New(c)
			require.NoError(t, err)
			f, err := route.NewFinder(route.DefaultConfig(self))
			require.NoError(t, err)
			return overlay.NewStack(h, p, f)
		},
		Notify: func(w *sim.World, node int, notice any) {
			switch m := notice.(type) {
			case route.Arrived:
				x.arrived[fmt.Sprint(m.From.Name, "/", m.ID)]++
				x.hops = append(x.hops, m.Hops)
				if x.onArrived != nil {
					x.onArrived(w, node, m)
				}
			case route.Undeliverable:
				x.lost[fmt.Sprint(w.Peer(node).Name, "/", m.ID)]++
			}
		},
	})
	require.NoError(t, err)
	x.w, x.rng = w, w.Stream("traffic")
	for i := range n {
		w.Add()
		if i > 0 {
			w.Join(i, 0)
		}
		w.Run(50 * time.Millisecond)
	}
	w.Run(30 * time.Second)
	return x
}

// send sends a message from one node to another.
func (x *traffic) send(from, to int) {
	x.next++
	x.sent[fmt.Sprint(x.w.Peer(from).Name, "/", x.next)] = true
	x.w.Feed(from, overlay.Command{Order: route.Send{To: x.w.Peer(to), ID: x.next}})
}

func (x *traffic) pair() (from, to int) {
	live := x.w.Live()
	from, to = live[x.rng.IntN(len(live))], live[x.rng.IntN(len(live))]
	if from == to {
		return x.pair()
	}
	return from, to
}

func (x *traffic) finder(i int) *route.Finder {
	return x.w.Machine(i).(*overlay.Stack).Layers()[1].(*route.Finder)
}

// Any node reaches any other over relays; a second message needs no search.
func TestRoutesOverPartialViews(t *testing.T) {
	const n = 150
	x := newTraffic(t, n)
	type pair struct{ from, to int }
	var pairs []pair
	for range 300 {
		from, to := x.pair()
		pairs = append(pairs, pair{from, to})
		x.send(from, to)
		x.w.Run(20 * time.Millisecond)
	}
	x.w.Run(5 * time.Second)
	require.NoError(t, x.w.Err())
	require.Empty(t, x.lost)
	require.Len(t, x.arrived, 300)
	finds := func() (sum uint64) {
		for i := range n {
			sum += x.finder(i).Finds
		}
		return sum
	}
	before := finds()
	for _, p := range pairs {
		x.send(p.from, p.to)
	}
	x.w.Run(5 * time.Second)
	require.Len(t, x.arrived, 600)
	require.Equal(t, before, finds())
	mean, most := 0.0, 0
	for _, h := range x.hops {
		mean += float64(h) / float64(len(x.hops))
		most = max(most, h)
	}
	t.Logf("%d searches for 300 messages; hops %.1f in the mean, %d at most", before, mean, most)
}

// While nodes crash, restart and join, each message arrives once or its sender
// is told that it did not; without word are only those whose sender crashed or
// whose way broke under them. None goes in circles.
func TestRoutesUnderChurn(t *testing.T) {
	long(t)
	const n = 120
	x := newTraffic(t, n)
	down := map[int]bool{}
	for round := range 60 {
		for range 20 {
			x.send(x.pair())
		}
		x.w.Run(500 * time.Millisecond)
		if round%3 == 0 {
			i := 1 + x.rng.IntN(n-1)
			if x.w.Alive(i) {
				x.w.Crash(i)
				down[i] = true
			}
		}
		if round%6 == 5 {
			for i := range down {
				x.w.Restart(i)
				x.w.Join(i, 0)
				delete(down, i)
				break
			}
		}
	}
	x.w.Run(20 * time.Second)
	require.NoError(t, x.w.Err())
	silent := 0
	for id := range x.sent {
		require.LessOrEqual(t, x.arrived[id], 1, "%s arrived twice", id)
		require.False(t, x.arrived[id] > 0 && x.lost[id] > 0, "%s arrived and was said to be lost", id)
		if x.arrived[id]+x.lost[id] == 0 {
			silent++
		}
	}
	var looped uint64
	for i := range n {
		looped += x.finder(i).Looped
	}
	t.Logf("%d sent, %d arrived, %d told to be lost, %d without word, %d came back to their sender", len(x.sent), len(x.arrived), len(x.lost), silent, looped)
	require.Zero(t, looped)
	require.GreaterOrEqual(t, len(x.arrived), len(x.sent)*9/10, "some targets had just crashed")
	require.Less(t, silent, len(x.sent)/20)
}
