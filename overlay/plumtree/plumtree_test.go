package plumtree_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/fullmesh"
	"github.com/maquis-go/maquis/overlay/overlaytest"
	"github.com/maquis-go/maquis/overlay/plumtree"
)

// Scripts run over a full mesh: all links are there, so trees are made of all.
func TestScripts(t *testing.T) {
	overlaytest.Stories(t, "testdata/*.txt", overlaytest.Config{Seed: 1}, func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
		base, err := fullmesh.New(fullmesh.DefaultConfig(self, rng))
		require.NoError(t, err)
		m, err := plumtree.New(plumtree.DefaultConfig(self))
		require.NoError(t, err)
		return overlay.NewStack(base, m)
	})
}

func node(name string) overlay.Peer {
	return overlay.Peer{Name: name, Incarnation: overlay.Incarnation(name[0]), Addr: name + ":1"}
}

// bench is one machine, fed by hand.
type bench struct {
	t   testing.TB
	m   *plumtree.Machine
	now overlay.Time
}

func newBench(t testing.TB, change func(*plumtree.Config), neighbors ...string) *bench {
	c := plumtree.DefaultConfig(node("m"))
	c.LazyTick = 0
	if change != nil {
		change(&c)
	}
	m, err := plumtree.New(c)
	require.NoError(t, err)
	b := &bench{t: t, m: m}
	for _, n := range neighbors {
		b.feed(overlay.NeighborUp{Peer: node(n)})
	}
	return b
}

func (b *bench) feed(ev overlay.Event) []string {
	b.t.Helper()
	var lines []string
	r := overlaytest.Recorder{Machine: b.m, Lines: func(l string) { lines = append(lines, strings.Join(strings.Fields(l)[1:], " ")) }}
	var out overlay.Effects
	r.Step(b.now, ev, &out)
	require.NoError(b.t, b.m.Check())
	return lines[1:]
}

func (b *bench) hear(from string, m proto.Message) []string {
	return b.feed(overlay.Received{From: node(from), Msg: m})
}

// gossip is message seq of node o, as it arrives.
func gossip(seq uint64, change func(*messages.PlumGossip)) *messages.PlumGossip {
	g := &messages.PlumGossip{Origin: "o", Incarnation: 'o', Seq: seq, Hops: 3, Tree: 'o', Wave: 'o', Payload: []byte("x")}
	if change != nil {
		change(g)
	}
	return g
}

func ihave(seq uint64, hops uint32) *messages.PlumIHave {
	return &messages.PlumIHave{Messages: []*messages.PlumID{{Origin: "o", Incarnation: 'o', Seq: seq, Hops: hops}}}
}

func missing(seq uint64) overlay.Fired {
	return overlay.Fired{Timer: overlay.Timer{Kind: "plum-missing", ID: overlay.MessageID{Origin: "o", Incarnation: 'o', Seq: seq}}}
}

func has(lines []string, part string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, part) })
}

// Section 3.6: the first copy is delivered and passed on to all but its sender.
func TestEagerPush(t *testing.T) {
	b := newBench(t, nil, "a", "b", "c")
	got := b.hear("a", gossip(1, nil))
	require.True(t, has(got, "! Delivered{"), "%q", got)
	require.True(t, has(got, "-> b PlumGossip{") && has(got, "-> c PlumGossip{") && !has(got, "-> a "), "%q", got)
	require.True(t, has(got, "hops=4"), "%q", got)
}

// Section 3.7: a duplicate takes its link out of the tree; from then on it
// carries announcements.
func TestDuplicatePrunes(t *testing.T) {
	b := newBench(t, nil, "a", "b", "c")
	b.hear("a", gossip(1, nil))
	require.Equal(t, []string{"-> b PlumPrune{tree=111}"}, b.hear("b", gossip(1, nil)))
	require.Equal(t, []string{"-> b PlumPrune{tree=111}"}, b.hear("b", gossip(1, nil)), "again: it may have forgotten the tree")
	b.hear("c", &messages.PlumPrune{Tree: 'o'})
	got := b.hear("a", gossip(2, nil))
	require.True(t, has(got, "-> b PlumIHave{") && has(got, "-> c PlumIHave{"), "%q", got)
	// Another root's tree has all links.
	got = b.hear("a", gossip(1, func(g *messages.PlumGossip) { g.Origin, g.Incarnation, g.Tree = "q", 'q', 'q' }))
	require.True(t, has(got, "-> b PlumGossip{") && has(got, "-> c PlumGossip{"), "%q", got)
}

