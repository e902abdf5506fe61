package route_test

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
	"github.com/maquis-go/maquis/overlay/overlaytest"
	"github.com/maquis-go/maquis/peerservice/route"
)

func node(name string) overlay.Peer { return overlay.Peer{Name: name, Incarnation: 1} }

func ref(name string) *messages.NodeRef { return &messages.NodeRef{Name: name, Incarnation: 1} }

type bench struct {
	t   testing.TB
	f   *route.Finder
	now overlay.Time
}

func newBench(t testing.TB, change func(*route.Config), neighbors ...string) *bench {
	c := route.DefaultConfig(node("m"))
	if change != nil {
		change(&c)
	}
	f, err := route.NewFinder(c)
	require.NoError(t, err)
	b := &bench{t: t, f: f}
	for _, n := range neighbors {
		b.feed(overlay.NeighborUp{Peer: node(n)})
	}
	return b
}

func (b *bench) feed(ev overlay.Event) []string {
	b.t.Helper()
	var lines []string
	r := overlaytest.Recorder{Machine: b.f, Lines: func(l string) { lines = append(lines, strings.Join(strings.Fields(l)[1:], " ")) }}
	var out overlay.Effects
	r.Step(b.now, ev, &out)
	require.NoError(b.t, b.f.Check())
	return lines[1:]
}

func (b *bench) hear(from string, m proto.Message) []string {
	return b.feed(overlay.Received{From: node(from), Msg: m})
}

func (b *bench) send(to string, id uint64) []string {
	return b.feed(overlay.Command{Order: route.Send{To: node(to), ID: id}})
}

func find(origin string, seq uint64, target string, from string, hops int) overlay.Delivered {
	b, _ := proto.Marshal(&messages.RouteFind{Targets: []*messages.RouteTarget{{Name: "another"}, {Name: target}}})
	return overlay.Delivered{ID: overlay.MessageID{Origin: origin, Incarnation: 1, Seq: 1}, Subject: route.Subject, Payload: b, From: node(from), Hops: hops}
}

func data(from, to string, seq uint64, hops uint32) *messages.RouteData {
	return &messages.RouteData{From: ref(from), Seq: seq, Hops: hops, To: ref(to), Id: 7}
}

func has(lines []string, part string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, part) })
}

func TestNeighborsNeedNoSearch(t *testing.T) {
	b := newBench(t, nil, "a")
	require.True(t, has(b.send("a", 1), "-> a RouteData{"))
}

// One search for all messages to a target; the answer lets them go.
func TestSearch(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	got := b.send("z", 1)
	require.True(t, has(got, "! Publish{"), "%q", got)
	require.Empty(t, b.send("z", 2), "the search is under way")
	got = b.hear("b", &messages.RouteFound{Target: ref("z"), Seq: 4, Hops: 3, Origin: ref("m")})
	require.True(t, has(got, "-> b RouteData{") && has(got, "id=1") && has(got, "id=2"), "%q", got)
	require.True(t, has(b.send("z", 3), "-> b RouteData{"))
	via, hops, ok := b.f.Next(node("z"))
	require.True(t, ok)
	require.Equal(t, 3, hops)
	require.Equal(t, "b", via.Name)
}

// A search by itself leaves at once; what follows it is gathered, for longer
// while there is more, and what was found meanwhile is searched no more.
func TestSearchesLeaveTogether(t *testing.T) {
	b := newBench(t, nil, "a")
	want := func(first, n int) (all []string) {
		for i := range n {
			all = append(all, b.feed(overlay.Command{Order: route.Want{To: node(fmt.Sprint("z", first+i))}})...)
		}
		return all
	}
	gather := func(d time.Duration) (published, searches int) {
		b.now = b.now.Add(d)
		for _, l := range b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "route-gather"}}) {
			switch {
			case strings.HasPrefix(l, "! Publish{"):
				published++
			case strings.HasPrefix(l, "set route-find"):
				searches++
			}
		}
		return published, searches
	}
	b.now = b.now.Add(time.Second)
	require.True(t, has(want(0, 1), "! Publish{"))
	b.now = b.now.Add(5 * time.Millisecond)
	require.Equal(t, []string{"set route-gather 15ms"}, want(1, 70))
	b.hear("a", &messages.RouteFound{Target: ref("z3"), Seq: 4, Hops: 3, Origin: ref("m")})
	published, searches := gather(15 * time.Millisecond)
	require.Equal(t, []int{2, 69}, []int{published, searches})
	require.Equal(t, []string{"set route-gather 40ms"}, want(100, 2), "for longer while there are more")
	published, searches = gather(40 * time.Millisecond)
	require.Equal(t, []int{1, 2}, []int{published, searches})
	b.now = b.now.Add(time.Second)
	require.True(t, has(want(200, 1), "! Publish{"), "one by itself again")
	require.Equal(t, []string{"set route-gather 20ms"}, want(201, 1))
}

