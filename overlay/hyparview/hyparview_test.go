package hyparview_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/hyparview"
	"github.com/maquis-go/maquis/overlay/overlaytest"
)

// Scripts run with two places for neighbors, where everything happens early.
func TestScripts(t *testing.T) {
	overlaytest.Stories(t, "testdata/*.txt", overlaytest.Config{Seed: 1}, func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
		c := hyparview.DefaultConfig(self, rng)
		c.Active, c.Passive = 2, 4
		m, err := hyparview.New(c)
		require.NoError(t, err)
		return m
	})
}

func node(name string) overlay.Peer {
	return overlay.Peer{Name: name, Incarnation: 1, Addr: name + ":1"}
}

// bench is one machine, fed by hand.
type bench struct {
	t testing.TB
	m *hyparview.Machine
}

func newBench(t testing.TB, change func(*hyparview.Config)) *bench {
	c := hyparview.DefaultConfig(node("m"), rand.New(rand.NewPCG(1, 2)))
	c.Active, c.Passive = 3, 6
	if change != nil {
		change(&c)
	}
	m, err := hyparview.New(c)
	require.NoError(t, err)
	return &bench{t, m}
}

// feed feeds an event and returns the effects, those of timers left out.
func (b *bench) feed(ev overlay.Event) []string {
	b.t.Helper()
	var lines []string
	r := overlaytest.Recorder{Machine: b.m, Lines: func(l string) { lines = append(lines, strings.Join(strings.Fields(l)[1:], " ")) }}
	var out overlay.Effects
	r.Step(0, ev, &out)
	require.NoError(b.t, b.m.Check())
	return slices.DeleteFunc(lines[1:], func(l string) bool { return strings.HasPrefix(l, "set ") || strings.HasPrefix(l, "cancel ") })
}

func (b *bench) hear(from string, m proto.Message) []string {
	return b.feed(overlay.Received{From: node(from), Msg: m})
}

// joined makes neighbors of the peers named.
func (b *bench) joined(names ...string) {
	for _, n := range names {
		b.feed(overlay.LinkUp{Peer: node(n), Inbound: true})
		b.hear(n, &messages.HyparNeighbor{Request: 1})
		require.Contains(b.t, active(b.m), n)
	}
}

func active(m *hyparview.Machine) []string  { return names(m.Active()) }
func passive(m *hyparview.Machine) []string { return names(m.Passive()) }

func names(list []overlay.Peer) []string {
	out := []string{}
	for _, p := range list {
		out = append(out, p.Name)
	}
	return out
}

func has(lines []string, part string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, part) })
}

func ref(name string) *messages.NodeRef {
	return &messages.NodeRef{Name: name, Incarnation: 1, Addr: name + ":1"}
}

// Section 4.2: JOIN is always granted, and told to the other neighbors.
func TestJoinOfAFullNodeGivesUpANeighborForTheNewcomer(t *testing.T) {
	b := newBench(t, nil)
	b.joined("a", "b", "c")
	got := b.hear("j", &messages.HyparJoin{Request: 7})
	require.Contains(t, active(b.m), "j")
	require.Len(t, active(b.m), 3)
	require.True(t, has(got, "HyparNeighborReply{request=7 accepted=true evicted=true}"), "%q", got)
	require.True(t, has(got, "HyparDisconnect{instead=NodeRef{name=j"), "the one given up is told whom to turn to: %q", got)
	told := 0
	for _, l := range got {
		if strings.Contains(l, "HyparForwardJoin{") {
			told++
		}
	}
	require.Equal(t, 2, told, "all neighbors but the newcomer and the one given up: %q", got)
}

