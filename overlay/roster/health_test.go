package roster

import (
	"testing"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

func watchOf(name string) overlay.Event {
	return overlay.Fired{Timer: overlay.Timer{Kind: timerWatch, Peer: name}}
}

// TestWhoWasSuspendedAccusesNobody until there was time to hear the others.
func TestWhoWasSuspendedAccusesNobody(t *testing.T) {
	a, b := newOne(t, "a"), newOne(t, "bb")
	meet(a, b)
	a.now = overlay.Time(30 * time.Second)
	a.step(overlay.Resumed{Gap: 29 * time.Second})
	a.step(overlay.NeighborDown{Peer: b.self.Peer, Reason: messages.ReasonSilent})
	a.step(overlay.NeighborDown{Peer: b.self.Peer, Reason: messages.ReasonRefused})
	a.now = a.now.Add(a.cfg.Grace)
	a.step(watchOf("bb"))
	if told[Suspected](a) != 0 {
		t.Fatalf("a second after it resumed it accused: %v", a.notices)
	}
	a.now = a.now.Add(a.cfg.Suspicion * 2)
	a.step(watchOf("bb"))
	a.step(watchOf("bb")) // that one fired in time
	for range 3 {
		a.now = a.table.get("bb").due
		a.step(watchOf("bb"))
	}
	if told[Suspected](a) != 1 {
		t.Errorf("when the time was over it accused nobody: %v\n%s", a.notices, a)
	}
}

// TestLateTimersGiveOthersMoreTime: a starved node measures its own lateness.
func TestLateTimersGiveOthersMoreTime(t *testing.T) {
	a, b := newOne(t, "a"), newOne(t, "bb")
	meet(a, b)
	a.step(overlay.NeighborDown{Peer: b.self.Peer, Reason: messages.ReasonSilent})
	for i := range maxStrain + 1 {
		a.now = a.table.get("bb").due.Add(a.grace()) // late by as much as the time itself
		a.step(watchOf("bb"))
		if told[Suspected](a) != 0 {
			t.Fatalf("the late timer %d accused", i)
		}
	}
	if a.strain != maxStrain || a.suspicion() != (maxStrain+1)*a.cfg.Suspicion {
		t.Errorf("strain %d, suspicion %v", a.strain, a.suspicion())
	}
	for a.strain > 0 { // timers that fire in time heal it
		was := a.strain
		a.now = a.due
		a.step(overlay.Fired{Timer: overlay.Timer{Kind: timerSync}})
		if a.strain >= was {
			t.Fatalf("strain stays at %d", was)
		}
	}
}

// TestASuspectOfOthers takes one timer: only its observers tell of it again, and
// also after that was late it has its time once more, not longer.
func TestASuspectOfOthers(t *testing.T) {
	a, b := newOne(t, "a", memberOf("ccc", StatusAlive), memberOf("dddd", StatusAlive)), newOne(t, "bb")
	meet(a, b)
	for _, n := range []string{"ccc", "dddd"} {
		a.hear("bb", claim(n, StatusSuspect, 0))
		if due := a.table.get(n).due; due != a.now.Add(a.cfg.Suspicion) {
			t.Fatalf("%s has until %v, %v from now", n, due, due.Sub(a.now))
		}
	}
	a.now = a.table.get("ccc").due
	a.step(watchOf("ccc"))
	if told[Down](a) != 1 {
		t.Errorf("its time is over, and it is not down: %v", a.notices)
	}
	a.now = a.table.get("dddd").due.Add(a.cfg.Grace)
	a.step(watchOf("dddd"))
	if due := a.table.get("dddd").due; told[Down](a) != 1 || due != a.now.Add(a.suspicion()) {
		t.Fatalf("late: %v, due %v from now", a.notices, due.Sub(a.now))
	}
	a.now = a.table.get("dddd").due
	a.step(watchOf("dddd"))
	if told[Down](a) != 2 {
		t.Errorf("its time is over again: %v", a.notices)
	}
}

// TestJoiningNodesAccuseNobody, nor do they relay.
func TestJoiningNodesAccuseNobody(t *testing.T) {
	a, b := newOne(t, "a"), newOne(t, "bb")
	a.step(overlay.Join{Contacts: []overlay.Peer{{Addr: "bb:1"}}})
	a.step(overlay.LinkUp{Peer: b.self.Peer, Generation: 1, Contact: "bb:1"})
	a.take()
	a.hear("bb", news(recordOf(peerOf("ccc")), recordOf(peerOf("dddd"))))
	a.step(overlay.NeighborUp{Peer: peerOf("ccc")})
	a.step(overlay.NeighborDown{Peer: peerOf("dddd"), Reason: messages.ReasonRefused})
	a.step(overlay.NeighborDown{Peer: peerOf("dddd"), Reason: messages.ReasonRefused})
	a.take()
	a.hear("bb", news(recordOf(peerOf("eeeee"))))
	if sent := a.take(); len(sent) != 0 || told[Suspected](a) != 0 {
		t.Errorf("while joining it sent %v, notices %v", sent, a.notices)
	}
}

// TestOneUnderOurNameIsNoPeer: a contact that answers with our own name.
func TestOneUnderOurNameIsNoPeer(t *testing.T) {
	a := newOne(t, "a")
	a.step(overlay.Join{Contacts: []overlay.Peer{{Addr: "other:1"}}})
	twin := overlay.Peer{Name: "a", Incarnation: 77, Addr: "other:1"}
	a.step(overlay.LinkUp{Peer: twin, Generation: 1, Contact: "other:1"})
	if told[NameTaken](a) != 1 || len(a.take()) != 0 || len(a.Members()) != 1 {
		t.Errorf("notices %v, members %v", a.notices, a.Members())
	}
}

// TestRestartedHostGoesAbove: its predecessor had told of versions that the
// seed does not have; the machine does not go back below them.
func TestRestartedHostGoesAbove(t *testing.T) {
	a := newOne(t, "a", memberOf("bb", StatusAlive), memberOf("ccc", StatusSuspect))
	ours := recordOf(peerOf("a"))
	ours.Version = 7
	a.hear("bb", news(ours))
	if a.self.Version != 8 {
		t.Errorf("version %d; want 8, above what others have", a.self.Version)
	}
	ours.Generation = 3
	a.hear("bb", news(ours))
	if a.self.Generation != 4 {
		t.Errorf("generation %d; want 4", a.self.Generation)
	}
	for range 3 {
		a.now = a.table.get("ccc").due
		a.step(watchOf("ccc"))
	}
	if m, _ := a.Lookup("ccc"); m.Status != StatusDown {
		t.Errorf("the suspect of the seed is %s after its time", m.Status)
	}
}
