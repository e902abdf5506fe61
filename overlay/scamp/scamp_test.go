package scamp_test

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
	"github.com/maquis-go/maquis/overlay/overlaytest"
	"github.com/maquis-go/maquis/overlay/scamp"
)

// Scripts run with one copy beyond the view, short walks and none to the contact.
func TestScripts(t *testing.T) {
	overlaytest.Stories(t, "testdata/*.txt", overlaytest.Config{Seed: 1}, func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
		c := scamp.DefaultConfig(self, rng)
		c.C, c.Walk, c.Hops = 1, 0, 4
		m, err := scamp.New(c)
		require.NoError(t, err)
		return m
	})
}

func node(name string) overlay.Peer {
	return overlay.Peer{Name: name, Incarnation: 1, Addr: name + ":1"}
}

func ref(name string) *messages.NodeRef {
	return &messages.NodeRef{Name: name, Incarnation: 1, Addr: name + ":1"}
}

type bench struct {
	t   testing.TB
	m   *scamp.Machine
	now overlay.Time
}

func newBench(t testing.TB, change func(*scamp.Config)) *bench {
	c := scamp.DefaultConfig(node("m"), rand.New(rand.NewPCG(1, 2)))
	c.C, c.Walk = 1, 0
	if change != nil {
		change(&c)
	}
	m, err := scamp.New(c)
	require.NoError(t, err)
	b := &bench{t: t, m: m}
	b.feed(overlay.Start{})
	return b
}

func (b *bench) feed(ev overlay.Event) []string {
	b.t.Helper()
	var lines []string
	r := overlaytest.Recorder{Machine: b.m, Lines: func(l string) { lines = append(lines, strings.Join(strings.Fields(l)[1:], " ")) }}
	var out overlay.Effects
	r.Step(b.now, ev, &out)
	require.NoError(b.t, b.m.Check())
	return slices.DeleteFunc(lines[1:], func(l string) bool { return strings.HasPrefix(l, "set ") || strings.HasPrefix(l, "cancel ") })
}

func (b *bench) hear(from string, m proto.Message) []string {
	return b.feed(overlay.Received{From: node(from), Msg: m})
}

// with puts peers into the view.
func (b *bench) with(peers ...string) *bench {
	for _, p := range peers {
		b.hear("x", &messages.ScampForward{Subscriber: ref(p)})
		b.feed(overlay.LinkUp{Peer: node(p)})
	}
	return b
}

// of has peers in whose view this node is.
func (b *bench) of(peers ...string) *bench {
	for _, p := range peers {
		b.feed(overlay.LinkUp{Peer: node(p), Inbound: true})
		b.hear(p, &messages.ScampKeep{})
	}
	return b
}

func names(list []overlay.Peer) string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name)
	}
	return strings.Join(out, " ")
}

func count(lines []string, part string) int {
	n := 0
	for _, l := range lines {
		if strings.Contains(l, part) {
			n++
		}
	}
	return n
}

// Section 3.1: the contact sends a copy to each of its view and c more.
func TestSubscription(t *testing.T) {
	b := newBench(t, func(c *scamp.Config) { c.C = 2 }).with("a", "b", "c")
	b.feed(overlay.LinkUp{Peer: node("j"), Inbound: true})
	got := b.hear("j", &messages.ScampSubscribe{Subscriber: ref("j")})
	require.Equal(t, 5, count(got, "ScampForward{subscriber=NodeRef{name=j"), "%q", got)
	require.Contains(t, got, "-> j ScampWelcome{}")
}

// The first of all has nobody to send copies to: it keeps the subscriber.
func TestTheFirstSubscription(t *testing.T) {
	b := newBench(t, nil)
	b.feed(overlay.LinkUp{Peer: node("j"), Inbound: true})
	got := b.hear("j", &messages.ScampSubscribe{Subscriber: ref("j")})
	require.Equal(t, "j", names(b.m.View()))
	require.Equal(t, 1, count(got, "! NeighborUp{Peer:j"), "%q", got)
}