// Section 4.2: at PRWL the newcomer is put into the passive view; at the end of
// the walk it is offered a place.
func TestForwardJoin(t *testing.T) {
	walk := func(ttl uint32) *messages.HyparForwardJoin {
		return &messages.HyparForwardJoin{Newcomer: ref("j"), Ttl: ttl}
	}
	b := newBench(t, nil)
	b.joined("a", "b", "c")
	got := b.hear("a", walk(5))
	require.True(t, has(got, "ttl=4"), "%q", got)
	require.Empty(t, passive(b.m))
	got = b.hear("a", walk(3))
	require.True(t, has(got, "ttl=2"), "%q", got)
	require.Equal(t, []string{"j"}, passive(b.m))
	got = b.hear("a", walk(0))
	require.True(t, has(got, "connect j"), "%q", got)
	got = b.feed(overlay.LinkUp{Peer: node("j")})
	require.True(t, has(got, "HyparNeighbor{request=1 priority=HYPAR_OFFER evicts=true}"), "%q", got)
	require.Len(t, active(b.m), 3, "nobody is given up before the newcomer has accepted")
	got = b.hear("j", &messages.HyparNeighborReply{Request: 1, Accepted: true})
	require.Contains(t, active(b.m), "j")
	require.True(t, has(got, "HyparDisconnect{instead=NodeRef{name=j"), "%q", got)
	require.NotContains(t, passive(b.m), "j", "no peer is in both views")
}

// The TR's text accepts a walk at a node with one neighbor, its pseudo-code at
// one with none; ours is the text, but for a node that is new itself.
func TestForwardJoinEndsAtANodeWithOneNeighbor(t *testing.T) {
	b := newBench(t, nil)
	b.joined("a")
	got := b.hear("a", &messages.HyparForwardJoin{Newcomer: ref("i"), Ttl: 6})
	require.Equal(t, []string{"-> a HyparForwardJoin{newcomer=NodeRef{name=i incarnation=1 addr=i:1} ttl=5}"}, got)
	b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "shuffle"}})
	got = b.hear("a", &messages.HyparForwardJoin{Newcomer: ref("j"), Ttl: 6})
	require.True(t, has(got, "connect j"), "%q", got)
}

// Section 4.3: low priority only gets a free place, high priority any, and a
// refusal lets the requester try the next candidate.
func TestNeighborPriorities(t *testing.T) {
	b := newBench(t, nil)
	b.joined("a", "b", "c")
	got := b.hear("x", &messages.HyparNeighbor{Request: 1})
	require.True(t, has(got, "HyparNeighborReply{request=1}"), "refused: %q", got)
	require.True(t, has(got, "disconnect x"), "and not held: %q", got)
	got = b.hear("y", &messages.HyparNeighbor{Request: 2, Priority: messages.HyparPriority_HYPAR_HIGH})
	require.True(t, has(got, "accepted=true evicted=true"), "%q", got)
}

// A failed dial purges the candidate and the next one is tried (Partisan does
// neither); all free places are filled, not only below a minimum.
func TestPromotionTriesTheNextCandidate(t *testing.T) {
	b := newBench(t, nil)
	b.joined("a", "b", "c")
	for _, n := range []string{"p", "q"} {
		b.feed(overlay.MemberUp{Peer: node(n)})
	}
	got := b.feed(overlay.LinkDown{Peer: node("a"), Reason: messages.ReasonReset})
	require.True(t, has(got, "NeighborDown{Peer:a"), "%q", got)
	require.NotContains(t, passive(b.m), "a", "a failed peer is not kept (section 4.1)")
	first := "p"
	if slices.Contains(got, "connect q") {
		first = "q"
	}
	require.True(t, slices.Contains(got, "connect "+first), "%q", got)
	got = b.feed(overlay.LinkDown{Peer: node(first), Reason: messages.ReasonRefused, Dial: true})
	require.NotContains(t, passive(b.m), first)
	require.True(t, has(got, "connect "), "the other is tried: %q", got)
	// It refuses, and is kept: it lives.
	second := map[string]string{"p": "q", "q": "p"}[first]
	b.feed(overlay.LinkUp{Peer: node(second)})
	b.hear(second, &messages.HyparNeighborReply{Request: 2})
	require.Contains(t, passive(b.m), second)
}