// Copies that came upon the tree at different places meet: that is no cycle.
func TestWavesThatMeetPruneNothing(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	b.hear("a", gossip(1, nil))
	require.Empty(t, b.hear("b", gossip(1, func(g *messages.PlumGossip) { g.Wave = 'w' })))
	require.Empty(t, b.hear("b", gossip(1, func(g *messages.PlumGossip) { g.OffTree = true })))
	require.False(t, strings.Contains(b.m.String(), "[b]"), b.m.String())
}

// Section 3.7: what was announced and does not come is asked for, at one
// announcer after the other, and the link becomes part of the tree.
func TestMissingMessagesAreAskedFor(t *testing.T) {
	b := newBench(t, nil, "a", "b", "c")
	got := b.hear("a", ihave(1, 2))
	require.Equal(t, []string{"set plum-missing  o/o/1 500ms"}, trimID(got))
	require.Empty(t, b.hear("b", ihave(1, 2)))
	got = b.feed(missing(1))
	require.True(t, has(got, "-> a PlumGraft{"), "%q", got)
	got = b.feed(missing(1))
	require.True(t, has(got, "-> b PlumGraft{"), "the next announcer: %q", got)
	require.Empty(t, b.feed(missing(1))[1:], "nobody is left to be asked")
	got = b.hear("c", gossip(1, nil))
	require.True(t, has(got, "! Delivered{"), "it comes late and is delivered all the same: %q", got)
}

// trimID makes the rendering of a timer's message stable for the eye.
func trimID(lines []string) []string {
	var out []string
	for _, l := range lines {
		if strings.HasPrefix(l, "set plum-missing") {
			l = "set plum-missing  o/o/1 " + l[strings.LastIndex(l, " ")+1:]
		}
		out = append(out, l)
	}
	return out
}

func TestGraftGetsTheMessageAndTheLink(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	b.hear("a", gossip(1, nil))
	b.hear("b", &messages.PlumPrune{Tree: 'o'})
	got := b.hear("b", &messages.PlumGraft{Messages: []*messages.PlumID{{Origin: "o", Incarnation: 'o', Seq: 1}}})
	require.True(t, has(got, "-> b PlumGossip{"), "%q", got)
	got = b.hear("a", gossip(2, nil))
	require.True(t, has(got, "-> b PlumGossip{"), "eager again: %q", got)
	require.Empty(t, b.hear("b", &messages.PlumGraft{Messages: []*messages.PlumID{{Origin: "o", Incarnation: 'o', Seq: 9}}}))
}

// What was expected of a lost neighbor is asked for elsewhere at once (Partisan
// waits for the next announcement).
func TestALostNeighborIsReplacedAtOnce(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	b.hear("a", ihave(1, 2))
	b.hear("b", ihave(1, 2))
	require.True(t, has(b.feed(missing(1)), "-> a PlumGraft{"))
	got := b.feed(overlay.NeighborDown{Peer: node("a")})
	require.True(t, has(got, "-> b PlumGraft{"), "%q", got)
}

// Section 3.9 and beyond: a new neighbor is part of all trees and hears of what
// came lately.
func TestANewNeighborHearsOfRecentMessages(t *testing.T) {
	b := newBench(t, nil, "a")
	b.hear("a", gossip(1, nil))
	b.now = b.now.Add(30 * time.Second)
	b.hear("a", gossip(2, nil))
	got := b.feed(overlay.NeighborUp{Peer: node("n")})
	require.True(t, has(got, "-> n PlumIHave{messages=[PlumID{origin=o incarnation=111 seq=1 hops=4 age_ms=30000} PlumID{origin=o incarnation=111 seq=2 hops=4}] opening=true}"), "%q", got)
	b.now = b.now.Add(31 * time.Second)
	got = b.feed(overlay.NeighborUp{Peer: node("p")})
	require.True(t, has(got, "seq=2") && !has(got, "seq=1 "), "what is old is not announced: %q", got)
}

