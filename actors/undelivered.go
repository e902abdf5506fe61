package actors

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
)

// Undelivered is published on the system's event stream for a message known
// not to have arrived, besides protoactor's DeadLetterEvent. Message is nil
// when the other node reported it. Events are limited to 1,000 a second;
// Stats counts all.
type Undelivered struct {
	Target, Sender *actor.PID
	Node, Channel  string
	Message        any
	Reason         Reason
}

// PossiblyLost is published on the system's event stream when messages were
// written to a link that died: those numbered From to To-1 of one flow are
// lost, or if not Confirmed, nobody knows.
type PossiblyLost struct {
	Node, Channel string
	Slot          uint8
	From, To      uint64
	Confirmed     bool
}

// counts are the runtime's own counters.
type counts struct {
	processes atomic.Int64
	named     sync.Map
	window    atomic.Int64
	events    atomic.Int64
}

func (c *counts) add(name string) { c.addN(name, 1) }

func (c *counts) addN(name string, n uint64) {
	v, ok := c.named.Load(name)
	if !ok {
		v, _ = c.named.LoadOrStore(name, new(atomic.Uint64))
	}
	v.(*atomic.Uint64).Add(n)
}

// allow limits events to 1,000 a second.
func (c *counts) allow() bool {
	now := time.Now().Unix()
	if c.window.Swap(now) != now {
		c.events.Store(0)
	}
	return c.events.Add(1) <= 1000
}

// Stats returns all counters by name: those of the link layer (see
// channelmgr.Stats) and the runtime's: undelivered_REASON for messages that
// were known not to arrive when they were sent, terminated_unmatched,
// forbidden, system_refused; and of discovery, for each kind of strategy:
// discovery_KIND_ok, _partial and _error (answers of its sources), _candidates (in
// their last answers), _dialed and _accepted (calls of these), _refused_REASON
// (calls that failed, or were refused).
func (d *Distribution) Stats() map[string]uint64 {
	all := map[string]uint64(d.registry.Stats())
	for k, v := range d.service.Stats() {
		all[k] = v
	}
	maps.Copy(all, d.introduction.stats())
	d.counts.named.Range(func(k, v any) bool {
		all[k.(string)] += v.(*atomic.Uint64).Load()
		return true
	})
	return all
}

func reasonOf(err error) Reason {
	var se *channelmgr.SendError
	if errors.As(err, &se) {
		return se.Reason
	}
	return messages.ReasonInternal
}

// undelivered publishes a message that could not be sent, and lets
// protoactor's dead letters answer its sender. A system message other than a
// Watch is published as Undelivered only: a dead letter of a Watch would make
// a second Terminated.
func (d *Distribution) undelivered(target *actor.PID, node string, o *channelmgr.Outgoing, why Reason) {
	d.counts.add("undelivered_" + string(why))
	if d.counts.allow() {
		d.system.EventStream.Publish(&Undelivered{Target: target, Sender: o.Sender, Node: node, Channel: o.Channel, Message: o.Msg, Reason: why})
	}
	if !o.System {
		d.deadLetter(target, o.Msg, o.Sender)
	}
}

// deadLetter publishes protoactor's own event, which answers the sender. For a
// Call's sender the waiting goroutine is told directly.
func (d *Distribution) deadLetter(target *actor.PID, msg any, sender *actor.PID) {
	if _, ok := msg.(*actor.DeadLetterResponse); ok {
		return // nobody waits for the fate of an answer to a dead letter
	}
	if sender != nil && d.calls.fail(sender.Id, ErrDeadLetter) {
		sender = nil
	}
	d.system.EventStream.Publish(&actor.DeadLetterEvent{PID: target, Message: msg, Sender: sender})
}

// Undelivered implements channelmgr.Receiver.
func (r receiver) Undelivered(u channelmgr.Undelivered) {
	d := r.d
	target := &actor.PID{Address: channelmgr.PIDAddress(u.Session.Peer()), Id: u.Target}
	if d.counts.allow() {
		d.system.EventStream.Publish(&Undelivered{Target: target, Sender: u.Sender, Node: u.Session.Peer().Name, Channel: u.Channel, Message: u.Msg, Reason: u.Reason})
	}
	switch m := u.Msg.(type) {
	case *actor.Watch, *actor.Unwatch, *actor.Terminated, *actor.Stop:
		return
	case nil:
		if u.Sender == nil {
			return // the peer has published the dead letter
		}
		d.deadLetter(target, nil, u.Sender)
	default:
		d.deadLetter(target, m, u.Sender)
	}
}

// Lost implements channelmgr.Receiver.
func (r receiver) Lost(l channelmgr.Loss) {
	r.d.system.EventStream.Publish(&PossiblyLost{Node: l.Session.Peer().Name, Channel: l.Channel, Slot: l.Slot, From: l.From, To: l.To, Confirmed: l.Confirmed})
	r.d.watches.linked(l.Session.Peer())
	l.Session.Open() // both ends tell their watches again when a link is up
}
