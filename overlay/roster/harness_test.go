package roster

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// one is a machine with what it asked for.
type one struct {
	*Machine
	t       *testing.T
	now     overlay.Time
	out     overlay.Effects
	sent    []overlay.Effect
	notices []any
	rejects map[messages.Reason]int
}

func peerOf(name string) overlay.Peer {
	return overlay.Peer{Name: name, Incarnation: overlay.Incarnation(len(name)) + 1, Addr: name + ":1"}
}

func recordOf(p overlay.Peer) Record {
	return Record{Peer: p, Generation: 1, Version: 1, Addrs: []string{p.Addr}}
}

func memberOf(name string, s Status) Member {
	r := recordOf(peerOf(name))
	return Member{&r, s}
}

func newOne(t *testing.T, name string, seed ...Member) *one {
	t.Helper()
	m, err := New(LAN(Config{Self: recordOf(peerOf(name)), Rand: rand.New(rand.NewPCG(1, 2)), Seed: seed}))
	if err != nil {
		t.Fatal(err)
	}
	o := &one{Machine: m, t: t, rejects: map[messages.Reason]int{}}
	o.step(overlay.Start{})
	return o
}

// step feeds an event and sorts the effects.
func (o *one) step(ev overlay.Event) {
	o.t.Helper()
	o.out.Reset()
	o.Step(o.now, ev, &o.out)
	if err := o.Check(); err != nil {
		o.t.Fatal(err)
	}
	for _, e := range o.out.All() {
		switch e.Kind {
		case overlay.EffectSend:
			if n := proto.Size(e.Msg); n > messages.MaxControl-1024 {
				o.t.Fatalf("%s sends a message of %d bytes", o.self.Peer, n)
			}
			o.sent = append(o.sent, e)
		case overlay.EffectNotify:
			o.notices = append(o.notices, e.Notice)
		case overlay.EffectReject:
			o.rejects[e.Reason]++
		}
	}
}

// hear gives a machine records and claims as news from a peer.
func (o *one) hear(from string, up *messages.RosterUpdate) {
	o.t.Helper()
	o.step(overlay.Received{From: peerOf(from), Msg: up})
}

func news(records ...Record) *messages.RosterUpdate {
	up := &messages.RosterUpdate{}
	for _, r := range records {
		up.Records = append(up.Records, r.encode())
	}
	return up
}

func claim(name string, s Status, age time.Duration) *messages.RosterUpdate {
	p := peerOf(name)
	return &messages.RosterUpdate{Claims: []*messages.RosterClaim{{
		Name: name, Incarnation: uint64(p.Incarnation), Generation: 1, Version: 1, Status: messages.RosterStatus(s), AgeMs: uint64(age / time.Millisecond),
	}}}
}

// take returns and forgets what was sent.
func (o *one) take() []overlay.Effect {
	s := o.sent
	o.sent = nil
	return s
}

// talk carries messages between two machines until neither has more to say.
func talk(a, b *one) (messages int) {
	for {
		toB, toA := a.take(), b.take()
		if len(toA)+len(toB) == 0 {
			return messages
		}
		for _, e := range toB {
			messages++
			b.step(overlay.Received{From: a.self.Peer, Msg: e.Msg})
		}
		for _, e := range toA {
			messages++
			a.step(overlay.Received{From: b.self.Peer, Msg: e.Msg})
		}
	}
}

// meet makes two machines neighbors of each other.
func meet(a, b *one) {
	a.hear(b.self.Peer.Name, news(b.self))
	b.hear(a.self.Peer.Name, news(a.self))
	a.take()
	b.take()
	a.step(overlay.NeighborUp{Peer: b.self.Peer})
	b.step(overlay.NeighborUp{Peer: a.self.Peer})
}

func name(i int) string { return fmt.Sprintf("n%05d", i) }

// told counts the notifications of one type.
func told[T any](o *one) (n int) {
	for _, x := range o.notices {
		if _, ok := x.(T); ok {
			n++
		}
	}
	return n
}
