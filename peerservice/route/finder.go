package route

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Subject is that of searches on a broadcast tree.
const Subject = "route"

const (
	timerFind   overlay.TimerKind = "route-find"   // a search, by target
	timerGather overlay.TimerKind = "route-gather" // searches that leave together
	timerSweep  overlay.TimerKind = "route-sweep"  // routes that nobody uses
)

// Send is an order: a message to a node, over relays where there is no link. ID
// is the sender's, for the notices.
type Send struct {
	To   overlay.Peer
	ID   uint64
	Body []byte // immutable
}

// Want is an order: to find a way to a node, or another one than that by Not,
// which leads nowhere. Way or Nowhere follows, if the node is no neighbor.
type Want struct{ To, Not overlay.Peer }

// What a Finder notifies.
type (
	// Way tells by which neighbor a node is reached from now on; without one
	// there is no way that is known.
	Way struct{ To, Via overlay.Peer }
	// Nowhere tells that a node was searched in vain.
	Nowhere struct{ To overlay.Peer }
	// Arrived is a message for this node.
	Arrived struct {
		From overlay.Peer
		ID   uint64
		Body []byte
		Hops int
	}
	// Undeliverable is a message of this node that found no way: to its target
	// when it was sent, or on at a relay. It has not arrived.
	Undeliverable struct {
		To     overlay.Peer
		ID     uint64
		Reason messages.Reason
	}
)

// hop is the way to a node over relays. Seq and Limit outlive the way itself:
// only a newer number of the target, or fewer hops than were ever taken with
// this one, make a new way. So no loop forms (AODV, RFC 3561 section 6.2;
// feasibility as in DSDV and Babel, RFC 8966 section 2.4).
type hop struct {
	to    overlay.Peer
	via   overlay.Peer // zero: there is no way now
	seq   uint64       // of the target
	hops  int
	limit int // the fewest hops that were taken with seq
	used  overlay.Time
}

// Finder finds routes in an overlay of partial views and sends over them: a
// machine, which is a layer of a Stack with a broadcast tree. It heeds Start,
// NeighborUp, NeighborDown, Delivered, Command with Send, Received and Fired;
// it notifies Arrived and Undeliverable.
//
// A node keeps nothing of what it relays. A message that a relay cannot pass on
// is gone, and its sender is told.
type Finder struct {
	cfg       Config
	now       overlay.Time
	neighbors overlay.View
	hops      map[string]*hop
	searches  map[string]*search
	due       []*search    // those to be published, in their order
	gathering bool         // the timer is set
	asked     overlay.Time // when the last were published; 0: never
	busy      uint         // they are gathered for Gather<<busy
	queued    int
	latest    uint64 // the number of our latest broadcast
	between   uint64 // what was sent since

	// Counts since NewFinder.
	Relayed, Finds, Dropped, Looped uint64
}

// NewFinder makes a finder without routes.
func NewFinder(cfg Config) (*Finder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Finder{cfg: cfg, hops: make(map[string]*hop), searches: make(map[string]*search), latest: cfg.First}, nil
}

// Owns implements overlay.Layer.
func (f *Finder) Owns(ev overlay.Event) bool {
	switch ev := ev.(type) {
	case overlay.Received:
		switch ev.Msg.(type) {
		case *messages.RouteFound, *messages.RouteData, *messages.RouteLost:
			return true
		}
	case overlay.Fired:
		return ev.Timer.Kind == timerFind || ev.Timer.Kind == timerGather || ev.Timer.Kind == timerSweep
	case overlay.Command:
		switch ev.Order.(type) {
		case Send, Want:
			return true
		}
	}
	return false
}

