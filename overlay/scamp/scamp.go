// Package scamp is the membership of partial views that find their size by
// themselves, by Ganesh, Kermarrec and Massoulié (Peer-to-Peer Membership
// Management for Gossip-Based Protocols, IEEE Transactions on Computers 2003):
// a subscription is copied to all of the contact's view and c more, and each
// copy walks until somebody keeps it, with a chance of 1/(1+|view|). Views grow
// to (c+1) ln n without anybody knowing n.
//
// A node's neighbors are whoever is in its partial view or has it in theirs, as
// soon as the session is up: sessions carry both ways, and broadcast trees want
// symmetric links.
//
// Deviations are in docs/protocols/scamp.md.
//
// Heeds Start, Join, Leave, MemberDown, LinkUp, LinkDown, Received and Fired.
// Notifies overlay.NeighborUp and overlay.NeighborDown.
package scamp

import (
	"fmt"
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Timers: heartbeats to the view; the end of our lease; the leases of those in
// the view; the next attempt to come back; a stranger who linked and said
// nothing; a contact that does not answer.
const (
	timerHeartbeat overlay.TimerKind = "heartbeat"
	timerRenew     overlay.TimerKind = "renew"
	timerRejoin    overlay.TimerKind = "rejoin"
	timerContact   overlay.TimerKind = "contact"
)

// Machine is the SCAMP of one node.
type Machine struct {
	cfg     Config
	now     overlay.Time
	view    overlay.View   // the partial view: whom we have
	until   []overlay.Time // the ends of their leases, in the same order
	in      overlay.View   // who has us
	linked  overlay.View   // sessions that are up and held
	up      overlay.View   // neighbors: linked, and in either view
	welcome overlay.View   // subscribers to be welcomed when their session is up

	contacts []overlay.Peer
	next     int
	tries    int
	joining  string // address of the contact that is dialed or has not answered
	waiting  bool
	heard    overlay.Time   // the last heartbeat of somebody who has us
	quiet    map[string]int // heartbeats of ours since the last of one who has us
	talk     map[string]int
	left     bool
}

// New makes the SCAMP of a node with empty views.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Machine{cfg: cfg, talk: make(map[string]int)}, nil
}

// View returns the partial view; it is not to be changed and is valid until the
// next step.
func (m *Machine) View() []overlay.Peer { return m.view.All() }

// InView returns who has this node in their partial views; see View.
func (m *Machine) InView() []overlay.Peer { return m.in.All() }