// Searches are repeated, more and more slowly; then the messages are told.
func TestSearchInVain(t *testing.T) {
	b := newBench(t, func(c *route.Config) { c.Tries = 2 }, "a")
	require.True(t, has(b.send("z", 1), "set route-find z 1s"))
	again := overlay.Fired{Timer: overlay.Timer{Kind: "route-find", Peer: "z"}}
	b.now = b.now.Add(time.Second)
	require.True(t, has(b.feed(again), "set route-find z 2s"))
	require.Equal(t, []string{"! Undeliverable{To:z ID:1 Reason:unreachable}", "! Nowhere{To:z}"}, b.feed(again))
}

// Who carries messages itself asks for ways, and hears of each change.
func TestWant(t *testing.T) {
	b := newBench(t, func(c *route.Config) { c.Tries = 1 }, "a", "b")
	want := overlay.Command{Order: route.Want{To: node("z")}}
	require.True(t, has(b.feed(want), "! Publish{"))
	require.Empty(t, b.feed(want), "the search is under way")
	got := b.hear("b", &messages.RouteFound{Target: ref("z"), Seq: 4, Hops: 3, Origin: ref("m")})
	require.True(t, has(got, "! Way{To:z Via:b}"), "%q", got)
	require.Empty(t, b.feed(overlay.Command{Order: route.Want{To: node("a")}}), "a neighbor")
	b.now = b.now.Add(time.Second)
	require.Equal(t, []string{"! Way{To:z Via:b}"}, b.feed(want), "who asks gets the way that is known")
	got = b.feed(overlay.Command{Order: route.Want{To: node("z"), Not: node("a")}})
	require.Equal(t, []string{"! Way{To:z Via:b}"}, got, "another than the one that failed")
	want = overlay.Command{Order: route.Want{To: node("z"), Not: node("b")}}
	got = b.feed(want)
	require.True(t, len(got) == 2 && has(got, "! Publish{"), "the way stays for others: %q", got)
	again := overlay.Fired{Timer: overlay.Timer{Kind: "route-find", Peer: "z"}}
	require.Equal(t, []string{"! Way{To:z Via:@}", "! Nowhere{To:z}"}, b.feed(again))
	b.hear("b", &messages.RouteFound{Target: ref("z"), Seq: 5, Hops: 3, Origin: ref("m")})
	b.now = b.now.Add(time.Second)
	b.feed(want)
	got = b.hear("b", &messages.RouteFound{Target: ref("z"), Seq: 6, Hops: 3, Origin: ref("m")})
	require.Equal(t, []string{"! Way{To:z Via:b}", "cancel route-find z"}, got, "it is a good one after all")
	require.Equal(t, []string{"! Way{To:z Via:@}"}, b.feed(overlay.NeighborDown{Peer: node("b")}))
}

// The target answers along the way by which the search came; who passes the
// answer on learns the way to it.
func TestTheTargetAnswers(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	got := b.feed(find("o", 9, "m", "a", 4))
	require.True(t, has(got, "-> a RouteFound{target=NodeRef{name=m"), "%q", got)
	b.feed(find("o", 10, "x", "a", 4))
	got = b.hear("b", &messages.RouteFound{Target: ref("x"), Seq: 1, Hops: 2, Origin: ref("o")})
	require.True(t, has(got, "-> a RouteFound{") && has(got, "hops=3"), "%q", got)
	require.Contains(t, b.f.String(), "x via b in 2 (1)")
}

// Only a newer number, or fewer hops than ever with this one, makes a new way.
func TestFeasibility(t *testing.T) {
	b := newBench(t, nil, "a", "b", "c")
	b.hear("a", data("o", "m", 5, 4))
	b.hear("b", data("o", "m", 5, 4))
	require.Contains(t, b.f.String(), "o via a in 4 (5)", "no shorter")
	b.hear("b", data("o", "m", 5, 3))
	require.Contains(t, b.f.String(), "o via b in 3 (5)", "shorter")
	b.hear("c", data("o", "m", 4, 1))
	require.Contains(t, b.f.String(), "o via b in 3 (5)", "older")
	b.feed(overlay.NeighborDown{Peer: node("b")})
	b.hear("a", data("o", "m", 5, 4))
	_, _, ok := b.f.Next(node("o"))
	require.False(t, ok, "the way by a may lead through us: it is longer than ours was")
	b.hear("a", data("o", "m", 6, 9))
	require.Contains(t, b.f.String(), "o via a in 9 (6)", "newer")
	b.hear("c", &messages.RouteData{From: &messages.NodeRef{Name: "o", Incarnation: 2}, Seq: 1, Hops: 2, To: ref("m")})
	require.Contains(t, b.f.String(), "o via c in 2 (1)", "another life begins anew")
}