// Section 3.1: a copy is kept with a chance of 1/(1+|view|), else passed on; the
// last node of its walk keeps it. Nobody keeps itself, or anybody twice.
func TestForwardedSubscription(t *testing.T) {
	kept := 0
	const runs = 3000
	for i := range uint64(runs) {
		b := newBench(t, func(c *scamp.Config) { c.Rand = rand.New(rand.NewPCG(i, 5)) }).with("a", "b", "c")
		got := b.hear("a", &messages.ScampForward{Subscriber: ref("j"), Hops: 9})
		if strings.Contains(names(b.m.View()), "j") {
			kept++
		} else {
			require.Equal(t, 1, count(got, "hops=8"), "%q", got)
		}
	}
	require.InDelta(t, 0.25, float64(kept)/runs, 0.03)

	b := newBench(t, nil).with("a", "b")
	b.hear("a", &messages.ScampForward{Subscriber: ref("j")})
	require.Equal(t, "a b j", names(b.m.View()), "the walk is over")
	for range 50 {
		b.hear("a", &messages.ScampForward{Subscriber: ref("m"), Hops: 3})
		b.hear("a", &messages.ScampForward{Subscriber: ref("j"), Hops: 3})
	}
	require.Equal(t, "a b j", names(b.m.View()))
}

// Section 3.2: all but c+1 of those who have the leaver get another instead.
func TestUnsubscription(t *testing.T) {
	b := newBench(t, nil).with("a", "b").of("p", "q", "r", "s", "t")
	got := b.feed(overlay.Leave{})
	require.Equal(t, 3, count(got, "ScampLeave{instead"), "five have us, c is 1: %q", got)
	require.Equal(t, 7, count(got, "ScampLeave{"), "all neighbors are told: %q", got)

	b = newBench(t, nil).with("a", "b")
	got = b.hear("a", &messages.ScampLeave{Instead: ref("z")})
	require.Contains(t, got, "connect z")
	require.Equal(t, "b z", names(b.m.View()))
	b.hear("b", &messages.ScampLeave{Instead: ref("m")})
	require.Equal(t, "z", names(b.m.View()), "nobody keeps itself")
}

// Section 3.3: who hears no heartbeat of those who have it subscribes anew.
func TestIsolation(t *testing.T) {
	b := newBench(t, nil).with("a")
	for range 3 {
		b.now = b.now.Add(30 * time.Second)
		got := b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "heartbeat"}})
		require.Contains(t, got, "-> a ScampHeartbeat{}")
		require.Zero(t, count(got, "ScampSubscribe{"))
	}
	b.now = b.now.Add(30 * time.Second)
	got := b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "heartbeat"}})
	require.Equal(t, 1, count(got, "-> a ScampSubscribe{subscriber=NodeRef{name=m"), "%q", got)
}

// A subscription that is lost on its walk is made anew, long before the
// heartbeats tell that nobody has us.
func TestLostSubscription(t *testing.T) {
	b := newBench(t, nil)
	b.feed(overlay.Join{Contacts: []overlay.Peer{{Addr: "k:1"}}})
	contact := overlay.Timer{Kind: "contact"}
	require.Equal(t, 1, count(b.feed(overlay.LinkUp{Peer: node("k"), Contact: "k:1"}), "-> k ScampSubscribe{"))
	require.Zero(t, count(b.feed(overlay.Fired{Timer: contact}), "connect"), "a pause after the last contact")
	require.Contains(t, b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "rejoin"}}), "connect @k:1")
	require.Equal(t, 1, count(b.feed(overlay.LinkUp{Peer: node("k"), Contact: "k:1"}), "-> k ScampSubscribe{"))
	b.hear("k", &messages.ScampWelcome{})
	require.Equal(t, "k", names(b.m.View()))
}

// Section 4.2: a lease ends, and is renewed before that.
func TestLeases(t *testing.T) {
	b := newBench(t, func(c *scamp.Config) { c.Lease = time.Minute }).with("a", "b")
	require.Equal(t, 1, count(b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "renew"}}), "ScampSubscribe{"))
	b.now = b.now.Add(time.Minute)
	b.hear("a", &messages.ScampForward{Subscriber: ref("c")})
	got := b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "heartbeat"}})
	require.Equal(t, "c", names(b.m.View()))
	require.Contains(t, got, "-> a ScampDrop{}")
}

// Who said that it has us and does not repeat it with heartbeats is forgotten.
func TestQuietPeersAreForgotten(t *testing.T) {
	b := newBench(t, nil)
	beat := func() []string { return b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "heartbeat"}}) }
	for _, p := range []string{"k", "q"} {
		b.feed(overlay.LinkUp{Peer: node(p), Inbound: true})
		b.hear(p, &messages.ScampKeep{})
	}
	var got []string
	for range 3 {
		got = beat()
		b.hear("k", &messages.ScampHeartbeat{})
	}
	require.Equal(t, 1, count(got, "! NeighborDown{Peer:q"), "%q", got)
	require.Equal(t, "k", names(b.m.InView()))
	b.feed(overlay.Resumed{Gap: time.Minute})
	beat()
	beat()
	require.Equal(t, "k", names(b.m.InView()), "it could not be heard while this process was suspended")
}

