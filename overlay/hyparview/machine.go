package hyparview

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Timers: the next shuffle; an answer that is waited for, by name or address; a
// place that is kept for whom a peer gives up, by that peer's name; a neighbor
// that is given up and has not said so; a stranger who linked and said nothing;
// the next attempt to come back.
const (
	timerShuffle  overlay.TimerKind = "shuffle"
	timerRequest  overlay.TimerKind = "request"
	timerPlace    overlay.TimerKind = "place"
	timerParting  overlay.TimerKind = "parting"
	timerStranger overlay.TimerKind = "stranger"
	timerRejoin   overlay.TimerKind = "rejoin"
)

// parting is a neighbor that was told to turn to another instead.
type parting struct {
	peer    overlay.Peer
	instead overlay.Peer
}

// purpose is why a peer is asked.
type purpose uint8

const (
	forJoin    purpose = iota // through a contact
	forLow                    // for a free place of its
	forHigh                   // for any place of its
	forOffer                  // whether it takes the place offered
	forInstead                // as we were told
)

// asked is a request that waits for its link or for its answer.
type asked struct {
	peer   overlay.Peer // of a join: the contact, until it is up
	key    string       // of its timer: the name, or the contact's address
	why    purpose
	id     uint64
	sent   bool
	via    string // forInstead: who told us
	evicts bool   // forOffer: a neighbor will be given up for it
	places int    // of ours that are kept for the answer
}

// Machine is the HyParView of one node.
type Machine struct {
	cfg     Config
	active  overlay.View
	passive overlay.View
	parting []parting
	last    overlay.Peer // gave us up though we had no other neighbor, and is answered when we have one
	asked   []asked
	kept    []string // the peers for whose former neighbors places are kept
	request uint64   // the last id

	contacts []overlay.Peer
	next     int // contact to try
	tries    int // rounds through the contacts without success
	waiting  bool
	starved  int // shuffles in a row with neighbors, room for an edge and nobody to ask
	odd      int // shuffles in a row with one free place

	// Since the last shuffle:
	refused   int     // how many refused
	tried     []trial // who was tried for a place, or gave us up
	talk      []talk
	shuffle   uint64         // id of the last shuffle
	shuffled  []overlay.Peer // what it carried
	left      bool
	strangers overlay.View
}

// trial is a peer that refused us a place or gave us up.
type trial struct {
	name string
	firm bool // it was asked for any place of its
}

// talk counts what a peer asked for since the last shuffle.
type talk struct {
	name            string
	asked, shuffles int
}

// New makes the HyParView of a node without neighbors.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Machine{cfg: cfg}, nil
}

// Active returns the active view; it is not to be changed and is valid until
// the next step.
func (m *Machine) Active() []overlay.Peer { return m.active.All() }

// Passive returns the passive view; it is not to be changed and is valid until
// the next step.
func (m *Machine) Passive() []overlay.Peer { return m.passive.All() }

// Step implements overlay.Machine.
func (m *Machine) Step(_ overlay.Time, ev overlay.Event, out *overlay.Effects) {
	if m.left {
		return
	}
	switch ev := ev.(type) {
	case overlay.Start, overlay.Resumed:
		out.SetTimer(overlay.Timer{Kind: timerShuffle}, m.jitter(m.cfg.Shuffle))
	case overlay.Join:
		m.join(ev.Contacts, out)
	case overlay.Command:
		if o, ok := ev.Order.(overlay.Forget); ok {
			m.dropContacts(o.Contacts)
		}
	case overlay.Leave:
		m.leave(out)
	case overlay.MemberUp:
		m.remember(ev.Peer)
	case overlay.MemberDown:
		m.memberDown(ev.Peer, out)
	case overlay.LinkUp:
		m.linkUp(ev, out)
	case overlay.LinkDown:
		m.linkDown(ev, out)
	case overlay.Received:
		m.received(ev.From, ev, out)
	case overlay.Fired:
		m.fired(ev.Timer, out)
	}
}

// dropContacts forgets contacts; one that is being asked is so to the end.
func (m *Machine) dropContacts(addrs []string) {
	m.contacts = slices.DeleteFunc(slices.Clone(m.contacts), func(p overlay.Peer) bool { return slices.Contains(addrs, p.Addr) })
	m.next = min(m.next, len(m.contacts))
}