// A single place that nobody has room to fill is asked for ever more seldom, and
// at once when it is another.
func TestOnePlaceIsAskedForSeldom(t *testing.T) {
	b := newBench(t, nil)
	b.joined("a", "b")
	b.feed(overlay.MemberUp{Peer: node("p")})
	request := uint64(0)
	refused := func(ev overlay.Event) (asked bool) {
		if !slices.Contains(b.feed(ev), "connect p") {
			return false
		}
		request++
		b.feed(overlay.LinkUp{Peer: node("p")})
		b.hear("p", &messages.HyparNeighborReply{Request: request})
		return true
	}
	var when []int
	for i := range 100 {
		if refused(overlay.Fired{Timer: overlay.Timer{Kind: "shuffle"}}) {
			when = append(when, i+1)
		}
	}
	require.Equal(t, []int{1, 2, 3, 4, 8, 16, 32, 64, 96}, when)
	require.True(t, refused(overlay.LinkDown{Peer: node("a"), Reason: messages.ReasonReset}), "two places are asked for")
	b.joined("c")
	require.True(t, refused(overlay.Fired{Timer: overlay.Timer{Kind: "shuffle"}}), "it is another place")
}

// The peer that has just given us up is not asked at once (Partisan #76).
func TestWhoGaveUsUpIsNotAskedAtOnce(t *testing.T) {
	b := newBench(t, nil)
	b.joined("a", "b")
	got := b.hear("a", &messages.HyparDisconnect{})
	require.True(t, has(got, "HyparDisconnected{}"), "%q", got)
	require.NotContains(t, got, "connect a")
	require.Contains(t, passive(b.m), "a")
	got = b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "shuffle"}})
	require.Contains(t, got, "connect a", "a cycle later it is a candidate again")
}

// Our last neighbor that gives us up hears that we have heeded it when we have
// another: it stays linked and is there to miss us. It takes nobody whom it gives
// up, so it hears that, too, before we ask it again.
func TestTheLastNeighborWaits(t *testing.T) {
	given := func() *bench {
		b := newBench(t, nil)
		b.joined("a")
		got := b.hear("a", &messages.HyparDisconnect{Instead: ref("x")})
		require.Empty(t, active(b.m))
		require.False(t, has(got, "HyparDisconnected{}"), "%q", got)
		require.NotContains(t, strings.Join(got, "\n"), "disconnect a")
		require.Contains(t, got, "connect x")
		return b
	}
	b := given()
	b.feed(overlay.LinkUp{Peer: node("x")})
	got := b.hear("x", &messages.HyparNeighborReply{Request: 1, Accepted: true})
	require.True(t, has(got, "HyparDisconnected{}"), "%q", got)
	require.Contains(t, got, "disconnect a peer_closed")

	b = given()
	require.Contains(t, b.feed(overlay.LinkDown{Peer: node("x"), Dial: true, Reason: messages.ReasonRefused}), "connect a")
	got = b.feed(overlay.LinkUp{Peer: node("a")})
	require.True(t, has(got, "HyparDisconnected{}"), "%q", got)
	require.True(t, has(got, "HyparNeighbor{"), "%q", got)
	require.NotContains(t, strings.Join(got, "\n"), "disconnect a", "it is asked over that link")
	b.hear("a", &messages.HyparNeighborReply{Request: 2, Accepted: true})
	require.Equal(t, []string{"a"}, active(b.m))

	for what, ev := range map[string]overlay.Event{"it has closed": overlay.LinkDown{Peer: node("a"), Reason: messages.ReasonTimeout}, "it is down": overlay.MemberDown{Peer: node("a")}} {
		b = given()
		b.feed(ev)
		require.NotContains(t, b.m.String(), "last=", what)
		b.feed(overlay.LinkUp{Peer: node("x")})
		got = b.hear("x", &messages.HyparNeighborReply{Request: 1, Accepted: true})
		require.False(t, has(got, "HyparDisconnected{}"), "%s: %q", what, got)
	}

	b = given()
	got = b.feed(overlay.Leave{})
	require.Contains(t, got, "disconnect a peer_closed", "who leaves holds nothing")
}