// Step implements overlay.Machine.
func (f *Finder) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	f.now = now
	switch ev := ev.(type) {
	case overlay.Start:
		out.SetTimer(overlay.Timer{Kind: timerSweep}, f.cfg.Keep)
	case overlay.NeighborUp:
		if old, ok := f.neighbors.Find(ev.Peer.Name); ok && !old.Same(ev.Peer) {
			f.neighborDown(old, out)
		}
		f.neighbors.Add(ev.Peer)
		f.release(ev.Peer, out)
	case overlay.NeighborDown:
		f.neighborDown(ev.Peer, out)
	case overlay.Delivered:
		f.onDelivered(ev, out)
	case overlay.Command:
		switch o := ev.Order.(type) {
		case Send:
			f.send(o, out)
		case Want:
			f.want(o, out)
		}
	case overlay.Received:
		switch m := ev.Msg.(type) {
		case *messages.RouteFound:
			f.onFound(ev.From, m, out)
		case *messages.RouteData:
			f.onData(ev.From, m, out)
		case *messages.RouteLost:
			f.onLost(ev.From, m, out)
		}
	case overlay.Fired:
		switch ev.Timer.Kind {
		case timerSweep:
			out.SetTimer(ev.Timer, f.cfg.Keep)
			f.sweep(out)
		case timerGather:
			f.gathering = false
			f.publish(out)
		default:
			if s := f.searches[ev.Timer.Peer]; s != nil {
				f.find(s, out)
			}
		}
	}
}

// Next is the next hop to a node, and the links to it.
func (f *Finder) Next(to overlay.Peer) (via overlay.Peer, hops int, ok bool) {
	if f.neighbors.Has(to) {
		return to, 1, true
	}
	if h := f.hops[to.Name]; h != nil && h.to.Same(to) && h.via.Name != "" {
		h.used = f.now
		return h.via, h.hops, true
	}
	return overlay.Peer{}, 0, false
}

// learn takes a way to a node, if it is newer or shorter than any before, and
// sends what waited for one.
func (f *Finder) learn(to, via overlay.Peer, seq uint64, hops int, out *overlay.Effects) {
	if to.Name == f.cfg.Self.Name || hops < 1 || hops > f.cfg.MaxHops || !f.neighbors.Has(via) {
		return
	}
	h := f.hops[to.Name]
	switch {
	case h == nil:
		f.makeRoom(out)
		h = &hop{}
		f.hops[to.Name] = h
	case !h.to.Same(to):
		f.lose(h, out)
		*h = hop{} // another life: its numbers begin anew
	case seq < h.seq || seq == h.seq && hops >= h.limit && !(h.via.Same(via) && hops == h.hops):
		return
	}
	limit := hops
	if h.seq == seq && h.limit > 0 {
		limit = min(limit, h.limit)
	}
	if x := f.searches[to.Name]; !h.via.Same(via) || x != nil && x.to.Same(to) { // who waits may have given this one up
		out.Notify(Way{to, via})
	}
	*h = hop{to: to, via: via, seq: seq, hops: hops, limit: limit, used: f.now}
	f.release(to, out)
}

// lose ends a way.
func (f *Finder) lose(h *hop, out *overlay.Effects) {
	if h.via.Name != "" {
		h.via = overlay.Peer{}
		out.Notify(Way{To: h.to})
	}
}

func (f *Finder) makeRoom(out *overlay.Effects) {
	if len(f.hops) < f.cfg.Routes {
		return
	}
	var oldest *hop
	for _, h := range f.hops { // the least of all: the order plays no part
		if oldest == nil || h.used < oldest.used || h.used == oldest.used && h.to.Compare(oldest.to) < 0 {
			oldest = h
		}
	}
	f.lose(oldest, out)
	delete(f.hops, oldest.to.Name)
}

// sweep forgets what nobody used. What a driver uses it does not tell: it asks
// again.
func (f *Finder) sweep(out *overlay.Effects) {
	for _, name := range slices.Sorted(maps.Keys(f.hops)) {
		if h := f.hops[name]; f.now.Sub(h.used) > f.cfg.Keep {
			f.lose(h, out)
			delete(f.hops, name)
		}
	}
}

// neighborDown ends the ways over a neighbor. Their numbers stay.
func (f *Finder) neighborDown(p overlay.Peer, out *overlay.Effects) {
	f.neighbors.Remove(p)
	for _, name := range slices.Sorted(maps.Keys(f.hops)) {
		if h := f.hops[name]; h.via.Same(p) {
			f.lose(h, out)
		}
	}
}

