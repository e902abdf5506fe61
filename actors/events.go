package actors

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/peerservice"
)

// Event is a change of the membership. Events are pointers and come in one
// order per node; Seq counts them per subscription.
type Event interface{ Seq() uint64 }

type seq uint64

// Seq implements Event.
func (s seq) Seq() uint64 { return uint64(s) }

type (
	// Snapshot is the first event of a subscription, and the next one after a
	// subscriber fell behind.
	Snapshot struct {
		seq
		Members []Member
	}
	// NodeUp tells of a member that is new or back.
	NodeUp struct {
		seq
		Member Member
	}
	// NodeSuspect tells that others have lost a member; it is still sent to.
	NodeSuspect struct {
		seq
		Member Member
		By     []string
	}
	// NodeDown tells that a member is gone; it comes after every Terminated
	// that follows from it, and before the NodeUp of a next life.
	NodeDown struct {
		seq
		Member Member
		Reason Reason
	}
	// NodeLeft tells that a member has left in order.
	NodeLeft struct {
		seq
		Member Member
	}
	// MemberUpdated tells that a member changed what it says of itself, or that
	// a suspicion was refuted.
	MemberUpdated struct {
		seq
		Old, New Member
	}
	// Isolated tells that no link to any member has been up since then; the
	// seeds are being tried.
	Isolated struct {
		seq
		Since time.Time
	}
	// PeerRefused tells that a contact could not be reached or refused this
	// node.
	PeerRefused struct {
		seq
		Addr   string
		Reason Reason
	}
)

type (
	// ChannelUp tells that a channel on which this node sends to another has a
	// link.
	ChannelUp struct {
		seq
		Node, Channel string
	}
	// ChannelDown tells that it has none any more, and why: "closed" and
	// "peer_closed" when it was idle. The next message opens one.
	ChannelDown struct {
		seq
		Node, Channel string
		Reason        Reason
	}
)

type channelNote channelmgr.ChannelChange

func (c channelNote) event(s seq) Event {
	if c.Up {
		return &ChannelUp{s, c.Peer.Name, c.Channel}
	}
	return &ChannelDown{s, c.Peer.Name, c.Channel, c.Reason}
}

// ChannelStalled tells that a sender has waited for a second for room on a
// channel to a node: that node, or an actor there, takes messages too slowly.
type ChannelStalled struct {
	seq
	Node, Channel string
	For           time.Duration
}

// CausalReleased tells that a node is gone and what of a causal label on a channel
// waits for it no more: GivenUp messages to it are not known to have arrived there,
// and others were sent after them; Waited messages from it wait here no longer for
// what it had sent before. What happened before these may come after them, or
// never.
type CausalReleased struct {
	seq
	Node, Channel   string
	GivenUp, Waited int
}

// release is a CausalReleased that has no number yet.
type release channelmgr.Release

func (r release) event(n seq) Event {
	return &CausalReleased{n, r.Session.Peer().Name, r.Channel, r.GivenUp, r.Waited}
}

// stall is a ChannelStalled that has no number yet.
type stall channelmgr.Stall

func (s stall) event(n seq) Event {
	return &ChannelStalled{n, s.Session.Peer().Name, s.Channel, s.For}
}

// convert makes an application's event. A nil result is filtered out.
func convert(e peerservice.Event, n seq, where []Filter) Event {
	pick := func(m Member, ev Event) Event {
		if !all(m, where) {
			return nil
		}
		return ev
	}
	switch e := e.(type) {
	case peerservice.Snapshot:
		s := &Snapshot{seq: n}
		for _, m := range e.Members {
			if k := memberOf(m); all(k, where) {
				s.Members = append(s.Members, k)
			}
		}
		return s
	case peerservice.Up:
		return pick(memberOf(e.Member), &NodeUp{n, memberOf(e.Member)})
	case peerservice.Suspect:
		return pick(memberOf(e.Member), &NodeSuspect{n, memberOf(e.Member), e.By})
	case peerservice.Down:
		return pick(memberOf(e.Member), &NodeDown{n, memberOf(e.Member), e.Reason})
	case peerservice.Left:
		return pick(memberOf(e.Member), &NodeLeft{n, memberOf(e.Member)})
	case peerservice.Updated:
		return pick(memberOf(e.New), &MemberUpdated{n, memberOf(e.Old), memberOf(e.New)})
	case peerservice.Isolated:
		return &Isolated{n, e.Since}
	case peerservice.Refused:
		return &PeerRefused{n, e.Contact, e.Reason}
	case peerservice.Noted:
		if note, ok := e.Note.(note); ok {
			return note.event(n)
		}
	}
	return nil
}

// note is an event that another part of the node than the membership publishes,
// with peerservice.Service.Note.
type note interface{ event(n seq) Event }

// eventBound is how many events wait for a subscriber.
const eventBound = 1024

// each calls f for each event of a subscription until ctx or the node ends.
func (d *Distribution) each(ctx context.Context, sub *peerservice.Subscription, where []Filter, f func(Event) bool) {
	defer sub.Close()
	n := seq(0)
	for {
		e, ok := sub.Next(ctx)
		if !ok {
			return
		}
		if ev := convert(e, n+1, where); ev != nil {
			n++
			if !f(ev) {
				return
			}
		}
	}
}

// Events returns the events from now on, a Snapshot first. The channel is
// closed when ctx or the node ends. Who reads too slowly finds a Snapshot in
// place of what it missed.
func (d *Distribution) Events(ctx context.Context) <-chan Event {
	ch := make(chan Event)
	if d.stopped.Load() {
		close(ch)
		return ch
	}
	sub := d.service.Subscribe(eventBound) // before this returns: nothing is missed from now on
	d.pump(func() {
		defer close(ch)
		d.each(ctx, sub, nil, func(e Event) bool {
			select {
			case ch <- e:
				return true
			case <-ctx.Done():
				return false
			case <-d.ctx.Done():
				return false
			}
		})
	})
	return ch
}

// SubscribeMembership sends the events to an actor, a Snapshot first, until
// cancel is called or the node ends. With filters, only those of members that
// all filters choose.
func (d *Distribution) SubscribeMembership(pid *actor.PID, where ...Filter) (cancel func()) {
	ctx, cancel := context.WithCancel(d.ctx)
	if !d.stopped.Load() {
		sub := d.service.Subscribe(eventBound)
		d.pump(func() {
			d.each(ctx, sub, where, func(e Event) bool {
				d.root.Send(pid, e)
				return ctx.Err() == nil
			})
		})
	}
	return cancel
}

// publishEvents publishes all events on the system's event stream.
func (d *Distribution) publishEvents() {
	d.each(d.ctx, d.service.Subscribe(eventBound), nil, func(e Event) bool {
		d.system.EventStream.Publish(e)
		return true
	})
}