func (m *Machine) received(from overlay.Peer, ev overlay.Received, out *overlay.Effects) {
	if from.Name == m.cfg.Self.Name {
		out.Reject(from, messages.ReasonSelf)
		return
	}
	before := out.Len()
	switch msg := ev.Msg.(type) {
	case *messages.HyparJoin:
		m.onJoin(from, msg, out)
	case *messages.HyparForwardJoin:
		m.onForwardJoin(from, msg, out)
	case *messages.HyparNeighbor:
		m.onNeighbor(from, msg, out)
	case *messages.HyparNeighborReply:
		m.onReply(from, msg, out)
	case *messages.HyparDisconnect:
		m.onDisconnect(from, msg, out)
	case *messages.HyparDisconnected:
		m.onDisconnected(from, out)
	case *messages.HyparShuffle:
		m.onShuffle(from, msg, out)
	case *messages.HyparShuffleReply:
		m.onShuffleReply(from, msg, out)
	default:
		out.Reject(from, messages.ReasonUnknownType)
	}
	released := slices.ContainsFunc(out.All()[before:], func(e overlay.Effect) bool {
		return e.Kind == overlay.EffectDisconnect && e.Peer.Same(from)
	})
	if !released && !m.concerns(from) {
		m.forget(from, out)
	}
}

func (m *Machine) fired(t overlay.Timer, out *overlay.Effects) {
	switch t.Kind {
	case timerShuffle:
		m.tick(out)
	case timerRequest:
		if i := m.askedBy(t.Peer); i >= 0 {
			m.abandon(i, out)
		}
	case timerPlace:
		if m.release(t.Peer, out) {
			m.promote(out)
		}
	case timerParting:
		if p, ok := m.isParting(t.Peer); ok {
			m.part(p, messages.ReasonTimeout, out)
		}
	case timerStranger:
		if p, ok := m.strangers.Find(t.Peer); ok {
			m.forget(p, out)
		}
	case timerRejoin:
		m.waiting = false
		m.promote(out)
	}
}

// tick is the periodic shuffle of section 4.4; the limits on peers and on our
// own attempts begin anew with it.
func (m *Machine) tick(out *overlay.Effects) {
	out.SetTimer(overlay.Timer{Kind: timerShuffle}, m.jitter(m.cfg.Shuffle))
	m.refused, m.tried, m.talk = 0, m.tried[:0], m.talk[:0]
	if m.free(overlay.Peer{}) == 1 {
		m.odd++
	} else {
		m.odd = 0
	}
	m.sendShuffle(out)
	m.promote(out)
	m.seek(out)
}

// concerns reports whether there is a reason to hold the session with a peer.
func (m *Machine) concerns(p overlay.Peer) bool {
	if m.active.Has(p) {
		return true
	}
	if q, ok := m.isParting(p.Name); ok && q.Same(p) || m.holds(p) {
		return true
	}
	return slices.ContainsFunc(m.asked, func(a asked) bool { return a.peer.Same(p) })
}

// forget releases the session with a peer that concerns us no more.
func (m *Machine) forget(p overlay.Peer, out *overlay.Effects) {
	if m.strangers.Remove(p) {
		out.CancelTimer(overlay.Timer{Kind: timerStranger, Peer: p.Name})
	}
	out.Disconnect(p, messages.ReasonClosed)
}

func (m *Machine) linkUp(ev overlay.LinkUp, out *overlay.Effects) {
	p := ev.Peer
	for i := range m.asked {
		if a := &m.asked[i]; !a.sent && (a.peer.Same(p) || a.peer.IsContact() && ev.Contact == a.peer.Addr) {
			if p.Name == m.cfg.Self.Name { // a contact's address is our own
				out.Disconnect(p, messages.ReasonSelf)
				m.failed(i, out)
				return
			}
			a.peer = p
			m.ask(a, out)
			return
		}
	}
	if !m.concerns(p) {
		// The peer dialed: what it wants, it says. What we dialed ourselves we
		// have given up meanwhile.
		if ev.Inbound {
			m.strangers.Add(p)
			out.SetTimer(overlay.Timer{Kind: timerStranger, Peer: p.Name}, m.cfg.Request)
		} else {
			out.Disconnect(p, messages.ReasonClosed)
		}
	}
}

