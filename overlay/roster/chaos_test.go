package roster_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/overlaytest"
	"github.com/maquis-go/maquis/overlay/roster"
)

// story checks the order of one life's notifications.
type story struct {
	state map[string]string // name -> "up", "suspect" or "gone"
	gens  map[string]uint64
	err   error
}

func (s *story) take(n any) {
	move := func(m roster.Member, to string, from ...string) {
		was := s.state[m.Peer.Name]
		for _, f := range from {
			if was == f {
				s.state[m.Peer.Name] = to
				if m.Generation < s.gens[m.Peer.Name] {
					s.err = fmt.Errorf("%s came back from generation %d to %d", m.Peer.Name, s.gens[m.Peer.Name], m.Generation)
				}
				s.gens[m.Peer.Name] = m.Generation
				return
			}
		}
		s.err = fmt.Errorf("%s was %q and is told %q", m.Peer.Name, was, to)
	}
	switch n := n.(type) {
	case roster.Up:
		move(n.Member, "up", "", "gone")
	case roster.Suspected:
		move(n.Member, "suspect", "up")
	case roster.Cleared:
		move(n.Member, "up", "suspect")
	case roster.Updated:
		move(n.New, s.state[n.New.Peer.Name], "up", "suspect")
	case roster.Down:
		move(n.Member, "gone", "up", "suspect")
	case roster.Gone:
		move(n.Member, "gone", "up", "suspect", "gone")
	}
}

// told wires nodes as node does and checks each life's story.
func told(t *testing.T, seed uint64) overlaytest.Factory {
	return func(self overlay.Peer, rng *rand.Rand) *overlaytest.Node {
		n := node(self, rng)
		s := &story{state: map[string]string{}, gens: map[string]uint64{}}
		notify := n.Notify
		n.Notify = func(d *overlaytest.Life, instance string, notice any) {
			if s.take(notice); s.err != nil {
				t.Fatalf("seed %d: %s: %v", seed, self.Name, s.err)
			}
			notify(d, instance, notice)
		}
		return n
	}
}

// havoc cuts, stops, kills and restarts nodes of a world at random, makes them
// leave, and starts others under their names.
func havoc(w *overlaytest.World, rng *rand.Rand, names []string, steps int) {
	pick := func() string { return names[rng.IntN(len(names))] }
	stopped := map[string]bool{}
	resume := func(x string) {
		if stopped[x] {
			delete(stopped, x)
			w.Continue(x)
		}
	}
	for range steps {
		x, y := pick(), pick()
		switch rng.IntN(10) {
		case 0:
			if w.Life(x) != nil {
				resume(x)
				w.Crash(x)
			}
		case 1, 2:
			if w.Life(x) == nil {
				w.Start(x)
				w.Join(x, pick(), pick())
			}
		case 3:
			if x != y {
				w.Cut(x, y, rng.IntN(3) > 0)
			}
		case 4: // halves
			k := 1 + rng.IntN(len(names)-1)
			for _, a := range names[:k] {
				for _, b := range names[k:] {
					w.Cut(a, b, true)
				}
			}
		case 5:
			w.Heal()
		case 6:
			if w.Life(x) != nil && !stopped[x] {
				stopped[x] = true
				w.Stop(x)
			}
		case 7:
			resume(x)
		case 8:
			if l := w.Life(x); l != nil && !stopped[x] {
				l.Feed("roster", overlay.Leave{})
				w.Advance(20 * time.Millisecond)
				w.Crash(x)
			}
		case 9:
			if w.Life("twin") != nil {
				w.Crash("twin")
			} else if rng.IntN(2) == 0 {
				w.StartAs("twin", x)
				w.Join("twin", y)
			}
		}
		w.Advance(time.Duration(rng.IntN(6000)) * time.Millisecond)
	}
	w.Heal()
	if w.Life("twin") != nil {
		w.Crash("twin")
	}
	for _, x := range names {
		resume(x)
		if w.Life(x) == nil {
			w.Start(x)
			w.Join(x, names...)
		}
	}
}

// TestHavocEnds: whatever happened, when it is over the nodes become one
// cluster with exact rosters, and no life was told a story out of order.
func TestHavocEnds(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	for seed := range uint64(40) {
		w := overlaytest.NewWorld(overlaytest.Config{Seed: seed, Factory: told(t, seed), Jitter: 5 * time.Millisecond, Loss: 0.02})
		w.Cluster(names...)
		w.Advance(2 * time.Second)
		havoc(w, rand.New(rand.NewPCG(seed, 7)), names, 40)
		if !w.Until(60*time.Second, func() bool { return whole(w) }) {
			t.Fatalf("seed %d: a minute after all faults ended the rosters differ:\n%s", seed, w)
		}
	}
}

