package channelmgr

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// inbound is the receiving side of a channel from one peer.
type inbound struct {
	name  string        // on the wire
	base  string        // of the channel
	epoch atomic.Uint64 // of the peer's session that the flows are of
	mu    sync.Mutex
	flows [Slots]*inFlow // made on first use
}

func newInbound(name string, epoch uint64) *inbound {
	c := &inbound{name: name, base: baseName(name)}
	c.epoch.Store(epoch)
	return c
}

// inFlow is the receiving end of a flow. Its lock is held while a message is
// posted, so that two links cannot swap two messages.
type inFlow struct {
	c    *inbound
	slot uint8

	mu       sync.Mutex
	rx       flow.Receiver
	reported uint64    // next, as last reported to the sender
	arrived  uint64    // the next to arrive, as last reported
	rejected uint64    // messages that arrived and could not be delivered
	parked   numbers   // those that wait to be posted
	inbox    *inbox    // where; nil until something has to wait
	window   uint64    // of the sender, after something had to wait; 0: flowWindow
	due      bool      // a report is due now
	owing    bool      // the reader reports when it has read what has come
	whole    *assembly // a split message of which pieces are missing

	got, gotBytes, doubles uint64 // messages that came, their bytes, and those that had come before
}

// assembly gathers a split message. It owns what it keeps.
type assembly struct {
	seq   uint64
	total int

	counted *atomic.Int64 // where total is: of the session on which it began, which may have ended
	data    frame.Data
	typ     *messages.Type
	body    []byte
	buf     *body // body's memory, pooled; nil for a whole message that is held
	m       Incoming
}

// uncount: what is missing of the message has come, or never will.
func (a *assembly) uncount() { a.counted.Add(-int64(a.total)) }

// abandon gives up a split message of which pieces are missing. f.mu is held.
func (f *inFlow) abandon() {
	if a := f.whole; a != nil {
		a.uncount()
		a.release()
		f.whole = nil
	}
}

// lend makes a message that is the memory itself, if it is of a type that gives
// memory back, and fills most of it.
func (a *assembly) lend() {
	if a.buf != nil && a.typ != nil && a.typ.Lends() && 2*len(a.body) >= cap(a.body) {
		a.buf.b = a.body
		a.m.Msg = messages.Lend(a.body[:len(a.body):len(a.body)], a.buf)
		a.buf = nil
	}
}

// add appends a piece. Memory grows to at most four times what has arrived, in
// few steps: each copies what is there.
func (a *assembly) add(piece []byte) {
	if need := len(a.body) + len(piece); need > cap(a.body) {
		old := a.buf
		old.b = a.body
		a.buf = newBody(min(a.total, 4*need))
		a.body = append(a.buf.b, a.body...)
		old.release()
	}
	a.body = append(a.body, piece...)
}

// release gives the memory back: the message was decoded from it.
func (a *assembly) release() {
	if a.buf != nil {
		a.buf.b = a.body
		a.buf.release()
		a.buf, a.body = nil, nil
	}
}

func (c *inbound) flow(slot uint8) *inFlow {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flows[slot]
	if f == nil {
		f = &inFlow{c: c, slot: slot}
		c.flows[slot] = f
	}
	return f
}

// anew returns the receiving side of the channel for new flows. What is parked of
// the old ones goes before theirs.
func (c *inbound) anew(epoch uint64) *inbound {
	n := newInbound(c.name, epoch)
	c.used(func(slot uint8, f *inFlow) {
		f.mu.Lock()
		f.abandon()
		if f.inbox != nil { // something may wait there, perhaps of flows before these
			n.flows[slot] = &inFlow{c: n, slot: slot, inbox: f.inbox}
		}
		f.mu.Unlock()
	})
	return n
}

// used calls f for each flow that exists.
func (c *inbound) used(f func(slot uint8, fl *inFlow)) {
	c.mu.Lock()
	flows := c.flows
	c.mu.Unlock()
	for slot, fl := range flows {
		if fl != nil {
			f(uint8(slot), fl)
		}
	}
}

// inbound returns the receiving side of a channel of the peer, or an error that
// ends the link on which it was named.
func (s *Session) inbound(name string) (*inbound, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.in[name]
	switch {
	case c != nil:
	case s.parted:
		return nil, errParted
	case len(s.in) >= maxWireChannels+2:
		return nil, badFrame(messages.ReasonLimit, "more channels than the protocol carries")
	default:
		c = newInbound(name, s.inEpoch)
		s.in[name] = c
	}
	return c, nil
}

// errParted ends a link that begins something on a session that has ended here:
// a later session with the same life has the flows.
var errParted = &frameError{reason: messages.ReasonDown, err: errors.New("a link of a session that has ended here")}

func (s *Session) inbounds() []*inbound {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*inbound, 0, len(s.in))
	for _, c := range s.in {
		list = append(list, c)
	}
	return list
}

// drained is called when a link's reader has ended: flows that it carried may
// continue on another.
func (s *Session) drained(l *link) {
	now := overlay.Time(s.r.now())
	for _, c := range s.inbounds() {
		c.used(func(_ uint8, f *inFlow) {
			f.mu.Lock()
			f.rx.CarrierDead(l.id, now)
			l.popHeld(c, f) // what was held for the end of this link
			f.mu.Unlock()
		})
	}
}

// inTables are what a link's peer has interned.
type inTables struct {
	types    []linkType
	targets  []*Target
	senders  []string
	pids     []*actor.PID // of senders, made on first use
	channels []*inbound   // by id, as far as they are defined
	busy     bool         // more than heartbeats came with the last read
	ahead    int          // bytes of further frames that have arrived
	packed   bool         // within a packed frame
	owed     []*inFlow    // reports that are asked for
	data     frame.Data   // the reader's
	m        Incoming     // the reader's
	loose    Target       // for a target that is not interned
}

// channel returns the channel of an id, or nil.
func (in *inTables) channel(id uint8) *inbound {
	if int(id) < len(in.channels) {
		return in.channels[id]
	}
	return nil
}

// setChannel stores the channel of an id.
func (in *inTables) setChannel(id uint8, c *inbound) {
	for int(id) >= len(in.channels) {
		in.channels = append(in.channels, nil)
	}
	in.channels[id] = c
}

// linkType is a type that a link's peer has interned.
type linkType struct {
	inType
	dec *messages.Decoder // made on first use
}

type inType struct {
	name string
	typ  *messages.Type // nil: unknown here
	err  error
}
