package channelmgr

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// inbound is the receiving side of a channel from one peer.
type inbound struct {
	name  string
	mu    sync.Mutex
	flows [Slots]*inFlow // made on first use
}

// inFlow is the receiving end of a flow. Its lock is held while a message is
// posted, so that two links cannot swap two messages.
type inFlow struct {
	mu       sync.Mutex
	rx       flow.Receiver
	reported uint64    // next, as last reported to the sender
	whole    *assembly // a split message of which pieces are missing
}

// assembly gathers a split message. It owns what it keeps.
type assembly struct {
	seq   uint64
	total int
	data  frame.Data
	typ   *messages.Type
	body  []byte
	buf   *body // body's memory, pooled; nil for a whole message that is held
	m     Incoming
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
		f = new(inFlow)
		c.flows[slot] = f
	}
	return f
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

// inbound returns the receiving side of a channel of the peer; nil when the
// peer names more channels than the protocol carries.
func (s *Session) inbound(name string) *inbound {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.in[name]
	if c == nil && len(s.in) < MaxChannels+2 {
		c = &inbound{name: name}
		s.in[name] = c
	}
	return c
}

func (s *Session) inbounds() []*inbound {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*inbound, 0, len(s.in))
	for _, c := range s.in {
		list = append(list, c)
	}
	return list
}

// report sends the sender of a flow what has arrived. f.mu is held.
func (s *Session) report(channel string, slot uint8, f *inFlow) {
	u := f.rx.Update(flowWindow)
	f.reported = u.Next
	ctl := s.ctl
	ctl.frames(func(dst []byte) []byte {
		id, defs, ok := ctl.dict.channel(channel, ctl.defs)
		ctl.defs = defs
		if !ok {
			return dst
		}
		return frame.AppendFlowUpdate(dst, frame.FlowUpdate{Channel: id, Slot: slot, Next: u.Next, Credit: u.Credit, Lost: u.Lost})
	})
}

// flowWindow is how many messages of one flow may be on their way. Since a
// plain actor's mailbox is unbounded, credit returns when a message is
// posted; the window bounds what a stalled reader can leave unconfirmed.
const flowWindow = 1 << 16

// reportAll reports the flows that moved since their last report. It runs on
// the manager's tick; a flow whose message is being posted is left for the
// next.
func (s *Session) reportAll(now overlay.Time) {
	for _, c := range s.inbounds() {
		c.used(func(slot uint8, f *inFlow) {
			if !f.mu.TryLock() {
				return
			}
			f.rx.Expire(now)
			if f.rx.Next() != f.reported {
				s.report(c.name, slot, f)
			}
			f.mu.Unlock()
		})
	}
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
