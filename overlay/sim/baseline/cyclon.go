package baseline

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Cyclon is the membership by Voulgaris, Gavidia and van Steen (CYCLON:
// Inexpensive Membership Management for Unstructured P2P Overlays, JNSM 2005),
// with the sizes by which the HyParView paper compares: a directed view of 35,
// exchanges of 14, walks of 5 hops for joins. It holds no sessions: each message
// dials. It gossips itself, to Fanout peers of its view.
type Cyclon struct {
	self  overlay.Peer
	rng   *rand.Rand
	cycle time.Duration
	// Fanout is how many peers a message is passed on to. Acked: a peer that
	// cannot be reached is dropped, and another is taken in its place.
	fanout int
	acked  bool

	view    []cyclonEntry
	sent    []cyclonEntry // what the last exchange carried
	flood   *Flood
	waiting []cyclonSend // acked: for their links
	joined  bool
}

type cyclonEntry struct {
	peer overlay.Peer
	age  uint32
}

type cyclonSend struct {
	to  overlay.Peer
	msg *messages.BaseGossip
}

// Of Cyclon, as in the HyParView paper.
const (
	cyclonView    = 35
	cyclonShuffle = 14
	cyclonWalk    = 5
)

const timerCyclon overlay.TimerKind = "cyclon"

// NewCyclon makes a Cyclon with an empty view.
func NewCyclon(self overlay.Peer, rng *rand.Rand, cycle time.Duration, fanout int, acked bool) *Cyclon {
	c := &Cyclon{self: self, rng: rng, cycle: cycle, fanout: fanout, acked: acked, flood: NewFlood(self)}
	c.flood.Choose = func(except overlay.Peer) []overlay.Peer { return c.choose(c.fanout, except, nil) }
	return c
}

// Step implements overlay.Machine.
func (c *Cyclon) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	switch ev := ev.(type) {
	case overlay.Start:
		out.SetTimer(overlay.Timer{Kind: timerCyclon}, time.Duration(c.rng.Int64N(int64(c.cycle))))
	case overlay.Join:
		contact := overlay.Peer{Addr: ev.Contacts[0].Addr}
		out.Connect(contact)
	case overlay.LinkUp:
		c.linkUp(ev, out)
	case overlay.LinkDown:
		c.linkDown(ev, out)
	case overlay.Fired:
		out.SetTimer(ev.Timer, c.cycle)
		c.shuffle(out)
	case overlay.Received:
		switch m := ev.Msg.(type) {
		case *messages.BaseGossip:
			c.gossip(now, ev, out)
		case *messages.BaseShuffle:
			c.onShuffle(ev.From, m, out)
		case *messages.BaseWalk:
			c.onWalk(m, out)
		case *messages.BaseGive:
			c.put(entryOf(m.Entry), out)
		}
		out.Disconnect(ev.From, messages.ReasonClosed)
	case overlay.Publish:
		c.gossip(now, ev, out)
	}
}

// gossip passes a message on; acked, each copy waits for its link.
func (c *Cyclon) gossip(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	if !c.acked {
		c.flood.Step(now, ev, out)
		return
	}
	var sends overlay.Effects
	c.flood.Step(now, ev, &sends)
	for _, e := range sends.All() {
		if e.Kind == overlay.EffectSend {
			c.send(cyclonSend{e.Peer, e.Msg.(*messages.BaseGossip)}, out)
		} else {
			out.Notify(e.Notice)
		}
	}
}

func (c *Cyclon) send(s cyclonSend, out *overlay.Effects) {
	c.waiting = append(c.waiting, s)
	out.Connect(s.to)
}

func (c *Cyclon) linkUp(ev overlay.LinkUp, out *overlay.Effects) {
	if ev.Contact != "" && !c.joined {
		c.joined = true
		out.Send(ev.Peer, &messages.BaseWalk{Newcomer: wireOf(cyclonEntry{peer: c.self}), Ttl: cyclonWalk + 1})
	}
	for i := 0; i < len(c.waiting); i++ {
		if c.waiting[i].to.Same(ev.Peer) {
			out.Send(ev.Peer, c.waiting[i].msg)
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			i--
		}
	}
	if !ev.Inbound {
		out.Disconnect(ev.Peer, messages.ReasonClosed)
	}
}

// linkDown drops who cannot be reached and sends to another instead.
func (c *Cyclon) linkDown(ev overlay.LinkDown, out *overlay.Effects) {
	for i, e := range c.view {
		if e.peer.Same(ev.Peer) {
			c.drop(i, out)
			break
		}
	}
	for i := 0; i < len(c.waiting); i++ {
		if s := c.waiting[i]; s.to.Same(ev.Peer) {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			i--
			if other := c.choose(1, ev.Peer, nil); len(other) > 0 {
				c.send(cyclonSend{other[0], s.msg}, out)
			}
		}
	}
}

