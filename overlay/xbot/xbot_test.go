package xbot_test

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
	"github.com/maquis-go/maquis/overlay/xbot"
)

// The costs of links are the distances of the names in the alphabet, in
// milliseconds; two places for neighbors, none of them unbiased.
func TestScripts(t *testing.T) {
	cost := func(from, to string) time.Duration {
		return time.Duration(max(from[0], to[0])-min(from[0], to[0])) * time.Millisecond
	}
	overlaytest.Stories(t, "testdata/*.txt", overlaytest.Config{Seed: 1, Cost: cost}, func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
		c := xbot.DefaultConfig(self, rng)
		c.HyParView.Active, c.HyParView.Passive, c.Unbiased, c.Scan = 2, 8, 0, 4
		m, err := xbot.New(c)
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
	t testing.TB
	m *xbot.Machine
}

// newBench is a node m with the neighbors a, b, c (full) at costs of 10, 20 and
// 30 ms and a passive peer p at 5 ms.
func newBench(t testing.TB) *bench {
	c := xbot.DefaultConfig(node("m"), rand.New(rand.NewPCG(1, 2)))
	c.HyParView.Active, c.HyParView.Passive, c.Unbiased = 3, 6, 1
	m, err := xbot.New(c)
	require.NoError(t, err)
	b := &bench{t, m}
	for i, n := range []string{"a", "b", "c"} {
		b.feed(overlay.LinkUp{Peer: node(n), Inbound: true})
		b.hear(n, &messages.HyparNeighbor{Request: 1})
		b.feed(overlay.Measured{Peer: node(n), Cost: time.Duration(10*(i+1)) * time.Millisecond})
	}
	b.feed(overlay.MemberUp{Peer: node("p")})
	return b
}

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

func (b *bench) neighbors() string {
	var list []string
	for _, p := range b.m.HyParView().Active() {
		list = append(list, p.Name)
	}
	return strings.Join(list, " ")
}

func fired(kind string) overlay.Fired {
	return overlay.Fired{Timer: overlay.Timer{Kind: overlay.TimerKind(kind)}}
}

func has(lines []string, part string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, part) })
}

// attempt begins a swap as i: of c, the farthest, for p.
func (b *bench) attempt() {
	b.feed(fired("xbot-attempt"))
	b.feed(overlay.Measured{Peer: node("p"), Cost: 5 * time.Millisecond})
	require.Contains(b.t, b.feed(fired("xbot-decide")), "connect p")
	got := b.feed(overlay.LinkUp{Peer: node("p")})
	require.True(b.t, has(got, "-> p XbotOptimization{swap=1 old=NodeRef{name=c incarnation=1 addr=c:1} gain_ns=25000000}"), "%q", got)
}

func TestInitiator(t *testing.T) {
	b := newBench(t)
	b.attempt()
	b.hear("p", &messages.XbotReply{Swap: 1, Accepted: true})
	require.Equal(t, "a b p", b.neighbors())
	require.EqualValues(t, 1, b.m.Done)
}

// A refusal, silence, a lost link: nothing has changed, and the session with
// the candidate is released.
func TestInitiatorWithoutSuccess(t *testing.T) {
	for name, end := range map[string]overlay.Event{
		"refused": overlay.Received{From: node("p"), Msg: &messages.XbotReply{Swap: 1}},
		"silent":  fired("xbot-stuck"),
	} {
		b := newBench(t)
		b.attempt()
		require.Contains(t, b.feed(end), "disconnect p closed", name)
		require.Equal(t, "a b c", b.neighbors(), name)
		require.Empty(t, b.hear("p", &messages.XbotReply{Swap: 1, Accepted: true}), "too late")
	}
}

// c asks its farthest neighbor d, with the limit up to which all four gain.
func TestCandidate(t *testing.T) {
	b := newBench(t)
	got := b.hear("i", &messages.XbotOptimization{Swap: 7, Old: ref("o"), GainNs: 4_000_000})
	require.True(t, has(got, "-> c XbotReplace{swap=7 initiator=NodeRef{name=i incarnation=1 addr=i:1} old=NodeRef{name=o incarnation=1 addr=o:1} limit_ns=34000000}"), "%q", got)
	got = b.hear("j", &messages.XbotOptimization{Swap: 1, Old: ref("o"), GainNs: 4_000_000})
	require.Contains(t, got, "-> j XbotReply{swap=1}", "one part at a time")
	b.hear("c", &messages.XbotReply{Swap: 7, Accepted: true})
	require.Equal(t, "a b i", b.neighbors())
}

