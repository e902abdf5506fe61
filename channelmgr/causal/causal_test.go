package causal_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/causal"
)

// message is one on its way, with what the oracle knows of it: its sender's
// vector clock, of all deliveries and sends before it.
type message struct {
	id       int
	from, to int
	seq      uint64 // of the flow
	after    uint64
	past     map[int]bool // ids of all messages before it
}

// node is one of the group. past are the ids of all that it has sent or been
// handed, and what was before those.
type node struct {
	tx    causal.Sender[int]
	rx    causal.Queue[int, *message]
	past  map[int]bool
	sent  map[int]uint64 // numbers given, by destination
	heard map[int]uint64 // numbers that arrived, by origin
	dead  bool
}

// group is nodes with pipes between them that keep order and nothing else:
// messages, reports and words travel at any speed.
type group struct {
	t     *testing.T
	rng   *rand.Rand
	n     []*node
	data  map[[2]int][]*message // on their way
	acks  map[[2]int][]uint64   // reports on their way: next
	words map[[2]int][]uint64   // of what is stable
	next  int
	all   []*message
	got   map[int][]*message // by node, in the order of delivery
	held  int                // the most that waited at a node
}

func newGroup(t *testing.T, seed uint64, n int) *group {
	g := &group{t: t, rng: rand.New(rand.NewPCG(seed, 3)), data: map[[2]int][]*message{}, acks: map[[2]int][]uint64{}, words: map[[2]int][]uint64{}, got: map[int][]*message{}}
	for range n {
		g.n = append(g.n, &node{past: map[int]bool{}, sent: map[int]uint64{}, heard: map[int]uint64{}})
	}
	return g
}

func (g *group) send(from, to int) {
	n := g.n[from]
	n.sent[to]++
	m := &message{id: g.next, from: from, to: to, seq: n.sent[to], after: n.tx.After(to), past: map[int]bool{}}
	g.next++
	n.tx.Sent(to, m.seq, m.after)
	for id := range n.past {
		m.past[id] = true
	}
	n.past[m.id] = true
	g.all = append(g.all, m)
	if !g.n[to].dead {
		k := [2]int{from, to}
		g.data[k] = append(g.data[k], m)
	}
}

func (g *group) tell(from int) {
	g.n[from].tx.Tell(func(to int, stable uint64) {
		k := [2]int{from, to}
		g.words[k] = append(g.words[k], stable)
	})
}

func (g *group) pop(i int) {
	n := g.n[i]
	g.held = max(g.held, n.rx.Len())
	for {
		var one [1]*message
		ok := n.rx.Take(one[:]) == 1
		m := one[0]
		if !ok {
			return
		}
		for _, before := range g.got[i] {
			require.NotEqual(g.t, m.id, before.id, "twice")
		}
		g.got[i] = append(g.got[i], m)
		n.past[m.id] = true
		for id := range m.past {
			n.past[id] = true
		}
	}
}

// move lets something arrive that is on its way from a to b.
func (g *group) move(a, b int) {
	k := [2]int{a, b}
	n := g.n[b]
	if n.dead {
		return
	}
	switch g.rng.IntN(3) {
	case 0:
		if q := g.data[k]; len(q) > 0 {
			m := q[0]
			g.data[k] = q[1:]
			require.Equal(g.t, n.heard[a]+1, m.seq)
			n.heard[a]++
			n.rx.Push(a, m.after, m)
			if g.rng.IntN(3) == 0 {
				g.acks[[2]int{b, a}] = append(g.acks[[2]int{b, a}], n.heard[a]+1)
			}
			g.pop(b)
		}
	case 1:
		if q := g.acks[k]; len(q) > 0 {
			g.acks[k] = q[1:]
			if n.tx.Arrived(a, q[0]) {
				g.tell(b)
			}
		}
	case 2:
		if q := g.words[k]; len(q) > 0 {
			g.words[k] = q[1:]
			n.rx.Stable(a, q[0])
			g.pop(b)
		}
	}
}

// kill ends a node. The others hear of it each in its time, after what is on its
// way from it.
func (g *group) kill(i int) {
	g.n[i].dead = true
	for j, n := range g.n {
		if j == i || n.dead {
			continue
		}
		for _, m := range g.data[[2]int{i, j}] {
			n.heard[i]++
			n.rx.Push(i, m.after, m)
		}
		delete(g.data, [2]int{i, j})
		n.rx.Release(i)
		g.pop(j)
		if _, news := n.tx.Gone(i); news {
			g.tell(j)
		}
	}
}

// settle lets all that is on its way arrive.
func (g *group) settle() {
	for range 100 {
		for i, n := range g.n {
			for j := range g.n {
				if i != j && !n.dead && !g.n[j].dead && n.heard[j] > 0 {
					g.acks[[2]int{i, j}] = append(g.acks[[2]int{i, j}], n.heard[j]+1)
				}
			}
		}
		for range 40 * len(g.n) * len(g.n) {
			a, b := g.rng.IntN(len(g.n)), g.rng.IntN(len(g.n))
			if a != b {
				g.move(a, b)
			}
		}
		open := 0
		for k, q := range g.data {
			if !g.n[k[1]].dead && !g.n[k[0]].dead {
				open += len(q)
			}
		}
		for _, n := range g.n {
			if !n.dead {
				open += n.rx.Len()
			}
		}
		if open == 0 {
			return
		}
	}
	g.t.Fatal("something never arrives")
}