// TestHalvesMergeWithin30s: after cuts of any length and shape.
func TestHalvesMergeWithin30s(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var names []string
		for i := range 2 + rng.IntN(14) {
			names = append(names, fmt.Sprintf("n%02d", i))
		}
		w := overlaytest.NewWorld(overlaytest.Config{Seed: seed, Factory: told(t, seed), Jitter: 3 * time.Millisecond})
		// They join through one contact only, so that no seeds help.
		w.Start(names[0])
		for _, n := range names[1:] {
			w.Start(n)
			w.Join(n, names[0])
		}
		if !w.Until(5*time.Second, func() bool { return whole(w) }) {
			t.Fatalf("seed %d: no cluster:\n%s", seed, w)
		}
		k := 1 + rng.IntN(len(names)-1)
		for _, a := range names[:k] {
			for _, b := range names[k:] {
				w.Cut(a, b, true)
			}
		}
		w.Advance(time.Duration(1+rng.IntN(600)) * time.Second)
		w.Heal()
		if !w.Until(30*time.Second, func() bool { return whole(w) }) {
			t.Fatalf("seed %d: %d|%d nodes: no cluster 30 s after the heal:\n%s", seed, k, len(names)-k, w)
		}
	}
}

// TestKillIsSeenInThreeSeconds, whatever the dice say.
func TestKillIsSeenInThreeSeconds(t *testing.T) {
	for seed := range uint64(40) {
		w := overlaytest.NewWorld(overlaytest.Config{Seed: seed, Factory: told(t, seed), Jitter: 10 * time.Millisecond})
		w.Cluster("a", "b", "c", "d", "e")
		w.Advance(3 * time.Second)
		w.Crash("c")
		if !w.Until(3*time.Second, func() bool { return whole(w) }) {
			t.Fatalf("seed %d: a node was killed and is not down everywhere:\n%s", seed, w)
		}
	}
}

// TestSameSeedSameTrace: a run is a function of its seed.
func TestSameSeedSameTrace(t *testing.T) {
	run := func() (uint64, int) {
		h, lines := fnv.New64a(), 0
		names := []string{"a", "b", "c", "d", "e"}
		w := overlaytest.NewWorld(overlaytest.Config{
			Seed: 11, Factory: node, Jitter: 5 * time.Millisecond, Loss: 0.05,
			Trace: func(line string) { lines++; _, _ = h.Write([]byte(line)) },
		})
		w.Cluster(names...)
		havoc(w, rand.New(rand.NewPCG(11, 7)), names, 60)
		w.Advance(30 * time.Second)
		return h.Sum64(), lines
	}
	h1, n1 := run()
	h2, n2 := run()
	if h1 != h2 || n1 != n2 || n1 < 1000 {
		t.Fatalf("two runs with one seed differ: %d lines with hash %x, %d with %x", n1, h1, n2, h2)
	}
}

// TestManyAtOnce: fifty nodes started at the same moment, three of them seeds.
func TestManyAtOnce(t *testing.T) {
	w := overlaytest.NewWorld(overlaytest.Config{Seed: 5, Factory: told(t, 5), Jitter: 2 * time.Millisecond})
	for i := range 50 {
		w.Start(fmt.Sprintf("n%02d", i))
	}
	for i := range 50 {
		w.Join(fmt.Sprintf("n%02d", i), "n00", "n01", "n02")
	}
	if !w.Until(5*time.Second, func() bool { return whole(w) }) {
		t.Fatalf("fifty nodes are not one cluster after 5 s:\n%.2000s", w)
	}
}

// TestNoFlapOverALossyLink: a node that cannot be reached from some, and
// through links that lose messages from others, is never declared down.
func TestNoFlapOverALossyLink(t *testing.T) {
	var bad []string
	w := overlaytest.NewWorld(overlaytest.Config{Seed: 9, Factory: node, Notice: notice, Loss: 0.05, Jitter: 20 * time.Millisecond,
		Trace: func(line string) {
			if strings.Contains(line, "! Down{") || strings.Contains(line, "! SelfChanged{") && strings.Contains(line, " g2 ") {
				bad = append(bad, line)
			}
		}})
	w.Cluster("a", "b", "c", "d")
	w.Advance(20 * time.Second)
	w.Cut("a", "b", true)
	w.Cut("a", "c", true)
	w.Advance(10 * time.Minute)
	if len(bad) > 0 {
		t.Fatalf("one node with one link left was declared down:\n%s", strings.Join(bad, "\n"))
	}
}