// send sends, or searches first.
func (f *Finder) send(s Send, out *overlay.Effects) {
	m := &messages.RouteData{From: overlay.Ref(f.cfg.Self), Seq: f.number(), Hops: 1, To: overlay.Ref(s.To), Id: s.ID, Body: s.Body}
	if s.To.Name == f.cfg.Self.Name {
		out.Notify(Undeliverable{s.To, s.ID, messages.ReasonSelf})
		return
	}
	if via, _, ok := f.Next(s.To); ok {
		out.Send(via, m)
		return
	}
	x := f.searches[s.To.Name]
	if x != nil && !x.to.Same(s.To) {
		out.Notify(Undeliverable{s.To, s.ID, messages.ReasonPastLife})
		return
	}
	if f.queued >= f.cfg.QueueAll || x != nil && len(x.queue) >= f.cfg.Queue {
		out.Notify(Undeliverable{s.To, s.ID, messages.ReasonOverflow})
		return
	}
	f.queued++
	if x != nil {
		x.queue = append(x.queue, m)
		return
	}
	x = &search{to: s.To, queue: []*messages.RouteData{m}}
	f.searches[s.To.Name] = x
	f.find(x, out)
}

// shift makes room between the numbers of broadcasts for those of what is sent
// in between: all that a node sends is in one order.
const shift = 20

// number is ours for what is sent now.
func (f *Finder) number() uint64 {
	f.between = min(f.between+1, 1<<shift-1)
	return f.latest<<shift + f.between
}

// onDelivered: whatever goes by on the tree shows the way to its origin. A
// search is answered along it by its target.
func (f *Finder) onDelivered(ev overlay.Delivered, out *overlay.Effects) {
	origin := overlay.Peer{Name: ev.ID.Origin, Incarnation: ev.ID.Incarnation}
	if ev.From.Name == "" {
		if origin.Same(f.cfg.Self) {
			f.latest, f.between = max(f.latest, ev.ID.Seq), 0
		}
		return
	}
	if ev.ID.Seq < 1<<(63-shift) && !ev.Lifted {
		f.learn(origin, ev.From, ev.ID.Seq<<shift, ev.Hops, out)
	}
	if ev.Subject != Subject {
		return
	}
	m := &messages.RouteFind{}
	if err := proto.Unmarshal(ev.Payload, m); err != nil || len(m.GetTargets()) == 0 || len(m.GetTargets()) > maxTargets || slices.ContainsFunc(m.GetTargets(), unfit) {
		out.Reject(ev.From, messages.ReasonMalformed)
		return
	}
	self := f.cfg.Self
	if !slices.ContainsFunc(m.GetTargets(), func(t *messages.RouteTarget) bool {
		return t.GetName() == self.Name && (t.GetIncarnation() == 0 || t.GetIncarnation() == uint64(self.Incarnation))
	}) {
		return
	}
	f.toward(origin, &messages.RouteFound{Target: overlay.Ref(self), Seq: f.number(), Hops: 1, Origin: overlay.Ref(origin)}, out)
}

// toward sends something to the next hop to a node, if there is one.
func (f *Finder) toward(to overlay.Peer, m proto.Message, out *overlay.Effects) bool {
	via, _, ok := f.Next(to)
	if ok {
		out.Send(via, m)
	}
	return ok
}