// The ends of a link need not see it come up at the same time, nor as often:
// what the other announced before this one's neighbor came up is asked for, and
// nothing is if it was heard.
func TestANeighborThatAnnouncedTooEarlyIsAsked(t *testing.T) {
	b := newBench(t, nil)
	opening := overlay.Fired{Timer: overlay.Timer{Kind: "plum-opening", Peer: "a"}}
	early := ihave(1, 2)
	early.Opening = true
	require.Empty(t, b.hear("a", early), "no neighbor yet")
	require.True(t, has(b.feed(overlay.NeighborUp{Peer: node("a")}), "set plum-opening a 500ms"))
	require.Equal(t, []string{"-> a PlumIHave{ask=true}"}, b.feed(opening))
	require.True(t, has(b.hear("a", early), "cancel plum-opening a"))

	got := b.feed(overlay.NeighborDown{Peer: node("a")})
	require.True(t, has(got, "cancel plum-opening a"), "%q", got)
	require.Empty(t, b.feed(opening), "it is no neighbor")

	// The other end's part.
	b = newBench(t, nil, "a", "b")
	b.hear("b", gossip(1, nil))
	got = b.hear("a", &messages.PlumIHave{Ask: true})
	require.Equal(t, []string{"-> a PlumIHave{messages=[PlumID{origin=o incarnation=111 seq=1 hops=4}] opening=true}"}, got)
	for range 1<<16 - 1 {
		if len(got) > 0 {
			got = b.hear("a", &messages.PlumIHave{Ask: true})
		}
	}
	require.Empty(t, got, "what a neighbor may ask for is bounded")
}

// A newcomer does not ask for history, however long it has been there; what is
// younger than itself, or nearly so, it asks for.
func TestNewcomer(t *testing.T) {
	b := newBench(t, func(c *plumtree.Config) { c.Newcomer = true }, "a")
	aged := func(seq uint64, age time.Duration) *messages.PlumIHave {
		m := ihave(seq, 2)
		m.Messages[0].AgeMs = uint32(age / time.Millisecond)
		return m
	}
	require.Empty(t, b.hear("a", aged(1, 2500*time.Millisecond)))
	require.NotEmpty(t, b.hear("a", aged(2, 1500*time.Millisecond)), "what came while it joined is asked for")
	b.now = b.now.Add(30 * time.Second)
	require.Empty(t, b.hear("a", aged(1, 32500*time.Millisecond)))
	require.NotEmpty(t, b.hear("a", aged(3, 29*time.Second)))
	b = newBench(t, nil, "a")
	require.NotEmpty(t, b.hear("a", aged(1, time.Hour)), "a later machine of the same life asks for all")
}

// A message's age is for how long nodes have kept it: it goes on with what is
// announced and sent again, and is told with what is delivered.
func TestAge(t *testing.T) {
	b := newBench(t, nil, "a")
	got := b.hear("a", gossip(1, func(g *messages.PlumGossip) { g.AgeMs = 700 }))
	require.True(t, has(got, "Age:700ms"), "%q", got)
	b.now = b.now.Add(2 * time.Second)
	got = b.feed(overlay.NeighborUp{Peer: node("b")})
	require.True(t, has(got, "hops=4 age_ms=2700"), "%q", got)
	b.now = b.now.Add(time.Second)
	got = b.hear("b", &messages.PlumGraft{Messages: ihave(1, 0).Messages})
	require.True(t, has(got, "age_ms=3700"), "%q", got)
}

// Section 3.8: an announcement that is earlier by the threshold changes the
// tree, for messages of its root only.
func TestOptimization(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	b.hear("b", &messages.PlumPrune{Tree: 'o'})
	b.hear("a", gossip(1, func(g *messages.PlumGossip) { g.Hops = 9 }))
	b.hear("b", &messages.PlumPrune{Tree: 'o'})
	require.Empty(t, b.hear("b", ihave(1, 7)), "two hops earlier are not enough")
	require.Equal(t, []string{"-> b PlumGraft{tree=111}", "-> a PlumPrune{tree=111}"}, b.hear("b", ihave(1, 6)))
	b.hear("b", gossip(2, func(g *messages.PlumGossip) { g.Hops, g.Origin, g.Incarnation = 9, "x", 'x' }))
	require.Empty(t, b.hear("a", &messages.PlumIHave{Messages: []*messages.PlumID{{Origin: "x", Incarnation: 'x', Seq: 2, Hops: 1}}}))
}

// rooted is a message that has been at the root of its tree, o.
func rooted(seq uint64, change func(*messages.PlumGossip)) *messages.PlumGossip {
	return gossip(seq, func(g *messages.PlumGossip) {
		g.Root = overlay.Ref(node("o"))
		if change != nil {
			change(g)
		}
	})
}