// Step implements overlay.Machine.
func (m *Machine) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	m.now = now
	if m.left {
		return
	}
	switch ev := ev.(type) {
	case overlay.Start, overlay.Resumed:
		m.heard = now
		clear(m.quiet)
		out.SetTimer(overlay.Timer{Kind: timerHeartbeat}, m.between(m.cfg.Heartbeat, 0.9, 1.1))
		m.renewLater(out)
	case overlay.Join:
		m.join(ev.Contacts, out)
	case overlay.Command:
		if o, ok := ev.Order.(overlay.Forget); ok {
			m.dropContacts(o.Contacts)
		}
	case overlay.Leave:
		m.leave(out)
	case overlay.MemberDown:
		m.lost(ev.Peer, messages.ReasonDown, out)
		out.Disconnect(ev.Peer, messages.ReasonDown)
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

// between draws from a part to a part of a duration.
func (m *Machine) between(d time.Duration, from, to float64) time.Duration {
	return time.Duration(float64(d) * (from + (to-from)*m.cfg.Rand.Float64()))
}

func (m *Machine) renewLater(out *overlay.Effects) {
	if m.cfg.Lease > 0 {
		out.SetTimer(overlay.Timer{Kind: timerRenew}, m.between(m.cfg.Lease, 0.9, 1))
	}
}

func (m *Machine) fired(t overlay.Timer, out *overlay.Effects) {
	switch t.Kind {
	case timerHeartbeat:
		m.heartbeat(out)
	case timerRenew:
		m.renewLater(out)
		m.resubscribe(out)
	case timerRejoin:
		m.waiting = false
		m.contact(out)
	case timerContact:
		m.joining = ""
		m.contact(out)
	}
}

// heartbeat goes to all of the view; whoever has not been heard of by anybody
// for three of them subscribes anew (section 3.3). Leases of others end here,
// strangers are let go, and so is who said that it has us and does not repeat it.
func (m *Machine) heartbeat(out *overlay.Effects) {
	out.SetTimer(overlay.Timer{Kind: timerHeartbeat}, m.between(m.cfg.Heartbeat, 0.9, 1.1))
	clear(m.talk)
	for i := m.view.Len() - 1; i >= 0; i-- {
		if p := m.view.All()[i]; m.until[i] <= m.now {
			m.drop(p, out)
		}
	}
	for _, p := range m.view.All() {
		if m.linked.Has(p) {
			out.Send(p, &messages.ScampHeartbeat{})
		}
	}
	quiet := make(map[string]int, m.in.Len())
	for _, p := range slices.Clone(m.in.All()) {
		if quiet[p.Name] = m.quiet[p.Name] + 1; quiet[p.Name] == maxQuiet {
			m.in.Remove(p)
			m.sync(p, messages.ReasonTimeout, out)
		}
	}
	m.quiet = quiet
	for _, p := range slices.Clone(m.linked.All()) {
		if !m.up.Has(p) { // who linked for a subscription, or said nothing
			m.linked.Remove(p)
			out.Disconnect(p, messages.ReasonClosed)
		}
	}
	if m.view.Len() == 0 || m.now.Sub(m.heard) > 3*m.cfg.Heartbeat {
		m.heard = m.now
		m.resubscribe(out)
	}
}

// resubscribe subscribes anew through a node of the view, or one that has us,
// or the contacts. Our own view is kept (section 4.2).
func (m *Machine) resubscribe(out *overlay.Effects) {
	up := func(p overlay.Peer) bool { return m.linked.Has(p) }
	p, ok := m.view.Random(m.cfg.Rand, up)
	if !ok {
		p, ok = m.in.Random(m.cfg.Rand, up)
	}
	if !ok {
		m.contact(out)
		return
	}
	out.Send(p, m.subscription())
}

func (m *Machine) subscription() *messages.ScampSubscribe {
	return &messages.ScampSubscribe{Subscriber: overlay.Ref(m.cfg.Self), Walk: uint32(m.cfg.Walk), Degree: uint32(m.up.Len())}
}

func (m *Machine) join(contacts []overlay.Peer, out *overlay.Effects) {
	list := slices.DeleteFunc(slices.Clone(contacts), func(p overlay.Peer) bool {
		return p.Addr == "" || p.Addr == m.cfg.Self.Addr || len(p.Addr) > overlay.MaxName
	})
	if len(list) == 0 {
		return
	}
	m.contacts, m.next, m.tries = list[:min(len(list), maxContacts)], 0, 0
	if m.waiting {
		m.waiting = false
		out.CancelTimer(overlay.Timer{Kind: timerRejoin})
	}
	m.contact(out)
}

// dropContacts forgets contacts; one that is being asked is so to the end.
func (m *Machine) dropContacts(addrs []string) {
	m.contacts = slices.DeleteFunc(slices.Clone(m.contacts), func(p overlay.Peer) bool { return slices.Contains(addrs, p.Addr) })
	m.next = min(m.next, len(m.contacts))
}

// contact dials the next contact; after a round without success it waits.
func (m *Machine) contact(out *overlay.Effects) {
	if len(m.contacts) == 0 || m.joining != "" || m.waiting {
		return
	}
	if m.next == len(m.contacts) {
		m.next = 0
		pause := min(m.cfg.RetryMin<<min(m.tries, 16), m.cfg.RetryMax)
		m.tries++
		m.waiting = true
		out.SetTimer(overlay.Timer{Kind: timerRejoin}, m.between(pause, 0.5, 1.5))
		m.cfg.Rand.Shuffle(len(m.contacts), func(i, j int) { m.contacts[i], m.contacts[j] = m.contacts[j], m.contacts[i] })
		return
	}
	p := m.contacts[m.next]
	m.next++
	m.joining = p.Addr
	out.SetTimer(overlay.Timer{Kind: timerContact}, m.cfg.Answer)
	out.Connect(overlay.Peer{Addr: p.Addr})
}

// joined ends the search for a contact.
func (m *Machine) joined(out *overlay.Effects) {
	if m.joining != "" {
		m.joining = ""
		out.CancelTimer(overlay.Timer{Kind: timerContact})
	}
	m.tries = 0
	m.heard = m.now
}

func (m *Machine) linkUp(ev overlay.LinkUp, out *overlay.Effects) {
	p := ev.Peer
	if p.Name == m.cfg.Self.Name {
		out.Disconnect(p, messages.ReasonSelf)
		return
	}
	was := m.linked.Has(p)
	m.link(p, out)
	if m.joining != "" && ev.Contact == m.joining {
		out.Send(p, m.subscription())
	}
	if m.welcome.Remove(p) {
		out.Send(p, &messages.ScampWelcome{})
	}
	if m.view.Has(p) && !was {
		out.Send(p, &messages.ScampKeep{})
	}
	m.sync(p, "", out)
}

// link notes that a session is up; another life of that name is gone.
func (m *Machine) link(p overlay.Peer, out *overlay.Effects) {
	if old, ok := m.linked.Find(p.Name); ok && !old.Same(p) {
		m.lost(old, messages.ReasonPastLife, out)
	}
	m.linked.Add(p)
}

// sync makes a peer a neighbor, or ends that, by the views and the sessions as
// they are, and tells. The session with one that is no neighbor any more is
// released.
func (m *Machine) sync(p overlay.Peer, why messages.Reason, out *overlay.Effects) {
	should := m.linked.Has(p) && (m.view.Has(p) || m.in.Has(p))
	switch is := m.up.Has(p); {
	case should && !is:
		m.up.Add(p)
		out.Notify(overlay.NeighborUp{Peer: p})
	case !should && is:
		m.up.Remove(p)
		out.Notify(overlay.NeighborDown{Peer: p, Reason: why})
		if m.linked.Remove(p) {
			out.Disconnect(p, why)
		}
	}
}

func (m *Machine) linkDown(ev overlay.LinkDown, out *overlay.Effects) {
	if ev.Dial && ev.Contact != "" && ev.Contact == m.joining {
		m.joining = ""
		out.CancelTimer(overlay.Timer{Kind: timerContact})
		m.contact(out)
		return
	}
	m.lost(ev.Peer, ev.Reason, out)
}

// lost takes a peer that cannot be reached out of both views. When the view is
// empty the node subscribes anew.
func (m *Machine) lost(p overlay.Peer, why messages.Reason, out *overlay.Effects) {
	had := m.view.Has(p)
	m.remove(p)
	m.in.Remove(p)
	m.welcome.Remove(p)
	m.linked.Remove(p)
	m.sync(p, why, out)
	if had && m.view.Len() == 0 {
		m.resubscribe(out)
	}
}

// remove takes a peer out of the partial view.
func (m *Machine) remove(p overlay.Peer) bool {
	for i, q := range m.view.All() {
		if q.Same(p) {
			m.view.Remove(p)
			m.until = slices.Delete(m.until, i, i+1)
			return true
		}
	}
	return false
}

// keep puts a subscriber into the partial view, for the time of its lease, and
// tells it.
func (m *Machine) keep(p overlay.Peer, out *overlay.Effects) {
	if old, ok := m.view.Find(p.Name); ok {
		if m.linked.Has(old) {
			return // that life is there; this one is of the past, or made up
		}
		m.remove(old)
	}
	if m.view.Len() >= m.cfg.MaxView {
		q, _ := m.view.Random(m.cfg.Rand, nil)
		m.drop(q, out)
	}
	m.view.Add(p)
	until := overlay.Never
	if m.cfg.Lease > 0 {
		until = m.now.Add(m.cfg.Lease)
	}
	m.until = append(m.until, until)
	if m.linked.Has(p) {
		out.Send(p, &messages.ScampKeep{})
		m.sync(p, "", out)
	} else {
		out.Connect(p)
	}
}

// drop takes a peer out of the partial view and tells it.
func (m *Machine) drop(p overlay.Peer, out *overlay.Effects) {
	if m.remove(p) {
		if m.linked.Has(p) {
			out.Send(p, &messages.ScampDrop{})
		}
		m.sync(p, messages.ReasonClosed, out)
	}
}

// leave unsubscribes (section 3.2): all but c+1 of those who have us get a peer
// of our view instead, so that the number of links falls as it rose.
func (m *Machine) leave(out *overlay.Effects) {
	m.left = true
	for i, p := range m.in.All() {
		msg := &messages.ScampLeave{}
		if i < m.in.Len()-m.cfg.C-1 && m.view.Len() > 0 {
			if q := m.view.All()[i%m.view.Len()]; !q.Same(p) {
				msg.Instead = overlay.Ref(q)
			}
		}
		if m.linked.Has(p) {
			out.Send(p, msg)
		}
	}
	for _, p := range m.view.All() {
		if m.linked.Has(p) && !m.in.Has(p) {
			out.Send(p, &messages.ScampLeave{})
		}
	}
	for _, p := range m.linked.All() {
		if m.up.Has(p) {
			out.Notify(overlay.NeighborDown{Peer: p, Reason: messages.ReasonClosed})
		}
		out.Disconnect(p, messages.ReasonClosed)
	}
	for _, k := range []overlay.TimerKind{timerHeartbeat, timerRenew, timerRejoin, timerContact} {
		out.CancelTimer(overlay.Timer{Kind: k})
	}
	m.view, m.in, m.linked, m.up, m.welcome, m.until = overlay.View{}, overlay.View{}, overlay.View{}, overlay.View{}, overlay.View{}, nil
}

// String is the views, on one line.
func (m *Machine) String() string {
	return fmt.Sprintf("view=%v in=%v linked=%v", &m.view, &m.in, &m.linked)
}

// Check implements overlay.Checker.
func (m *Machine) Check() error {
	switch {
	case m.view.Len() > m.cfg.MaxView || m.in.Len() > m.cfg.MaxView:
		return fmt.Errorf("scamp: views of %d and %d with room for %d", m.view.Len(), m.in.Len(), m.cfg.MaxView)
	case m.view.Len() != len(m.until):
		return fmt.Errorf("scamp: %d leases for a view of %d", len(m.until), m.view.Len())
	}
	for _, v := range []*overlay.View{&m.view, &m.in} {
		if _, ok := v.Find(m.cfg.Self.Name); ok {
			return fmt.Errorf("scamp: itself in a view: %v", m)
		}
	}
	for _, p := range m.linked.All() {
		if should := m.view.Has(p) || m.in.Has(p); should != m.up.Has(p) {
			return fmt.Errorf("scamp: %s is a neighbor or not: %v", p, m)
		}
	}
	for _, p := range m.up.All() {
		if !m.linked.Has(p) {
			return fmt.Errorf("scamp: the neighbor %s has no session: %v", p, m)
		}
	}
	return nil
}

var (
	_ overlay.Machine = (*Machine)(nil)
	_ overlay.Checker = (*Machine)(nil)
)