// Who cannot be reached leaves both views; with an empty view the node goes
// back to its contacts.
func TestLostPeers(t *testing.T) {
	b := newBench(t, nil)
	require.Contains(t, b.feed(overlay.Join{Contacts: []overlay.Peer{{Addr: "k:1"}}}), "connect @k:1")
	b.feed(overlay.LinkUp{Peer: node("k"), Contact: "k:1"})
	b.hear("k", &messages.ScampWelcome{})
	require.Equal(t, "k", names(b.m.View()))
	b.hear("k", &messages.ScampKeep{})
	b.hear("k", &messages.ScampForward{Subscriber: ref("z")})
	b.feed(overlay.LinkDown{Peer: node("z"), Reason: messages.ReasonRefused, Dial: true})
	require.Equal(t, "k", names(b.m.View()))
	got := b.feed(overlay.LinkDown{Peer: node("k"), Reason: messages.ReasonReset})
	require.Equal(t, 1, count(got, "! NeighborDown{Peer:k"), "%q", got)
	require.Empty(t, b.m.View())
	require.Empty(t, b.m.InView())
	require.Contains(t, b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "rejoin"}}), "connect @k:1")
}

// A forged life does not displace one that is there; lists and walks are bounded.
func TestHostile(t *testing.T) {
	b := newBench(t, func(c *scamp.Config) { c.MaxView = 8 }).with("a", "b")
	b.hear("b", &messages.ScampForward{Subscriber: &messages.NodeRef{Name: "a", Incarnation: 9, Addr: "evil:1"}})
	require.Equal(t, overlay.Incarnation(1), b.m.View()[0].Incarnation)
	for i := range 100 {
		b.hear("b", &messages.ScampForward{Subscriber: ref(string(rune('A' + i)))})
	}
	require.Len(t, b.m.View(), 8)
	for _, m := range []proto.Message{
		&messages.ScampForward{}, &messages.ScampForward{Subscriber: ref("z"), Hops: 1 << 20}, &messages.ScampSubscribe{Subscriber: ref("z"), Walk: 1 << 20},
		&messages.ScampSubscribe{Subscriber: ref(strings.Repeat("x", 300))}, &messages.ScampLeave{Instead: &messages.NodeRef{Name: "z"}},
	} {
		require.Equal(t, 1, count(b.hear("b", m), "reject b malformed"), "%v", m)
	}
	_, err := scamp.New(scamp.Config{C: -1, Lease: -1})
	for _, w := range []string{"a name and an incarnation", "Rand", "C is -1", "Walk and Hops", "times", "MaxView"} {
		require.ErrorContains(t, err, w)
	}
}

// FuzzScamp feeds random legal events and any message; the same ones twice give
// the same effects.
func FuzzScamp(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 16 {
		b := make([]byte, 1500)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	words := []string{"a", "b", "c", "d", "m", "a:1", "b:1", "", strings.Repeat("x", 300)}
	kinds := []func() proto.Message{
		func() proto.Message { return &messages.ScampSubscribe{} },
		func() proto.Message { return &messages.ScampWelcome{} },
		func() proto.Message { return &messages.ScampForward{} },
		func() proto.Message { return &messages.ScampKeep{} },
		func() proto.Message { return &messages.ScampDrop{} },
		func() proto.Message { return &messages.ScampLeave{} },
		func() proto.Message { return &messages.ScampHeartbeat{} },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 8192 {
			return
		}
		run := func() []string {
			b := newBench(t, func(c *scamp.Config) { c.Walk, c.MaxView = 3, 8 })
			up := map[string]bool{}
			v := overlaytest.Drive{
				Machine: b.m, Peers: []overlay.Peer{node("a"), node("b"), node("c"), node("d"), {Name: "a", Incarnation: 2, Addr: "a:1"}, node("m")}, Below: true,
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
					}
				},
			}
			return v.Run(overlaytest.NewDice(data))
		}
		if !slices.Equal(run(), run()) {
			t.Fatal("the same events gave other effects")
		}
	})
}