// Announcements are collected for a tick.
func TestAnnouncementsGoOutTogether(t *testing.T) {
	b := newBench(t, func(c *plumtree.Config) { c.LazyTick = 20 * time.Millisecond }, "a", "b")
	b.hear("a", gossip(1, nil))
	b.hear("b", &messages.PlumPrune{Tree: 'o'})
	require.True(t, has(b.hear("a", gossip(2, nil)), "set plum-lazy 20ms"))
	require.False(t, has(b.hear("a", gossip(3, nil)), "set plum-lazy"))
	got := b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "plum-lazy"}})
	require.Equal(t, []string{"-> b PlumIHave{messages=[PlumID{origin=o incarnation=111 seq=2 hops=4} PlumID{origin=o incarnation=111 seq=3 hops=4}]}"}, got)
}

// Exactly once, whatever the order, within the window; a forged number does not
// block the origin's real messages.
func TestDeliveredOnce(t *testing.T) {
	b := newBench(t, func(c *plumtree.Config) { c.KeepMessages = 4 }, "a", "b")
	delivered := 0
	rng := rand.New(rand.NewPCG(1, 2))
	var order []uint64
	for seq := uint64(1000); seq < 1100; seq++ {
		order = append(order, seq, seq, seq)
	}
	for i := range order { // disorder of up to 30 places
		j := min(i+rng.IntN(30), len(order)-1)
		order[i], order[j] = order[j], order[i]
	}
	for _, seq := range order {
		if has(b.hear([]string{"a", "b"}[rng.IntN(2)], gossip(seq, nil)), "! Delivered{") {
			delivered++
		}
	}
	require.Equal(t, 100, delivered)
	b.hear("a", gossip(^uint64(0)-1, nil))
	for seq := uint64(1100); seq < 1150; seq++ {
		require.True(t, has(b.hear("a", gossip(seq, nil)), "! Delivered{"), "%d", seq)
		require.False(t, has(b.hear("b", gossip(seq-3, nil)), "! Delivered{"), "%d", seq-3)
	}
	// An origin that went on while we were cut off.
	for seq := uint64(90000); seq < 90100; seq++ {
		require.True(t, has(b.hear("a", gossip(seq, nil)), "! Delivered{"), "%d", seq)
	}
}

// A message that is missing while its origin sends many more is delivered when
// it comes at last; what comes in our own name is not.
func TestAGapInABurst(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	b.hear("a", gossip(1, nil))
	b.hear("b", ihave(2, 2))
	for seq := uint64(3); seq < 2000; seq++ {
		require.True(t, has(b.hear("a", gossip(seq, nil)), "! Delivered{"), "%d", seq)
	}
	require.True(t, has(b.feed(missing(2)), "-> b PlumGraft{"))
	require.True(t, has(b.hear("b", gossip(2, nil)), "! Delivered{"))
	require.False(t, has(b.hear("b", gossip(2, nil)), "! Delivered{"))

	own := func(seq uint64) *messages.PlumGossip {
		return gossip(seq, func(g *messages.PlumGossip) { g.Origin, g.Incarnation = "m", 'm' })
	}
	for seq := range uint64(20) {
		require.Empty(t, b.hear("a", own(100000*(seq+1))))
	}
	require.True(t, has(b.feed(overlay.Publish{}), "! Delivered{"))
}

// Numbers that a member forges in another's name, as many as it likes, do not
// silence the other, below them or above.
func TestForgedNumbersSilenceNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and of one goroutine")
	}
	for _, above := range []uint64{5000, 60000, 1 << 40} {
		b := newBench(t, nil, "a", "b")
		for seq := uint64(1); seq < 1000; seq++ {
			require.True(t, has(b.hear("a", gossip(seq, nil)), "! Delivered{"), "%d", seq)
			for i := range uint64(20) {
				b.hear("b", gossip(above+1000*seq*above/5000+i, nil))
			}
		}
	}
}

func TestConfigNamesAllThatIsWrong(t *testing.T) {
	_, err := plumtree.New(plumtree.Config{Spread: 99, MaxPayload: -1})
	for _, w := range []string{"a name and an incarnation", "times", "Spread are 0 and 99", "at least 1", "MaxPayload is -1"} {
		require.ErrorContains(t, err, w)
	}
}

