package actorstest

import (
	"flag"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"time"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr/transport"
)

// pair names two nodes, in either order.
func pair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

func (c *Cluster) cut(a, b string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cuts[pair(a, b)] = true
}

// Cut ends all traffic between two nodes. Connections stay and carry nothing;
// what is on its way arrives if the cut heals while they are there.
func (c *Cluster) Cut(a, b *Node) {
	c.note("cut between %s and %s", a.name, b.name)
	c.cut(a.name, b.name)
	c.faults.Cut(a.name, b.name)
}

// CutOneWay ends the traffic from one node to another, and so all that needs
// answers.
func (c *Cluster) CutOneWay(from, to *Node) {
	c.note("cut from %s to %s", from.name, to.name)
	c.cut(from.name, to.name)
	c.faults.CutOneWay(from.name, to.name)
}

// Partition cuts all nodes of each side from those of all others.
func (c *Cluster) Partition(sides ...[]*Node) {
	for i, left := range sides {
		for _, right := range sides[i+1:] {
			for _, a := range left {
				for _, b := range right {
					c.Cut(a, b)
				}
			}
		}
	}
}

// Heal ends all cuts, holds and delays.
func (c *Cluster) Heal() {
	c.note("heal")
	c.mu.Lock()
	clear(c.cuts)
	c.mu.Unlock()
	c.faults.Heal()
}

// Hold keeps what two nodes send each other until Release or Heal. To the nodes
// it is a cut; to Settle it is none.
func (c *Cluster) Hold(a, b *Node) {
	c.note("hold between %s and %s", a.name, b.name)
	c.faults.Cut(a.name, b.name)
}

// Release ends a Hold.
func (c *Cluster) Release(a, b *Node) {
	c.note("release between %s and %s", a.name, b.name)
	c.faults.Restore(a.name, b.name)
}

// Reset breaks all connections between two nodes. They may be made again.
func (c *Cluster) Reset(a, b *Node) {
	c.note("reset between %s and %s", a.name, b.name)
	c.faults.Reset(a.name, b.name)
}

// Slow delays all that two nodes send each other.
func (c *Cluster) Slow(a, b *Node, by time.Duration) {
	c.note("slow between %s and %s: %v", a.name, b.name, by)
	c.faults.Slow(a.name, b.name, transport.Link{Latency: by})
	c.faults.Slow(b.name, a.name, transport.Link{Latency: by})
}

// Lose drops a part of the messages that two nodes send each other, of actors
// and of overlays, until the function that it returns is called. Connections do
// not lose; this is a fault above them.
func (c *Cluster) Lose(a, b *Node, fraction float64) (end func()) {
	c.note("lose %v between %s and %s", fraction, a.name, b.name)
	return c.Intercept(func(p maquis.Packet) maquis.Verdict {
		if pair(p.From, p.To) == pair(a.name, b.name) && rand.Float64() < fraction {
			return maquis.Drop
		}
		return maquis.Pass
	})
}

// Intercept has every message that arrives anywhere judged: Partisan's
// interposition. Several may be set; the first that does not pass a packet
// decides. It is called by many goroutines.
func (c *Cluster) Intercept(f func(maquis.Packet) maquis.Verdict) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &f
	c.intercepts = append(slices.Clone(c.intercepts), p)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.intercepts = slices.DeleteFunc(slices.Clone(c.intercepts), func(x *func(maquis.Packet) maquis.Verdict) bool { return x == p })
	}
}

func (c *Cluster) judge(p maquis.Packet) maquis.Verdict {
	c.mu.Lock()
	list := c.intercepts
	c.mu.Unlock()
	for _, f := range list {
		if v := (*f)(p); v != maquis.Pass {
			return v
		}
	}
	return maquis.Pass
}

// Fault is something that Play does to a cluster.
type Fault struct {
	Name string
	// do does it and returns what ends it.
	do func(c *Cluster, r *rand.Rand) (undo func())
}

// two picks two nodes.
func two(c *Cluster, r *rand.Rand) (a, b *Node) {
	live := c.Live()
	i := r.IntN(len(live))
	return live[i], live[(i+1+r.IntN(len(live)-1))%len(live)]
}

// Faults for Play.
var (
	Cuts       = Fault{"cut", func(c *Cluster, r *rand.Rand) func() { a, b := two(c, r); c.Cut(a, b); return c.Heal }}
	OneWayCuts = Fault{"one-way cut", func(c *Cluster, r *rand.Rand) func() { a, b := two(c, r); c.CutOneWay(a, b); return c.Heal }}
	Resets     = Fault{"reset", func(c *Cluster, r *rand.Rand) func() { a, b := two(c, r); c.Reset(a, b); return func() {} }}
	Delays     = Fault{"delay", func(c *Cluster, r *rand.Rand) func() {
		a, b := two(c, r)
		c.Slow(a, b, time.Duration(1+r.IntN(400))*time.Millisecond)
		return c.Heal
	}}
	Partitions = Fault{"partition", func(c *Cluster, r *rand.Rand) func() {
		live := c.Live()
		r.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
		k := 1 + r.IntN(len(live)-1)
		c.Partition(live[:k], live[k:])
		return c.Heal
	}}
	Crashes = Fault{"crash", func(c *Cluster, r *rand.Rand) func() {
		a, _ := two(c, r)
		a.Crash()
		return a.start
	}}
	AllFaults = []Fault{Cuts, OneWayCuts, Resets, Delays, Partitions, Crashes}
)

var seedFlag = flag.Uint64("actorstest.seed", 0, "the seed of Play, to repeat its faults")

// Play does random faults of those given, one at a time, each for up to a tenth
// of the time, until that has passed. The same seed makes the same faults; with
// seed 0 another is drawn. The seed is logged, and -actorstest.seed repeats it.
// At the end no fault is left.
func (c *Cluster) Play(seed uint64, d time.Duration, faults ...Fault) {
	c.t.Helper()
	if *seedFlag != 0 {
		seed = *seedFlag
	}
	if seed == 0 {
		seed = maphash.String(maphash.MakeSeed(), "play") | 1
	}
	c.t.Logf("faults of -actorstest.seed=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for end := time.Now().Add(d); time.Now().Before(end) && len(c.Live()) > 1; {
		undo := faults[r.IntN(len(faults))].do(c, r)
		c.Pass(time.Duration(1 + r.Int64N(int64(d)/10)))
		undo()
		c.Pass(time.Duration(1 + r.Int64N(int64(d)/20)))
	}
}