func (f *Finder) onFound(from overlay.Peer, m *messages.RouteFound, out *overlay.Effects) {
	target, ok := overlay.PeerOf(m.GetTarget())
	origin, fit := overlay.PeerOf(m.GetOrigin())
	if !ok || !fit || int(m.GetHops()) < 1 || int(m.GetHops()) > f.cfg.MaxHops {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	f.learn(target, from, m.GetSeq(), int(m.GetHops()), out)
	if !origin.Same(f.cfg.Self) && int(m.GetHops()) < f.cfg.MaxHops {
		f.toward(origin, &messages.RouteFound{Target: m.GetTarget(), Seq: m.GetSeq(), Hops: m.GetHops() + 1, Origin: m.GetOrigin()}, out)
	}
}

// onData delivers, or passes on. Whoever passes it learns the way back.
func (f *Finder) onData(from overlay.Peer, m *messages.RouteData, out *overlay.Effects) {
	origin, ok := overlay.PeerOf(m.GetFrom())
	to, fit := overlay.PeerOf(m.GetTo())
	if !ok || !fit || int(m.GetHops()) < 1 || int(m.GetHops()) > f.cfg.MaxHops || origin.Same(f.cfg.Self) {
		if ok && origin.Same(f.cfg.Self) {
			f.Looped++
		}
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	f.learn(origin, from, m.GetSeq(), int(m.GetHops()), out)
	if to.Same(f.cfg.Self) {
		out.Notify(Arrived{From: origin, ID: m.GetId(), Body: m.GetBody(), Hops: int(m.GetHops())})
		return
	}
	if int(m.GetHops()) < f.cfg.MaxHops {
		on := &messages.RouteData{From: m.GetFrom(), Seq: m.GetSeq(), Hops: m.GetHops() + 1, To: m.GetTo(), Id: m.GetId(), Body: m.GetBody()}
		if f.toward(to, on, out) {
			f.Relayed++
			return
		}
	}
	f.Dropped++
	f.toward(origin, &messages.RouteLost{To: m.GetTo(), Origin: m.GetFrom(), Id: m.GetId(), Hops: 1}, out)
}

// onLost goes back to the sender, and ends the way of everyone it passes: the
// next message searches.
func (f *Finder) onLost(from overlay.Peer, m *messages.RouteLost, out *overlay.Effects) {
	to, ok := overlay.PeerOf(m.GetTo())
	origin, fit := overlay.PeerOf(m.GetOrigin())
	if !ok || !fit || int(m.GetHops()) < 1 || int(m.GetHops()) > f.cfg.MaxHops {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	if h := f.hops[to.Name]; h != nil && h.to.Same(to) && h.via.Same(from) {
		f.lose(h, out)
	}
	if origin.Same(f.cfg.Self) {
		out.Notify(Undeliverable{to, m.GetId(), messages.ReasonUnreachable})
		return
	}
	if int(m.GetHops()) < f.cfg.MaxHops {
		f.toward(origin, &messages.RouteLost{To: m.GetTo(), Origin: m.GetOrigin(), Id: m.GetId(), Hops: m.GetHops() + 1}, out)
	}
}

// String is the ways, on one line.
func (f *Finder) String() string {
	list := make([]*hop, 0, len(f.hops))
	for _, h := range f.hops {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b *hop) int { return cmp.Compare(a.to.Name, b.to.Name) })
	text := fmt.Sprintf("routes: neighbors %v, %d searches, %d waiting", &f.neighbors, len(f.searches), f.queued)
	for _, h := range list {
		text += fmt.Sprintf("; %s via %s in %d (%d)", h.to, h.via.Name, h.hops, h.seq)
	}
	return text
}

// Check implements overlay.Checker.
func (f *Finder) Check() error {
	n := 0
	for name, x := range f.searches {
		n += len(x.queue)
		if len(x.queue) > f.cfg.Queue || x.to.Name != name {
			return fmt.Errorf("route: %d messages wait for %s", len(x.queue), name)
		}
	}
	if n != f.queued || n > f.cfg.QueueAll || len(f.hops) > f.cfg.Routes {
		return fmt.Errorf("route: %d messages wait, %d counted; %d routes", n, f.queued, len(f.hops))
	}
	for name, h := range f.hops {
		if h.to.Name != name || h.via.Name != "" && !f.neighbors.Has(h.via) || h.limit > h.hops || h.limit < 1 {
			return fmt.Errorf("route: the way to %s is %+v", name, *h)
		}
	}
	return nil
}

var (
	_ overlay.Layer   = (*Finder)(nil)
	_ overlay.Checker = (*Finder)(nil)
)