// FuzzPlumtree feeds random legal events and any message; the same ones twice
// give the same effects, and nothing is delivered twice while it is kept.
func FuzzPlumtree(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 16 {
		b := make([]byte, 1500)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(fuzzOne)
}

func fuzzOne(t *testing.T, data []byte) {
	if len(data) > 8192 {
		return
	}
	peers := []overlay.Peer{node("a"), node("b"), node("c"), node("d"), {Name: "a", Incarnation: 1, Addr: "a:1"}}
	words := []string{"a", "b", "o", "m", "", strings.Repeat("x", 300)}
	kinds := []func() proto.Message{
		func() proto.Message { return &messages.PlumGossip{} },
		func() proto.Message { return &messages.PlumIHave{} },
		func() proto.Message { return &messages.PlumGraft{} },
		func() proto.Message { return &messages.PlumPrune{} },
	}
	run := func() []string {
		b := newBench(t, func(c *plumtree.Config) { c.KeepMessages, c.Trees, c.Origins = 16, 3, 4 })
		published, delivered := uint64(0), uint64(0)
		v := overlaytest.Drive{
			Machine: b.m, Peers: peers,
			Message: func(d *overlaytest.Dice, _ overlay.Peer) proto.Message {
				if d.N(3) > 0 { // something that fits
					g := gossip(uint64(d.N(20)+1), nil)
					g.Tree, g.Wave, g.OffTree, g.Spread = uint64(d.N(3)+1), uint64(d.N(2)), d.N(3) == 0, uint32(d.N(3))
					if d.N(2) == 0 {
						g.Wave, g.Root = g.Tree, &messages.NodeRef{Name: words[d.N(3)], Incarnation: g.Tree, Addr: "x:1"}
					}
					if d.N(4) == 0 { // of ours, as it comes back
						g.Origin, g.Incarnation = "m", 'm'
					}
					if d.N(2) == 0 {
						return ihave(g.Seq, uint32(d.N(9)))
					}
					return g
				}
				return overlaytest.Fill(d, kinds[d.N(len(kinds))](), words)
			},
			Event: func(d *overlaytest.Dice) overlay.Event {
				published++
				return overlay.Publish{Payload: []byte{1}}
			},
			Check: func(_ overlay.Time, effects []overlay.Effect) {
				if err := b.m.Check(); err != nil {
					t.Fatal(err)
				}
				for _, e := range effects {
					if n, ok := e.Notice.(overlay.Delivered); ok && n.ID.Incarnation == node("m").Incarnation {
						delivered++
						if n.ID.Seq != delivered {
							t.Fatalf("our message %d was delivered as the %dth", n.ID.Seq, delivered)
						}
					}
				}
				if delivered != published {
					t.Fatalf("%d of our own messages were delivered of %d", delivered, published)
				}
			},
		}
		return v.Run(overlaytest.NewDice(data))
	}
	if !slices.Equal(run(), run()) {
		t.Fatal("the same events gave other effects")
	}
}

// Section 3.8: announcements that came before the payload show a shorter way,
// too.
func TestEarlierAnnouncementOptimizes(t *testing.T) {
	b := newBench(t, nil, "a", "b", "c")
	b.hear("b", ihave(1, 4))
	b.hear("c", ihave(1, 2))
	got := b.hear("a", gossip(1, func(g *messages.PlumGossip) { g.Hops = 9 }))
	require.True(t, has(got, "-> c PlumGraft{") && has(got, "-> a PlumPrune{") && !has(got, "-> b PlumGraft"), "%q", got)
}

// A new neighbor hears of all that is kept; after Recent that is nothing.
func TestNewNeighborHearsOfAllThatIsKept(t *testing.T) {
	b := newBench(t, nil, "a")
	for i := range uint64(500) {
		b.hear("a", gossip(i+1, nil))
	}
	got := b.feed(overlay.NeighborUp{Peer: node("b")})
	require.Len(t, got, 4, "three messages and a timer")
	require.Equal(t, 500, strings.Count(strings.Join(got, ""), "seq="))
	b.now = b.now.Add(2 * time.Minute)
	b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "plum-counts"}})
	require.Contains(t, b.m.String(), " 0 kept")
}

func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		name string
		step func(x *bench, out *overlay.Effects, i uint64)
	}{
		{"first", func(x *bench, out *overlay.Effects, i uint64) {
			x.m.Step(0, overlay.Received{From: node("a"), Msg: gossip(i, nil)}, out)
		}},
		{"duplicate", func(x *bench, out *overlay.Effects, _ uint64) {
			x.m.Step(0, overlay.Received{From: node("b"), Msg: gossip(1, nil)}, out)
		}},
		{"announcement", func(x *bench, out *overlay.Effects, _ uint64) {
			x.m.Step(0, overlay.Received{From: node("b"), Msg: ihave(1, 3)}, out)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			x := newBench(b, nil, "a", "b", "c", "d", "e")
			x.hear("a", gossip(1, nil))
			var out overlay.Effects
			i := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				i++
				out.Reset()
				c.step(x, &out, i)
			}
		})
	}
}
