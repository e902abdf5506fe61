package roster

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// TestCallsAfterStarvation: a node that has to call the next, for somebody went down,
// and that was starved meanwhile, calls when it may accuse others again. It may be the
// only one that would miss that member.
func TestCallsAfterStarvation(t *testing.T) {
	m, err := New(LAN(Config{
		Self: recordOf(peerOf("a")), Rand: rand.New(rand.NewPCG(1, 2)), Partial: true,
		Seed: []Member{memberOf("bb", StatusAlive), memberOf("ccc", StatusAlive), memberOf("dddd", StatusAlive)},
	}))
	if err != nil {
		t.Fatal(err)
	}
	a := &one{Machine: m, t: t, rejects: map[messages.Reason]int{}}
	a.step(overlay.Start{})
	a.joined, a.visible = true, true
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
