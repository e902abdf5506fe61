package roster

import (
	"testing"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// TestTheOnlyContactGoes while the two are meeting: it is declared down like any
// other, if no call is under way and nobody else is known.
func TestTheOnlyContactGoes(t *testing.T) {
	for name, c := range map[string]struct{ gone, third bool }{"gone": {true, false}, "its call is under way": {false, false}, "with a third": {true, true}} {
		t.Run(name, func(t *testing.T) {
			a, b := newOne(t, "a"), newOne(t, "bb")
			a.step(overlay.Join{Contacts: []overlay.Peer{{Addr: "bb:1"}}})
			a.step(overlay.LinkUp{Peer: b.self.Peer, Contact: "bb:1"})
			meet(a, b)
			if c.third {
				a.hear("bb", news(recordOf(peerOf("ccc"))))
			}
			a.step(overlay.NeighborDown{Peer: b.self.Peer, Reason: messages.ReasonReset})
			if c.gone {
				a.step(overlay.LinkDown{Peer: b.self.Peer, Contact: "bb:1", Reason: messages.ReasonReset})
			}
			for range 8 {
				if a.table.get("bb").stage == stageFine {
					break
				}
				a.now = a.table.get("bb").due
				a.step(watchOf("bb"))
			}
			want := 0
			if c.gone && !c.third {
				want = 1
			}
			if got := told[Down](a); got != want {
				t.Errorf("declared down %d times, not %d: %v\n%s", got, want, a.notices, a)
			}
		})
	}
}

// TestAVisitorGoes that nobody is a neighbor of, on partial views: who held the
// session that broke misses it. One that ended it in order is missed by nobody.
func TestAVisitorGoes(t *testing.T) {
	for why, want := range map[messages.Reason]int{messages.ReasonReset: 1, messages.ReasonSilent: 1, messages.ReasonPeerClosed: 0, messages.ReasonClosed: 0} {
		t.Run(string(why), func(t *testing.T) {
			a := newPartial(t, "bb")
			a.step(overlay.LinkUp{Peer: peerOf("bb"), Inbound: true})
			a.step(overlay.LinkDown{Peer: peerOf("bb"), Reason: why})
			for range 8 {
				if a.table.get("bb").stage == stageFine {
					break
				}
				a.now = a.table.get("bb").due
				a.step(watchOf("bb"))
			}
			if got := told[Down](a); got != want {
				t.Errorf("declared down %d times, not %d: %v\n%s", got, want, a.notices, a)
			}
		})
	}
}