// With a free place there is nobody to be given up.
func TestCandidateWithRoom(t *testing.T) {
	b := newBench(t)
	b.feed(overlay.MemberDown{Peer: node("p")})
	b.feed(overlay.LinkDown{Peer: node("b"), Reason: messages.ReasonReset})
	got := b.hear("i", &messages.XbotOptimization{Swap: 7, Old: ref("o"), GainNs: 1})
	require.Contains(t, got, "-> i XbotReply{swap=7 accepted=true kept=true}")
	require.Equal(t, "a c i", b.neighbors())
}

// d measures o and asks it only if all four together gain.
func TestDisconnected(t *testing.T) {
	for cost, gains := range map[time.Duration]bool{33 * time.Millisecond: true, 35 * time.Millisecond: false} {
		b := newBench(t)
		got := b.hear("c", &messages.XbotReplace{Swap: 7, Initiator: ref("i"), Old: ref("o"), LimitNs: 34_000_000})
		require.Contains(t, got, "connect o")
		require.Contains(t, b.feed(overlay.LinkUp{Peer: node("o")}), "measure o")
		got = b.feed(overlay.Measured{Peer: node("o"), Cost: cost})
		if !gains {
			require.Contains(t, got, "-> c XbotReply{swap=7}")
			require.Equal(t, "a b c", b.neighbors())
			continue
		}
		require.True(t, has(got, "-> o XbotSwitch{swap=7 initiator=NodeRef{name=i"), "%q", got)
		got = b.hear("o", &messages.XbotReply{Swap: 7, Accepted: true})
		require.Contains(t, got, "-> c XbotReply{swap=7 accepted=true}")
		require.Equal(t, "a b o", b.neighbors())
	}
}

// o gives up i for d, but never one of its unbiased neighbors.
func TestOld(t *testing.T) {
	b := newBench(t)
	require.Contains(t, b.hear("d", &messages.XbotSwitch{Swap: 7, Initiator: ref("a")}), "-> d XbotReply{swap=7}")
	require.Contains(t, b.hear("d", &messages.XbotSwitch{Swap: 7, Initiator: ref("b")}), "-> d XbotReply{swap=7 accepted=true}")
	require.Equal(t, "a c d", b.neighbors())
	require.Contains(t, b.hear("e", &messages.XbotSwitch{Swap: 7, Initiator: ref("b")}), "-> e XbotReply{swap=7}", "it is no neighbor any more")
}

func TestBadInput(t *testing.T) {
	b := newBench(t)
	for _, m := range []proto.Message{
		&messages.XbotOptimization{Swap: 1}, &messages.XbotOptimization{Swap: 1, Old: ref("o"), GainNs: 1 << 63},
		&messages.XbotReplace{Swap: 1, Old: ref("o")}, &messages.XbotSwitch{Swap: 1},
	} {
		require.True(t, has(b.hear("x", m), "reject x malformed"), "%v", m)
	}
	_, err := xbot.New(xbot.Config{})
	for _, w := range []string{"Config.Rand", "times", "Scan and Unbiased"} {
		require.ErrorContains(t, err, w)
	}
}

// FuzzXbot feeds random legal events and any message; the same ones twice give
// the same effects.
func FuzzXbot(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 16 {
		b := make([]byte, 1500)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 8192 {
			return
		}
		words := []string{"a", "b", "c", "d", "m", "a:1", "b:1", "", strings.Repeat("x", 300)}
		kinds := []func() proto.Message{
			func() proto.Message { return &messages.XbotOptimization{} },
			func() proto.Message { return &messages.XbotReplace{} },
			func() proto.Message { return &messages.XbotSwitch{} },
			func() proto.Message { return &messages.XbotReply{} },
			func() proto.Message { return &messages.HyparNeighbor{} },
			func() proto.Message { return &messages.HyparNeighborReply{} },
			func() proto.Message { return &messages.HyparDisconnect{} },
		}
		run := func() []string {
			b := newBench(t)
			v := overlaytest.Drive{
				Machine: b.m, Peers: []overlay.Peer{node("a"), node("b"), node("c"), node("d"), node("p"), {Name: "a", Incarnation: 2, Addr: "a:1"}}, Below: true,
				Message: func(d *overlaytest.Dice, _ overlay.Peer) proto.Message {
					return overlaytest.Fill(d, kinds[d.N(len(kinds))](), words)
				},
				Check: func(overlay.Time, []overlay.Effect) {
					if err := b.m.Check(); err != nil {
						t.Fatal(err)
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