// check compares every two deliveries of a node with the oracle.
func (g *group) check(what string) {
	for i, list := range g.got {
		for at, m := range list {
			for _, later := range list[at+1:] {
				if m.past[later.id] {
					g.t.Fatalf("%s: node %d was handed %d before %d, which happened before it", what, i, m.id, later.id)
				}
			}
		}
	}
}

// A→B, then A→C, and C→B because of it: however slow A→B is, B is handed A's
// message first.
func TestTriangle(t *testing.T) {
	const a, b, c = 0, 1, 2
	g := newGroup(t, 1, 3)
	g.send(a, b)
	g.send(a, c)
	for range 50 {
		g.move(a, c)
	}
	require.Empty(t, g.got[c], "C's message waits: A→B has not arrived")
	for len(g.got[c]) == 0 {
		g.move(a, b)
		g.move(b, a)
		if len(g.acks[[2]int{b, a}]) == 0 && g.n[b].heard[a] > 0 {
			g.acks[[2]int{b, a}] = append(g.acks[[2]int{b, a}], 2)
		}
		g.move(a, c)
	}
	g.send(c, b)
	g.settle()
	require.Equal(t, []int{0, 2}, []int{g.got[b][0].id, g.got[b][1].id})
	g.check("triangle")
}

// Random sends among nodes, of which some die: each message arrives once, in the
// order of the oracle, and in the end nothing waits and little is remembered.
func TestRandomGroups(t *testing.T) {
	for seed := range uint64(1500) {
		size := 2 + int(seed%6)
		g := newGroup(t, seed, size)
		dead := 0
		for range 60 + g.rng.IntN(200) {
			a, b := g.rng.IntN(size), g.rng.IntN(size)
			switch {
			case a == b || g.n[a].dead:
			case g.rng.IntN(3) == 0:
				if !g.n[b].dead {
					g.send(a, b)
				}
			case g.rng.IntN(200) == 0 && dead < size-2:
				g.kill(a)
				dead++
			default:
				g.move(a, b)
			}
		}
		g.settle()
		g.check(fmt.Sprint("seed ", seed))
		for _, m := range g.all {
			if g.n[m.to].dead || g.n[m.from].dead {
				continue
			}
			found := 0
			for _, got := range g.got[m.to] {
				if got == m {
					found++
				}
			}
			require.Equal(t, 1, found, "seed %d: %d → %d", seed, m.from, m.to)
		}
		for i, n := range g.n {
			if !n.dead {
				require.Zero(t, n.rx.Len(), "seed %d, node %d", seed, i)
			}
		}
	}
}

// A stream to one destination waits for nothing, and one number stands for it.
func TestOneDestination(t *testing.T) {
	var s causal.Sender[string]
	for i := range uint64(1000) {
		after := s.After("b")
		require.Zero(t, after)
		s.Sent("b", i+1, after)
	}
	require.EqualValues(t, 1000, s.After("c"))
	s.Arrived("b", 900)
	require.EqualValues(t, 1000, s.After("c"))
	require.True(t, s.Arrived("b", 1001))
	require.Zero(t, s.After("c"))
	open, _ := s.Gone("b")
	require.Zero(t, open)
}

// Streams in turn to several destinations: what is stable is known to the message,
// whatever part of them has arrived where.
func TestInTurn(t *testing.T) {
	var s causal.Sender[string]
	for i := range uint64(100) {
		for _, to := range []string{"b", "c"} { // the i-th to b has the count 2i-1, to c 2i
			s.Sent(to, i+1, s.After(to))
		}
	}
	stable := func() (n uint64) {
		s.Tell(func(to string, stable uint64) { n = stable })
		return n
	}
	require.True(t, s.Arrived("b", 51))
	require.EqualValues(t, 1, stable())
	require.True(t, s.Arrived("c", 41))
	require.EqualValues(t, 2*41-1, stable())
	require.True(t, s.Arrived("c", 101))
	require.EqualValues(t, 2*51-2, stable())
	require.True(t, s.Arrived("b", 52))
	require.EqualValues(t, 2*52-2, stable())
	s.Sent("b", 101, s.After("b"))
	require.True(t, s.Arrived("b", 101))
	require.EqualValues(t, 200, stable())
	require.True(t, s.Arrived("b", 102))
	open, _ := s.Gone("b")
	require.Zero(t, open)
}

// Reports and words of nonsense move nothing that they must not.
func TestNonsense(t *testing.T) {
	var s causal.Sender[string]
	require.False(t, s.Arrived("stranger", 1<<60))
	s.Sent("b", 1, 0)
	s.Sent("c", 1, s.After("c"))
	require.False(t, s.Arrived("c", 1<<60), "what went before is open")
	require.True(t, s.Arrived("b", 1<<60))
	var q causal.Queue[string, int]
	q.Stable("a", 5)
	q.Stable("a", 3)
	require.True(t, q.Ripe("a", 5))
	require.False(t, q.Ripe("b", 1))
}

// The common case allocates nothing: streams in turn to several destinations
// whose reports come.
func BenchmarkSender(b *testing.B) {
	for _, n := range []int{2, 15} {
		b.Run(fmt.Sprint(n+1, "-members"), func(b *testing.B) {
			var s causal.Sender[int]
			seq := make([]uint64, n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				to := i % n
				seq[to]++
				s.Sent(to, seq[to], s.After(to))
				if i%64 == 0 {
					for d := range n {
						s.Arrived(d, seq[d]+1)
					}
					s.Tell(func(int, uint64) {})
				}
			}
		})
	}
}
