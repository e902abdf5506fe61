package baseline

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/sim"
)

// remembered is how many broadcasts a node knows again. Simulations publish one
// after the other, so few are ever on their way.
const remembered = 64

// Flood is broadcast by flooding, as HyParView's gossip (section 4.1): each
// node passes a message that is new to it to all neighbors but the one that it
// came from. With Fanout, to so many drawn at random, as the gossip of Cyclon
// and SCAMP. It implements overlay.Layer.
type Flood struct {
	self      overlay.Peer
	neighbors overlay.View
	seq       uint64
	seen      [remembered]overlay.MessageID
	next      int
	// Choose picks whom a message goes to; nil: all neighbors.
	Choose func(except overlay.Peer) []overlay.Peer
}

// NewFlood makes the layer of one node.
func NewFlood(self overlay.Peer) *Flood { return &Flood{self: self} }

// Owns implements overlay.Layer.
func (f *Flood) Owns(ev overlay.Event) bool {
	switch ev := ev.(type) {
	case overlay.Publish:
		return true
	case overlay.Received:
		_, ok := ev.Msg.(*messages.BaseGossip)
		return ok
	}
	return false
}

// Step implements overlay.Machine.
func (f *Flood) Step(_ overlay.Time, ev overlay.Event, out *overlay.Effects) {
	switch ev := ev.(type) {
	case overlay.NeighborUp:
		f.neighbors.Add(ev.Peer)
	case overlay.NeighborDown:
		f.neighbors.Remove(ev.Peer)
	case overlay.Publish:
		f.seq++
		m := &messages.BaseGossip{Origin: f.self.Name, Incarnation: uint64(f.self.Incarnation), Seq: f.seq, Subject: ev.Subject, Payload: ev.Payload}
		f.gossip(m, overlay.Peer{}, out)
	case overlay.Received:
		f.gossip(ev.Msg.(*messages.BaseGossip), ev.From, out)
	}
}

func (f *Flood) gossip(m *messages.BaseGossip, from overlay.Peer, out *overlay.Effects) {
	id := overlay.MessageID{Origin: m.Origin, Incarnation: overlay.Incarnation(m.Incarnation), Seq: m.Seq}
	for i := range f.seen {
		if f.seen[i] == id {
			return
		}
	}
	f.seen[f.next%remembered] = id
	f.next++
	out.Notify(overlay.Delivered{ID: id, Subject: m.Subject, Payload: m.Payload, From: from, Hops: int(m.Hops)})
	on := &messages.BaseGossip{Origin: m.Origin, Incarnation: m.Incarnation, Seq: m.Seq, Hops: m.Hops + 1, Subject: m.Subject, Payload: m.Payload}
	to := f.neighbors.All()
	if f.Choose != nil {
		to = f.Choose(from)
	}
	for _, p := range to {
		if !p.Same(from) {
			out.Send(p, on)
		}
	}
}

// String implements fmt.Stringer.
func (f *Flood) String() string { return fmt.Sprintf("flood to %v", &f.neighbors) }

// Classify tells what a message of a baseline is for.
func Classify(m proto.Message) sim.Class {
	if _, ok := m.(*messages.BaseGossip); ok {
		return sim.Payload
	}
	return sim.Membership
}