// Who has no neighbor left waits for nobody: not for the places that it keeps,
// nor until the next shuffle for who refused it a free place.
func TestTheLastNeighborLost(t *testing.T) {
	b := newBench(t, func(c *hyparview.Config) { c.Active = 4 })
	b.joined("a")
	b.feed(overlay.LinkUp{Peer: node("b"), Inbound: true})
	b.hear("b", &messages.HyparNeighbor{Request: 1, Priority: messages.HyparPriority_HYPAR_OFFER, Evicts: true})
	require.Contains(t, active(b.m), "b")
	require.Contains(t, b.m.String(), "kept")
	b.joined("c")
	b.feed(overlay.MemberUp{Peer: node("x")})
	require.Contains(t, b.feed(overlay.LinkDown{Peer: node("c"), Reason: messages.ReasonReset}), "connect x")
	got := b.feed(overlay.LinkUp{Peer: node("x")})
	require.Contains(t, strings.Join(got, "\n"), "HyparNeighbor{request=1}", "one place is free, one is kept")
	b.hear("x", &messages.HyparNeighborReply{Request: 1})
	require.NotContains(t, b.feed(overlay.LinkDown{Peer: node("a"), Reason: messages.ReasonReset}), "connect x", "it has just refused")
	require.Contains(t, b.feed(overlay.LinkDown{Peer: node("b"), Reason: messages.ReasonReset}), "connect x")
	require.NotContains(t, b.m.String(), "kept")
	got = b.feed(overlay.LinkUp{Peer: node("x")})
	require.Contains(t, strings.Join(got, "\n"), "HYPAR_HIGH")
	require.NotContains(t, b.hear("x", &messages.HyparNeighborReply{Request: 2}), "connect x", "it is not asked for ever")
}

// A late answer does not bring back what was given up (Partisan's epochs were
// meant for that; here answers name their requests).
func TestALateAnswerMakesNoNeighbor(t *testing.T) {
	b := newBench(t, nil)
	b.feed(overlay.MemberUp{Peer: node("p")})
	b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "shuffle"}})
	b.feed(overlay.LinkUp{Peer: node("p")})
	b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "request", Peer: "p"}})
	got := b.hear("p", &messages.HyparNeighborReply{Request: 1, Accepted: true})
	require.Empty(t, active(b.m))
	require.True(t, has(got, "HyparDisconnect{}"), "p is told, views are symmetric: %q", got)
}

// Whoever believes to be our neighbor and is not is told: asymmetric links heal
// (they persist in other implementations).
func TestAsymmetryHeals(t *testing.T) {
	b := newBench(t, nil)
	got := b.hear("x", &messages.HyparShuffle{Origin: ref("x"), Id: 1, Ttl: 3, Path: []string{"x"}})
	require.True(t, has(got, "HyparDisconnect{}"), "%q", got)
	b.joined("a")
	b.hear("a", &messages.HyparDisconnect{})
	require.NotContains(t, active(b.m), "a")
	require.Equal(t, []string{"disconnect x closed"}, b.hear("x", &messages.HyparDisconnect{}), "a stranger needs not be told back")
}

// Both give each other up at the same time: one of the two counts, and both
// newcomers get an edge.
func TestBothGiveEachOtherUp(t *testing.T) {
	for _, other := range []string{"a", "z"} { // below and above our own name
		b := newBench(t, func(c *hyparview.Config) { c.Active = 2 })
		b.joined(other, "b")
		for !slices.Equal(active(b.m), []string{"b", "j"}) {
			b = newBench(t, func(c *hyparview.Config) { c.Active, c.Rand = 2, rand.New(rand.NewPCG(rand.Uint64(), 1)) })
			b.joined(other, "b")
			b.hear("j", &messages.HyparJoin{Request: 1})
		}
		got := b.hear(other, &messages.HyparDisconnect{Instead: ref("k")})
		if other == "z" { // ours counts: the other waits for our word
			require.Empty(t, got)
			continue
		}
		require.True(t, has(got, "connect k"), "theirs counts: we turn to k: %q", got)
		require.True(t, has(got, "HyparDisconnect{instead=NodeRef{name=j"), "and another turns to j: %q", got)
	}
}

