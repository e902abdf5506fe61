package fullmesh_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/fullmesh"
	"github.com/maquis-go/maquis/overlay/overlaytest"
)

var (
	self    = overlay.Peer{Name: "m", Incarnation: 1, Addr: "m:1"}
	smaller = overlay.Peer{Name: "a", Incarnation: 1, Addr: "a:1"}
	greater = overlay.Peer{Name: "z", Incarnation: 1, Addr: "z:1"}
)

func newMesh(t testing.TB) *fullmesh.Machine {
	t.Helper()
	m, err := fullmesh.New(fullmesh.DefaultConfig(self, rand.New(rand.NewPCG(1, 2))))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// step feeds an event and returns the lines of its effects.
func step(t *testing.T, m *fullmesh.Machine, ev overlay.Event) []string {
	t.Helper()
	var lines []string
	r := overlaytest.Recorder{Machine: m, Lines: func(l string) { lines = append(lines, strings.Join(strings.Fields(l)[1:], " ")) }}
	var out overlay.Effects
	r.Step(0, ev, &out)
	return lines[1:]
}

func want(t *testing.T, what string, got []string, lines ...string) {
	t.Helper()
	if !slices.Equal(got, lines) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

// TestTheSmallerDialsFirst, the greater after a while: not both at once, but
// both if one cannot.
func TestTheSmallerDialsFirst(t *testing.T) {
	m := newMesh(t)
	want(t, "a greater member", step(t, m, overlay.MemberUp{Peer: greater}), "connect z")
	want(t, "a smaller member", step(t, m, overlay.MemberUp{Peer: smaller}), "set dial a 200ms")
	want(t, "it did not dial in time", step(t, m, overlay.Fired{Timer: overlay.Timer{Kind: "dial", Peer: "a"}}), "connect a")
	want(t, "we ourselves", step(t, m, overlay.MemberUp{Peer: self}))
}

// TestRedials: they come fast first, then ever more slowly; each failure is told,
// since the roster judges by it.
func TestRedials(t *testing.T) {
	m := newMesh(t)
	step(t, m, overlay.MemberUp{Peer: greater})
	got := step(t, m, overlay.LinkUp{Peer: greater, Known: 3})
	want(t, "up", got, "cancel dial z", "! NeighborUp{Peer:z Known:3}")
	var last time.Duration
	for i, why := range []messages.Reason{messages.ReasonReset, messages.ReasonRefused, messages.ReasonTimeout, messages.ReasonTimeout, messages.ReasonTimeout, messages.ReasonTimeout, messages.ReasonTimeout, messages.ReasonTimeout} {
		got := step(t, m, overlay.LinkDown{Peer: greater, Reason: why, Dial: i > 0})
		if len(got) != 2 || got[0] != "! NeighborDown{Peer:z Reason:"+string(why)+" Known:0}" {
			t.Fatalf("failure %d: %q", i, got)
		}
		wait, err := time.ParseDuration(strings.TrimPrefix(got[1], "set dial z "))
		if err != nil || i == 0 && wait > 125*time.Millisecond || wait > 6250*time.Millisecond || i > 0 && i < 5 && wait <= last {
			t.Errorf("pause %d is %v after %v", i, wait, last)
		}
		last = wait
		want(t, "the next dial", step(t, m, overlay.Fired{Timer: overlay.Timer{Kind: "dial", Peer: "z"}}), "connect z")
	}
	want(t, "it is said to be back", step(t, m, overlay.LinkDown{Peer: greater, Reason: messages.ReasonDown, Known: 4})[:1], "! NeighborDown{Peer:z Reason:down Known:4}")
	want(t, "news of it end the pause", step(t, m, overlay.MemberUp{Peer: greater}), "set dial z 0s")
}

// TestInboundLinksServe: an inbound session is as good as one dialed; what the
// peer remembers of us is only told on one that we dialed.
func TestInboundLinksServe(t *testing.T) {
	m := newMesh(t)
	step(t, m, overlay.MemberUp{Peer: smaller})
	got := step(t, m, overlay.LinkUp{Peer: smaller, Known: 9, Inbound: true})
	want(t, "inbound", got, "cancel dial a", "! NeighborUp{Peer:a Known:0}")
	want(t, "told twice", step(t, m, overlay.LinkUp{Peer: smaller, Inbound: true}), "cancel dial a")
}

// TestWhoIsNoMemberIsNotHeld: strangers, those that are down, earlier lives.
func TestWhoIsNoMemberIsNotHeld(t *testing.T) {
	m := newMesh(t)
	want(t, "a stranger", step(t, m, overlay.LinkUp{Peer: smaller}), "disconnect a closed")
	step(t, m, overlay.MemberUp{Peer: greater})
	step(t, m, overlay.LinkUp{Peer: greater})
	next := greater
	next.Incarnation = 2
	want(t, "another life is down", step(t, m, overlay.MemberDown{Peer: next}))
	want(t, "another life follows", step(t, m, overlay.MemberUp{Peer: next}),
		"cancel dial z", "! NeighborDown{Peer:z Reason:closed Known:0}", "disconnect z down", "connect z")
	want(t, "the link of the old one ends", step(t, m, overlay.LinkDown{Peer: greater, Reason: messages.ReasonReset}))
	want(t, "down while being dialed", step(t, m, overlay.MemberDown{Peer: next}), "cancel dial z", "disconnect z down")
	want(t, "the answer comes late", step(t, m, overlay.LinkUp{Peer: next}), "disconnect z closed")
}

// TestEveryoneIsEveryonesNeighbor, with one session per pair.
func TestEveryoneIsEveryonesNeighbor(t *testing.T) {
	w := overlaytest.NewWorld(overlaytest.Config{
		Seed: 3, Jitter: 3 * time.Millisecond,
		Factory: func(self overlay.Peer, rng *rand.Rand) *overlaytest.Node {
			m, err := fullmesh.New(fullmesh.DefaultConfig(self, rng))
			if err != nil {
				t.Fatal(err)
			}
			return &overlaytest.Node{Machines: []overlaytest.Instance{{Name: "main", Machine: m}}}
		},
	})
	names := []string{"a", "b", "c", "d", "e"}
	for _, n := range names {
		w.Start(n)
	}
	for _, l := range w.Lives() {
		for _, o := range w.Lives() {
			l.Feed("main", overlay.MemberUp{Peer: o.Peer()})
		}
	}
	full := func() bool {
		for _, l := range w.Lives() {
			if strings.Count(l.Machine("main").(*fullmesh.Machine).String(), "up=true") != len(names)-1 {
				return false
			}
		}
		return true
	}
	if !w.Until(time.Second, full) {
		t.Fatalf("no full mesh:\n%s", w)
	}
	if n := len(names) * (len(names) - 1) / 2; w.Sessions() != n {
		t.Errorf("%d sessions for %d pairs", w.Sessions(), n)
	}
	w.Cut("a", "b", true)
	w.Advance(20 * time.Second)
	if full() {
		t.Fatal("a link over a cut is up")
	}
	w.Heal()
	if !w.Until(12*time.Second, full) {
		t.Errorf("the link did not come back:\n%s", w)
	}
}

func TestConfigNamesAllThatIsWrong(t *testing.T) {
	_, err := fullmesh.New(fullmesh.Config{Yield: -1})
	for _, w := range []string{"a name and an incarnation", "Rand", "RetryMax"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not mention %s: %v", w, err)
		}
	}
}

// FuzzFullmesh feeds random legal events; the same ones twice give the same.
func FuzzFullmesh(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 16 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	peers := []overlay.Peer{smaller, greater, {Name: "z", Incarnation: 2, Addr: "z:1"}, self}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		run := func() []string {
			neighbors := map[overlay.Peer]bool{}
			v := overlaytest.Drive{
				Machine: newMesh(t), Peers: peers, Below: true,
				Message: func(*overlaytest.Dice, overlay.Peer) proto.Message { return &messages.RosterSynced{} },
				Check: func(_ overlay.Time, effects []overlay.Effect) {
					for _, e := range effects {
						switch n := e.Notice.(type) {
						case overlay.NeighborUp:
							if neighbors[n.Peer] {
								t.Fatalf("%s is up twice", n.Peer)
							}
							neighbors[n.Peer] = true
						case overlay.NeighborDown:
							delete(neighbors, n.Peer)
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

// Who awaits a peer's dial keeps a link that comes before the news of the
// member, for a while.
func TestGuests(t *testing.T) {
	c := fullmesh.DefaultConfig(self, rand.New(rand.NewPCG(1, 2)))
	c.Dial = func(overlay.Peer) bool { return false }
	m, err := fullmesh.New(c)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "before the news", step(t, m, overlay.LinkUp{Peer: smaller, Inbound: true}), "set guest a 10s")
	want(t, "the news", step(t, m, overlay.MemberUp{Peer: smaller}), "cancel guest a", "! NeighborUp{Peer:a Known:0}")
	want(t, "another", step(t, m, overlay.LinkUp{Peer: greater, Inbound: true}), "set guest z 10s")
	want(t, "no news", step(t, m, overlay.Fired{Timer: overlay.Timer{Kind: "guest", Peer: "z"}}), "cancel guest z", "disconnect z closed")
	step(t, m, overlay.LinkUp{Peer: greater, Inbound: true})
	want(t, "it is gone", step(t, m, overlay.LinkDown{Peer: greater, Reason: messages.ReasonReset}), "cancel guest z")
}