// choose draws peers of the view.
func (c *Cyclon) choose(n int, except overlay.Peer, list []overlay.Peer) []overlay.Peer {
	for _, i := range c.rng.Perm(len(c.view)) {
		if p := c.view[i].peer; len(list) < n && !p.Same(except) {
			list = append(list, p)
		}
	}
	return list
}

// shuffle exchanges a sample with the oldest of the view.
func (c *Cyclon) shuffle(out *overlay.Effects) {
	oldest := -1
	for i := range c.view {
		c.view[i].age++
		if oldest < 0 || c.view[i].age > c.view[oldest].age {
			oldest = i
		}
	}
	if oldest < 0 {
		return
	}
	to := c.view[oldest].peer
	c.drop(oldest, out)
	c.sent = c.sample(cyclonShuffle - 1)
	out.Send(to, &messages.BaseShuffle{Entries: append(wiresOf(c.sent), wireOf(cyclonEntry{peer: c.self}))})
}

func (c *Cyclon) onShuffle(from overlay.Peer, m *messages.BaseShuffle, out *overlay.Effects) {
	sent := c.sent
	if !m.Answer {
		sent = c.sample(cyclonShuffle)
		out.Send(from, &messages.BaseShuffle{Entries: wiresOf(sent), Answer: true})
	}
	for _, w := range m.Entries {
		e := entryOf(w)
		if e.peer.Same(c.self) || c.has(e.peer) {
			continue
		}
		for len(c.view) >= cyclonView && len(sent) > 0 { // what was sent makes room
			for i := range c.view {
				if c.view[i].peer.Same(sent[0].peer) {
					c.drop(i, out)
					break
				}
			}
			sent = sent[1:]
		}
		if len(c.view) < cyclonView {
			c.add(e, out)
		}
	}
}

// onWalk: the contact starts a walk for each place of the newcomer's view; at
// its end the newcomer displaces somebody, whom it gets.
func (c *Cyclon) onWalk(m *messages.BaseWalk, out *overlay.Effects) {
	e := entryOf(m.Newcomer)
	if m.Ttl == cyclonWalk+1 {
		out.Send(e.peer, &messages.BaseGive{Entry: wireOf(cyclonEntry{peer: c.self})})
		for range cyclonView {
			next := c.choose(1, e.peer, nil)
			if len(next) == 0 {
				c.put(e, out)
				return
			}
			out.Send(next[0], &messages.BaseWalk{Newcomer: m.Newcomer, Ttl: cyclonWalk})
		}
		return
	}
	if next := c.choose(1, e.peer, nil); m.Ttl > 0 && len(next) > 0 {
		out.Send(next[0], &messages.BaseWalk{Newcomer: m.Newcomer, Ttl: m.Ttl - 1})
		return
	}
	if e.peer.Same(c.self) || c.has(e.peer) {
		return
	}
	if len(c.view) >= cyclonView {
		i := c.rng.IntN(len(c.view))
		out.Send(e.peer, &messages.BaseGive{Entry: wireOf(c.view[i])})
		c.drop(i, out)
	}
	c.add(e, out)
}

func (c *Cyclon) put(e cyclonEntry, out *overlay.Effects) {
	if !e.peer.Same(c.self) && !c.has(e.peer) && len(c.view) < cyclonView {
		c.add(e, out)
	}
}

func (c *Cyclon) add(e cyclonEntry, out *overlay.Effects) {
	c.view = append(c.view, e)
	out.Notify(overlay.NeighborUp{Peer: e.peer})
}

func (c *Cyclon) drop(i int, out *overlay.Effects) {
	out.Notify(overlay.NeighborDown{Peer: c.view[i].peer})
	c.view = append(c.view[:i], c.view[i+1:]...)
}

func (c *Cyclon) has(p overlay.Peer) bool {
	for _, e := range c.view {
		if e.peer.Same(p) {
			return true
		}
	}
	return false
}

func (c *Cyclon) sample(n int) []cyclonEntry {
	var list []cyclonEntry
	for _, i := range c.rng.Perm(len(c.view)) {
		if len(list) < n {
			list = append(list, c.view[i])
		}
	}
	return list
}

// In the simulator a node's address is its name.
func entryOf(w *messages.BaseEntry) cyclonEntry {
	return cyclonEntry{overlay.Peer{Name: w.Name, Incarnation: overlay.Incarnation(w.Incarnation), Addr: w.Name}, w.Age}
}

func wireOf(e cyclonEntry) *messages.BaseEntry {
	return &messages.BaseEntry{Name: e.peer.Name, Incarnation: uint64(e.peer.Incarnation), Age: e.age}
}

func wiresOf(list []cyclonEntry) []*messages.BaseEntry {
	var out []*messages.BaseEntry
	for _, e := range list {
		out = append(out, wireOf(e))
	}
	return out
}

// String implements fmt.Stringer.
func (c *Cyclon) String() string { return fmt.Sprintf("cyclon %d", len(c.view)) }