func TestRelay(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	b.hear("b", data("z", "m", 1, 2))
	require.True(t, has(b.hear("a", data("o", "z", 1, 1)), "-> b RouteData{from=NodeRef{name=o incarnation=1} seq=1 hops=2"))
	require.True(t, has(b.hear("a", data("o", "m", 2, 3)), "! Arrived{From:o ID:7"))
	// Without a way on, the sender is told, and nothing is kept.
	require.True(t, has(b.hear("a", data("o", "nobody", 3, 1)), "-> a RouteLost{to=NodeRef{name=nobody"))
	require.True(t, has(b.hear("a", data("o", "z", 4, 64)), "-> a RouteLost{"), "64 links are enough")
	got := b.hear("b", &messages.RouteLost{To: ref("z"), Origin: ref("m"), Id: 3, Hops: 1})
	require.Equal(t, []string{"! Way{To:z Via:@}", "! Undeliverable{To:z ID:3 Reason:unreachable}"}, got)
	_, _, ok := b.f.Next(node("z"))
	require.False(t, ok, "the next message searches")
}

func TestBounds(t *testing.T) {
	b := newBench(t, func(c *route.Config) { c.Queue, c.QueueAll, c.Routes = 2, 3, 2 }, "a")
	b.send("x", 1)
	b.send("x", 2)
	require.Equal(t, []string{"! Undeliverable{To:x ID:3 Reason:overflow}"}, b.send("x", 3))
	b.send("y", 4)
	require.Equal(t, []string{"! Undeliverable{To:z ID:5 Reason:overflow}"}, b.send("z", 5))
	require.Equal(t, []string{"! Undeliverable{To:m ID:6 Reason:self}"}, b.send("m", 6))
	for i := range 20 {
		b.now++
		b.hear("a", data(fmt.Sprint("o", i), "m", 1, 2))
	}
	require.Contains(t, b.f.String(), "o18 via a")
	require.Contains(t, b.f.String(), "o19 via a")
	b.now = b.now.Add(time.Hour)
	b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "route-sweep"}})
	require.NotContains(t, b.f.String(), " via ")
	for _, m := range []proto.Message{&messages.RouteData{}, data("m", "z", 1, 1), data("o", "z", 1, 0), data("o", "z", 1, 1000), &messages.RouteFound{}, &messages.RouteLost{}} {
		require.True(t, has(b.hear("a", m), "reject a malformed"), "%v", m)
	}
	_, err := route.NewFinder(route.Config{})
	for _, w := range []string{"a name and an incarnation", "Wait, Gather and Keep", "Tries"} {
		require.ErrorContains(t, err, w)
	}
}

// FuzzFinder feeds random legal events and any message; the same ones twice give
// the same effects.
func FuzzFinder(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 16 {
		b := make([]byte, 1500)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	words := []string{"a", "b", "c", "m", "z", "", strings.Repeat("x", 300)}
	kinds := []func() proto.Message{
		func() proto.Message { return &messages.RouteData{} },
		func() proto.Message { return &messages.RouteFound{} },
		func() proto.Message { return &messages.RouteLost{} },
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 8192 {
			return
		}
		run := func() []string {
			b := newBench(t, func(c *route.Config) { c.Queue, c.QueueAll, c.Routes = 2, 4, 3 })
			v := overlaytest.Drive{
				Machine: b.f, Peers: []overlay.Peer{node("a"), node("b"), node("c"), {Name: "a", Incarnation: 2}},
				Message: func(d *overlaytest.Dice, _ overlay.Peer) proto.Message {
					return overlaytest.Fill(d, kinds[d.N(len(kinds))](), words)
				},
				Order: func(d *overlaytest.Dice) any {
					if d.N(3) == 0 {
						return route.Want{To: node(words[d.N(len(words))]), Not: node(words[d.N(len(words))])}
					}
					return route.Send{To: node(words[d.N(len(words))]), ID: d.Uint()}
				},
				Check: func(overlay.Time, []overlay.Effect) {
					if err := b.f.Check(); err != nil {
						t.Fatal(err)
					}
				},
			}
			return v.Run(overlaytest.NewDice(raw))
		}
		if !slices.Equal(run(), run()) {
			t.Fatal("the same events gave other effects")
		}
	})
}
