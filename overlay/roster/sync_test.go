package roster

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// equal reports whether two machines hold the same of everyone.
func equal(a, b *one) bool {
	ra, _ := a.digest()
	rb, _ := b.digest()
	return ra == rb
}

// TestRostersConvergeWithoutNews: two neighbors whose rosters differ in
// thousands of names, of the greatest length, know the same after exchanges of
// digests, in messages that fit.
func TestRostersConvergeWithoutNews(t *testing.T) {
	a, b := newOne(t, "a"), newOne(t, "bb")
	long := func(i int) overlay.Peer {
		p := peerOf(name(i))
		p.Name = name(i) + strings.Repeat("x", maxName-len(name(i)))
		return p
	}
	var toA, toB []Record
	dead := &messages.RosterUpdate{}
	for i := range 3000 {
		r := recordOf(long(i))
		r.Tags = map[string]string{"rack": name(i)}
		toB = append(toB, r)
		if i%3 != 0 {
			toA = append(toA, r)
		}
		if i%7 == 0 { // has left, and only b knows
			c := claim("", StatusLeft, 0).Claims[0]
			c.Name, c.Incarnation = r.Peer.Name, uint64(r.Peer.Incarnation)
			dead.Claims = append(dead.Claims, c)
		}
	}
	a.hear("c", news(toA...))
	b.hear("c", news(toB...))
	b.hear("c", dead)
	meet(a, b)
	rounds := 0
	for ; !equal(a, b); rounds++ {
		if rounds == 40 {
			t.Fatalf("after %d rounds the rosters differ", rounds)
		}
		talk(a, b)
		a.now, b.now = a.now.Add(5*time.Second), b.now.Add(5*time.Second)
		a.step(overlay.Fired{Timer: overlay.Timer{Kind: timerSync}})
	}
	t.Logf("%d rounds", rounds)
	if len(a.rejects)+len(b.rejects) > 0 {
		t.Errorf("rejected: %v %v", a.rejects, b.rejects)
	}
}

// TestEqualRostersCostOneDigest: nothing follows an equal root.
func TestEqualRostersCostOneDigest(t *testing.T) {
	a, b := newOne(t, "a"), newOne(t, "bb")
	meet(a, b)
	talk(a, b)
	a.step(overlay.Fired{Timer: overlay.Timer{Kind: timerSync}})
	if n := talk(a, b); n != 1 {
		t.Errorf("%d messages between equal rosters; want the digest alone", n)
	}
}

// TestNobodyHearsOfTheDead: a joining node is told of tombstones, and its
// application of nobody who was gone before.
func TestNobodyHearsOfTheDead(t *testing.T) {
	old, young := newOne(t, "a"), newOne(t, "bb")
	old.hear("c", news(recordOf(peerOf("dead"))))
	old.hear("c", claim("dead", StatusLeft, 0))
	young.step(overlay.Join{Contacts: []overlay.Peer{{Addr: "a:1"}}})
	young.step(overlay.LinkUp{Peer: old.self.Peer, Generation: 1, Contact: "a:1"})
	talk(old, young)
	if m, ok := young.Lookup("dead"); !ok || m.Status != StatusLeft {
		t.Errorf("the joining node knows of the dead: %v %v", m, ok)
	}
	if n := told[Up](young); n != 1 {
		t.Errorf("it was told of %d members; want its contact alone: %v", n, young.notices)
	}
	if told[Joined](young) != 1 {
		t.Errorf("it has not joined: %v", young.notices)
	}
}

// TestTombstonesEnd: after their day they are forgotten by all at about the
// same time, and nobody teaches them to another anew.
func TestTombstonesEnd(t *testing.T) {
	a, b := newOne(t, "a"), newOne(t, "bb")
	meet(a, b)
	talk(a, b)
	a.hear("c", news(recordOf(peerOf("dead"))))
	a.hear("c", claim("dead", StatusLeft, 0))
	a.take()                                                       // b has not heard
	a.now, b.now = a.now.Add(20*time.Hour), b.now.Add(3*time.Hour) // clocks have nothing in common
	b.step(overlay.Fired{Timer: overlay.Timer{Kind: timerSync}})
	talk(a, b)
	if _, ok := b.Lookup("dead"); !ok {
		t.Fatal("b has not heard of the tombstone")
	}
	a.now, b.now = a.now.Add(4*time.Hour+time.Minute), b.now.Add(4*time.Hour+time.Minute)
	b.step(overlay.Fired{Timer: overlay.Timer{Kind: timerSweep}})
	if _, ok := b.Lookup("dead"); ok {
		t.Error("b heard of it 20 hours after the fact and remembers it for longer than a day after")
	}
	// a has not swept yet; b does not learn it again.
	b.step(overlay.Fired{Timer: overlay.Timer{Kind: timerSync}})
	talk(a, b)
	if _, ok := b.Lookup("dead"); ok {
		t.Error("a tombstone that was over was taught anew")
	}
	a.step(overlay.Fired{Timer: overlay.Timer{Kind: timerSweep}})
	if !equal(a, b) {
		t.Error("the rosters differ")
	}
}

// TestRecordsTravelAsTheirOwnersBytes: what a newer version of the program
// says of itself passes through us, also after a restart of the host.
func TestRecordsTravelAsTheirOwnersBytes(t *testing.T) {
	raw := recordOf(peerOf("new")).encode()
	raw = protowire.AppendTag(raw, 99, protowire.BytesType)
	raw = protowire.AppendString(raw, "of the future")
	a := newOne(t, "a")
	a.hear("new", &messages.RosterUpdate{Records: [][]byte{raw}})
	seed := a.Members()
	b := newOne(t, "a", slices.DeleteFunc(seed, func(m Member) bool { return m.Peer.Name == "a" })...)
	b.step(overlay.Received{From: peerOf("c"), Msg: &messages.RosterPull{Names: []string{"new", "new", "nobody"}}})
	sent := b.take()
	if len(sent) != 1 {
		t.Fatalf("%d messages answer a pull; want 1", len(sent))
	}
	up := sent[0].Msg.(*messages.RosterUpdate)
	if len(up.Records) != 1 || !bytes.Equal(up.Records[0], raw) {
		t.Errorf("the record travels as %x; want the owner's bytes %x, once", up.Records, raw)
	}
}

// TestJoiningNodesCannotPullTwiceASecond when the roster is large.
func TestJoiningNodesCannotPullTwiceASecond(t *testing.T) {
	a := newOne(t, "a")
	for i := range dumpFree + 1 {
		a.hear("c", news(recordOf(peerOf(name(i)))))
	}
	ask := overlay.Received{From: peerOf("x"), Msg: &messages.RosterDigest{Joining: true}}
	a.take()
	a.step(ask)
	first := len(a.take())
	a.step(ask)
	if n := len(a.take()); first == 0 || n != 0 || a.rejects[messages.ReasonLimit] != 1 {
		t.Errorf("the first answer had %d messages, the second %d, rejected %v", first, n, a.rejects)
	}
	a.now = a.now.Add(dumpEvery)
	a.step(ask)
	if n := len(a.take()); n != first {
		t.Errorf("a second later: %d messages; want %d", n, first)
	}
}