func (m *Machine) linkDown(ev overlay.LinkDown, out *overlay.Effects) {
	p := ev.Peer
	if !ev.Dial && m.holds(p) {
		m.last = overlay.Peer{}
	}
	if m.strangers.Remove(p) {
		out.CancelTimer(overlay.Timer{Kind: timerStranger, Peer: p.Name})
	}
	for i := range m.asked {
		if a := &m.asked[i]; a.peer == p || a.peer.Same(p) && !p.IsContact() || a.peer.IsContact() && a.peer.Addr == ev.Contact {
			m.failed(i, out)
			return
		}
	}
	if q, ok := m.isParting(p.Name); ok && q.Same(p) {
		m.part(q, ev.Reason, out)
		return
	}
	// A lost link is a failed node until it is seen again (section 4.1): it is
	// not put into the passive view.
	if !ev.Dial && m.active.Remove(p) {
		out.Notify(overlay.NeighborDown{Peer: p, Reason: ev.Reason, Known: ev.Known})
		for m.active.Len() == 0 && len(m.kept) > 0 { // those who were to come have us no more to come to
			m.release(m.kept[0], out)
		}
		m.promote(out)
	}
}

// memberDown ends all that we have to do with a member that is down or has left.
func (m *Machine) memberDown(p overlay.Peer, out *overlay.Effects) {
	m.passive.Remove(p)
	if m.holds(p) {
		m.last = overlay.Peer{}
		out.Disconnect(p, messages.ReasonDown)
	}
	for i := range m.asked {
		if m.asked[i].peer.Same(p) {
			m.abandon(i, out)
			return
		}
	}
	if q, ok := m.isParting(p.Name); ok && q.Same(p) {
		m.part(q, messages.ReasonDown, out)
	} else if m.active.Has(p) {
		m.drop(p, messages.ReasonDown, out)
		m.promote(out)
	}
}

// leave tells the neighbors, hands each of them another, and goes.
func (m *Machine) leave(out *overlay.Effects) {
	m.left = true
	list := slices.Clone(m.active.All())
	for i, p := range list {
		instead := overlay.Peer{}
		if len(list) > 1 {
			instead = list[(i^1)%len(list)]
		}
		out.Send(p, &messages.HyparDisconnect{Instead: overlay.Ref(instead), Leaving: true})
		m.drop(p, messages.ReasonClosed, out)
	}
	m.answer(out)
	for _, p := range slices.Clone(m.parting) {
		m.part(p.peer, messages.ReasonClosed, out)
	}
	for _, a := range m.asked {
		out.CancelTimer(overlay.Timer{Kind: timerRequest, Peer: a.key})
		out.Disconnect(a.peer, messages.ReasonClosed)
	}
	m.asked = nil
	for len(m.kept) > 0 {
		m.release(m.kept[0], out)
	}
	for _, p := range slices.Clone(m.strangers.All()) {
		m.forget(p, out)
	}
	out.CancelTimer(overlay.Timer{Kind: timerShuffle})
	out.CancelTimer(overlay.Timer{Kind: timerRejoin})
}

// jitter draws from 0.9 to 1.1 of a duration.
func (m *Machine) jitter(d time.Duration) time.Duration {
	return d*9/10 + time.Duration(m.cfg.Rand.Int64N(int64(d/5)+1))
}

// account is what a peer did since the last shuffle; nil for one too many.
func (m *Machine) account(p overlay.Peer) *talk {
	for i := range m.talk {
		if m.talk[i].name == p.Name {
			return &m.talk[i]
		}
	}
	const most = 64 // the oldest are forgotten
	if len(m.talk) == most {
		m.talk = append(m.talk[:0], m.talk[1:]...)
	}
	m.talk = append(m.talk, talk{name: p.Name})
	return &m.talk[len(m.talk)-1]
}

// remember puts a peer into the passive view, in place of a random one if it is
// full (section 4.5).
func (m *Machine) remember(p overlay.Peer) {
	if p.Name == m.cfg.Self.Name || m.active.Has(p) {
		return
	}
	if _, ok := m.passive.Find(p.Name); ok {
		m.passive.Add(p) // perhaps another life or address
		return
	}
	if m.passive.Len() >= m.cfg.Passive {
		q, _ := m.passive.Random(m.cfg.Rand, nil)
		m.passive.Remove(q)
	}
	m.passive.Add(p)
}