// Section 4.4: an exchange keeps what was not sent away, and the answer goes
// back along the walk.
func TestShuffle(t *testing.T) {
	b := newBench(t, nil)
	b.joined("a", "b")
	for _, n := range []string{"p", "q", "r", "s", "t", "u"} {
		b.feed(overlay.MemberUp{Peer: node(n)})
	}
	pass := &messages.HyparShuffle{Origin: ref("o"), Id: 4, Ttl: 3, Path: []string{"o", "a"}, Nodes: []*messages.NodeRef{ref("v")}}
	got := b.hear("a", pass)
	require.True(t, has(got, "-> b HyparShuffle{origin=NodeRef{name=o incarnation=1 addr=o:1} id=4 ttl=2 path=[o a m]"), "%q", got)
	end := &messages.HyparShuffle{Origin: ref("o"), Id: 4, Ttl: 1, Path: []string{"o", "a"}, Nodes: []*messages.NodeRef{ref("v")}}
	got = b.hear("a", end)
	require.True(t, has(got, "-> a HyparShuffleReply{id=4 path=[o]"), "%q", got)
	require.Contains(t, passive(b.m), "v")
	require.Contains(t, passive(b.m), "o")
	require.Len(t, passive(b.m), 6)
	got = b.hear("b", &messages.HyparShuffleReply{Id: 9, Path: []string{"o", "a"}, Nodes: []*messages.NodeRef{ref("w")}})
	require.Equal(t, []string{"-> a HyparShuffleReply{id=9 path=[o] nodes=[NodeRef{name=w incarnation=1 addr=w:1}]}"}, got)
	require.NotContains(t, passive(b.m), "w", "it is the origin's")
	// An answer that nobody asked for changes nothing.
	b.hear("b", &messages.HyparShuffleReply{Id: 9, Nodes: []*messages.NodeRef{ref("w")}})
	require.NotContains(t, passive(b.m), "w")
}

// Places that are reserved are kept, and who fills them is never given up.
func TestP23ReservedPlaces(t *testing.T) {
	b := newBench(t, func(c *hyparview.Config) {
		c.Reserved, c.Reserve = 1, func(p overlay.Peer) bool { return strings.HasPrefix(p.Name, "vip") }
	})
	b.joined("a", "b")
	got := b.hear("c", &messages.HyparNeighbor{Request: 1})
	require.True(t, has(got, "HyparNeighborReply{request=1}"), "the third place is reserved: %q", got)
	b.joined("vip")
	for i := range 20 {
		b.hear(fmt.Sprint("j", i), &messages.HyparJoin{Request: 1})
		require.Contains(t, active(b.m), "vip")
	}
	b.hear("vip", &messages.HyparDisconnect{Leaving: true})
	require.NotContains(t, active(b.m), "vip")
	b.joined("vip2")
}

