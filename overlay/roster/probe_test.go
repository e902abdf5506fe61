package roster

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// newPartial is a on a partial view, which knows others.
func newPartial(t *testing.T, others ...string) *one {
	t.Helper()
	cfg := LAN(Config{Self: recordOf(peerOf("a")), Rand: rand.New(rand.NewPCG(1, 2)), Partial: true})
	for _, n := range others {
		cfg.Seed = append(cfg.Seed, memberOf(n, StatusAlive))
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a := &one{Machine: m, t: t, rejects: map[messages.Reason]int{}}
	a.step(overlay.Start{})
	return a
}

// TestCallsAfterStarvation: a node that has to call the next, for somebody went down,
// and that was starved meanwhile, calls when it may accuse others again. It may be the
// only one that would miss that member.
func TestCallsAfterStarvation(t *testing.T) {
	a := newPartial(t, "bb", "ccc", "dddd")
	a.step(overlay.NeighborUp{Peer: peerOf("dddd")})

	var probe time.Duration // until the next round of calls
	var called []string
	step := func(ev overlay.Event) {
		a.step(ev)
		for _, e := range a.out.All() {
			switch {
			case e.Kind == overlay.EffectSetTimer && e.Timer.Kind == timerProbe:
				probe = e.After
			case e.Kind == overlay.EffectConnect:
				called = append(called, e.Peer.Name)
			}
		}
	}
	fire := func() {
		a.now = a.now.Add(probe)
		probe = 0
		step(overlay.Fired{Timer: overlay.Timer{Kind: timerProbe}})
	}
	for range 2 {
		step(overlay.Received{From: peerOf("dddd"), Msg: claim("ccc", StatusDown, 0)})
	}
	if probe == 0 {
		t.Fatalf("nobody is to be called, though ccc is gone: %v", a.notices)
	}
	if half := a.cfg.Grace / 2; probe < half*3/4 || probe > half*5/4 {
		t.Fatalf("others are called in %v, not in about %v", probe, half)
	}
	step(overlay.Resumed{Gap: time.Minute})
	fire()
	if len(called) > 0 || probe == 0 {
		t.Fatalf("right after it was starved it called %v, and is to call others in %v", called, probe)
	}
	fire()
	if len(called) != 1 || called[0] != "bb" {
		t.Fatalf("it called %v", called)
	}
}

// TestWhoIsLostIsCalled: on partial views a member that we lost is called before it is
// accused, since its overlay may not have linked it again yet. Where there is nobody to
// ask, what the call comes to decides.
func TestWhoIsLostIsCalled(t *testing.T) {
	for name, c := range map[string]struct {
		answer    overlay.Event
		suspected int
		raised    bool
	}{
		"it answers":            {answer: overlay.LinkUp{Peer: peerOf("bb")}},
		"it calls":              {answer: overlay.LinkUp{Peer: peerOf("bb"), Inbound: true}},
		"nobody is there":       {answer: overlay.LinkDown{Peer: peerOf("bb"), Reason: messages.ReasonRefused, Dial: true}, suspected: 1},
		"another is there":      {answer: overlay.LinkDown{Peer: peerOf("bb"), Reason: messages.ReasonWrongName, Dial: true}, suspected: 1},
		"nothing comes":         {answer: watchOf("bb"), suspected: 1},
		"it has declared us":    {answer: overlay.LinkDown{Peer: peerOf("bb"), Reason: messages.ReasonDown, Known: 1, Dial: true}, raised: true},
		"it wants no link":      {answer: overlay.LinkDown{Peer: peerOf("bb"), Reason: messages.ReasonDisconnected, Dial: true}},
		"another life answered": {answer: overlay.LinkUp{Peer: overlay.Peer{Name: "bb", Incarnation: 77, Addr: "bb:1"}}, suspected: 1},
	} {
		t.Run(name, func(t *testing.T) {
			a := newPartial(t, "bb")
			bb := a.table.get("bb")
			a.step(overlay.NeighborUp{Peer: peerOf("bb")})
			a.step(overlay.NeighborDown{Peer: peerOf("bb"), Reason: messages.ReasonReset})
			a.now = bb.due
			a.step(watchOf("bb"))
			calls := 0
			for _, e := range a.out.All() {
				if e.Kind == overlay.EffectConnect && e.Peer.Same(peerOf("bb")) {
					calls++
				}
			}
			if calls != 1 || told[Suspected](a) > 0 {
				t.Fatalf("called %d times, accused %d times", calls, told[Suspected](a))
			}
			a.step(c.answer)
			for range tries {
				if bb.stage == stageAsking {
					a.now = bb.due
					a.step(watchOf("bb"))
				}
			}
			if got := told[Suspected](a); got != c.suspected {
				t.Errorf("accused %d times, not %d", got, c.suspected)
			}
			if got := a.self.Generation > 1; got != c.raised {
				t.Errorf("our generation is %d", a.self.Generation)
			}
		})
	}
}

// TestASuspectThatIsLinkedIsTold what is said of it, so that it refutes that.
func TestASuspectThatIsLinkedIsTold(t *testing.T) {
	a := newPartial(t, "bb", "ccc")
	a.hear("ccc", claim("bb", StatusSuspect, 0))
	a.take()
	a.step(overlay.LinkUp{Peer: peerOf("bb")})
	for _, e := range a.take() {
		if up, ok := e.Msg.(*messages.RosterUpdate); ok && e.Peer.Same(peerOf("bb")) && len(up.GetClaims()) == 1 && up.GetClaims()[0].GetName() == "bb" {
			return
		}
	}
	t.Error("it was not told")
}