// One peer asks again and again: it is refused, and the rest is unharmed.
func TestOnePeerIsBounded(t *testing.T) {
	b := newBench(t, nil)
	b.joined("a", "b", "c")
	rejected := 0
	for range 100 {
		got := b.hear("evil", &messages.HyparJoin{Request: 1})
		if has(got, "reject evil limit") {
			rejected++
		}
		b.hear("evil", &messages.HyparDisconnect{})
	}
	require.Equal(t, 92, rejected)
	b = newBench(t, nil)
	// A list that is too long, a name that is too long, no incarnation.
	long := strings.Repeat("x", 256)
	b.joined("d")
	for _, m := range []proto.Message{
		&messages.HyparShuffle{Origin: ref("o"), Ttl: 3, Path: []string{"d"}, Nodes: slices.Repeat([]*messages.NodeRef{ref("x")}, 1000)},
		&messages.HyparShuffle{Origin: ref("o"), Ttl: 3, Path: []string{"d"}, Nodes: []*messages.NodeRef{ref(long)}},
		&messages.HyparShuffle{Origin: ref("o"), Ttl: 4000, Path: []string{"d"}},
		&messages.HyparShuffle{Origin: ref("o"), Ttl: 3, Path: []string{"somebody else"}},
		&messages.HyparForwardJoin{Newcomer: &messages.NodeRef{Name: "x", Addr: "x:1"}},
		&messages.HyparDisconnect{Instead: &messages.NodeRef{Name: "x"}},
		&messages.HyparNeighbor{Via: long},
		&messages.NodeRef{},
	} {
		require.True(t, has(b.hear("d", m), "reject d "), "%v", m)
	}
}

func TestConfigNamesAllThatIsWrong(t *testing.T) {
	_, err := hyparview.New(hyparview.Config{Active: 1, Reserved: 7})
	for _, w := range []string{"a name and an incarnation", "Rand", "Active is 1", "Passive is 0", "ActiveWalk", "times", "Tries", "Reserved is 7", "Reserve must say"} {
		require.ErrorContains(t, err, w)
	}
}

// FuzzHyParView feeds random legal events and any message; the same ones twice
// give the same effects, and neighbors are told of in pairs of up and down.
func FuzzHyParView(f *testing.F) {
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

// fuzzOne runs what a fuzzer drew.
func fuzzOne(t *testing.T, data []byte) {
	peers := []overlay.Peer{node("a"), node("b"), node("c"), node("d"), node("e"), {Name: "a", Incarnation: 2, Addr: "a:1"}, node("m")}
	words := []string{"a", "b", "c", "d", "e", "m", "a:1", "b:1", "", strings.Repeat("x", 300)}
	kinds := []func() proto.Message{
		func() proto.Message { return &messages.HyparJoin{} },
		func() proto.Message { return &messages.HyparForwardJoin{} },
		func() proto.Message { return &messages.HyparNeighbor{} },
		func() proto.Message { return &messages.HyparNeighborReply{} },
		func() proto.Message { return &messages.HyparDisconnect{} },
		func() proto.Message { return &messages.HyparDisconnected{} },
		func() proto.Message { return &messages.HyparShuffle{} },
		func() proto.Message { return &messages.HyparShuffleReply{} },
	}
	if len(data) > 8192 {
		return
	}
	run := func() []string {
		b := newBench(t, nil)
		up := map[string]bool{}
		v := overlaytest.Drive{
			Machine: b.m, Peers: peers, Below: true,
			Message: func(d *overlaytest.Dice, _ overlay.Peer) proto.Message {
				return overlaytest.Fill(d, kinds[d.N(len(kinds))](), words)
			},
			Check: func(_ overlay.Time, effects []overlay.Effect) {
				if err := b.m.Check(); err != nil {
					t.Fatal(err)
				}
				for _, e := range effects {
					switch n := e.Notice.(type) {
					case overlay.NeighborUp:
						if up[n.Peer.Name] {
							t.Fatalf("%s is up twice", n.Peer)
						}
						up[n.Peer.Name] = true
					case overlay.NeighborDown:
						if !up[n.Peer.Name] {
							t.Fatalf("%s is down and was not up", n.Peer)
						}
						delete(up, n.Peer.Name)
					}
					if e.Kind == overlay.EffectSetTimer && e.After > time.Minute {
						t.Fatalf("a timer of %v", e.After)
					}
				}
				if len(up) != len(b.m.Active()) {
					t.Fatalf("%v were told of, %v are there", up, b.m)
				}
			},
		}
		return v.Run(overlaytest.NewDice(data))
	}
	if !slices.Equal(run(), run()) {
		t.Fatal("the same events gave other effects")
	}
}
