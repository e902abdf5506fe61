package roster

import (
	"maps"
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// maxContacts bounds the contacts of a node.
const maxContacts = 1024

// rejoinEvery is the mean time after which a joining node asks a contact
// again.
const rejoinEvery = 2 * time.Second

// contact is an address to be called.
type contact struct {
	phase phase
	tries int
	seed  bool         // named by a Join: kept for ever
	asked bool         // a Join waits for its answer; otherwise the merge timer called
	peer  overlay.Peer // the life that answered last
}

// phase is where a contact stands.
type phase uint8

const (
	phaseIdle    phase = iota // the merge timer may call it
	phaseDialing              // a Connect is not answered yet
	phaseWaiting              // to be called when its timer fires
	phasePending              // linked, and has not told all yet
)

// onJoin calls contacts. They are called again until one answers, for ever. Who
// joins calls them one after the other, in any order, without waiting for
// answers: each that lets it in tells it everything.
func (m *Machine) onJoin(ev overlay.Join, out *overlay.Effects) {
	m.taken, m.told = overlay.Peer{}, false // we try for our name again
	var calls []string
	for _, c := range ev.Contacts {
		switch {
		case slices.Contains(m.self.Addrs, c.Addr):
			out.Notify(JoinFailed{Contact: c.Addr, Reason: messages.ReasonSelf})
			continue
		case c.Addr == "" || len(c.Addr) > maxName || len(m.contacts) >= maxContacts && m.contacts[c.Addr] == nil:
			out.Notify(JoinFailed{Contact: c.Addr, Reason: messages.ReasonLimit})
			continue
		}
		if m.leaving { // left is final for the generation: we come as the next
			m.leaving, m.self.Leaving = false, false
			m.raise(m.self.Generation, out)
		}
		k := m.contacts[c.Addr]
		if k == nil {
			k = &contact{}
			m.contacts[c.Addr] = k
		}
		k.seed, k.asked, k.tries = true, true, 0
		if !slices.Contains(calls, c.Addr) {
			calls = append(calls, c.Addr)
		}
	}
	if !m.joined {
		m.cfg.Rand.Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
	}
	for i, addr := range calls {
		if k := m.contacts[addr]; i == 0 || m.joined {
			m.call(addr, out)
		} else if k.phase == phaseIdle {
			k.phase = phaseWaiting
			out.SetTimer(contactTimer(addr), time.Duration(i)*m.cfg.Grace/2)
		}
	}
}

// forget drops contacts; one that is being dialed is dropped with its answer.
func (m *Machine) forget(contacts []string, out *overlay.Effects) {
	for _, addr := range contacts {
		switch k := m.contacts[addr]; {
		case k == nil:
		case k.phase == phaseDialing:
			k.seed, k.asked = false, false
		case k.phase == phaseWaiting:
			out.CancelTimer(contactTimer(addr))
			delete(m.contacts, addr)
		default:
			delete(m.contacts, addr)
		}
	}
}

func contactTimer(addr string) overlay.Timer { return overlay.Timer{Kind: timerContact, Peer: addr} }

// call dials a contact, unless that is under way.
func (m *Machine) call(addr string, out *overlay.Effects) {
	k := m.contacts[addr]
	if k == nil || m.leaving || k.phase == phaseDialing || k.phase == phasePending {
		return
	}
	if k.phase == phaseWaiting {
		out.CancelTimer(contactTimer(addr))
	}
	k.phase = phaseDialing
	out.Connect(overlay.Peer{Addr: addr})
}

// onLinkUp: a contact answered, or somebody who called us speaks.
func (m *Machine) onLinkUp(ev overlay.LinkUp, out *overlay.Effects) {
	k := m.contacts[ev.Contact]
	if ev.Peer.Name == m.self.Peer.Name {
		out.Disconnect(ev.Peer, messages.ReasonNameTaken)
		m.nameTaken(NameTaken{Contact: ev.Contact, By: ev.Peer}, out)
		if k != nil {
			m.retry(ev.Contact, k, out)
		}
		return
	}
	if old, ok := m.visits[ev.Peer.Name]; ok && !old.Same(ev.Peer) {
		m.endVisit(old, out)
	}
	m.answered(ev.Peer)
	m.lives(ev.Peer, out)
	m.visits[ev.Peer.Name] = ev.Peer
	out.SetTimer(visitTimer(ev.Peer), 2*m.cfg.Sync)
	m.notAlone(out)
	if ev.Known > 0 && !ev.Inbound {
		m.raise(ev.Known, out) // §5: g+1 before it becomes visible
	}
	if e := m.table.get(ev.Peer.Name); e != nil && e.status >= StatusDown && e.rec.Peer.Incarnation == ev.Peer.Incarnation && ev.Generation <= e.rec.Generation {
		// We had declared it down: it must know, so that it returns.
		out.Send(ev.Peer, &messages.RosterUpdate{Claims: []*messages.RosterClaim{m.claimOf(e)}})
	}
	if k != nil && k.asked {
		k.phase, k.tries, k.peer = phasePending, 0, ev.Peer
		out.Send(ev.Peer, &messages.RosterDigest{Joining: true})
		return
	}
	if k != nil && k.seed {
		k.phase, k.tries, k.peer = phaseIdle, 0, ev.Peer
	} else {
		delete(m.contacts, ev.Contact)
	}
	m.sendSelf(ev.Peer, out)
	m.sendDigest(ev.Peer, out)
	if k != nil && !ev.Inbound {
		out.Notify(Met{ev.Peer})
	}
}

// onLinkDown: a call came to nothing, or a session on which we have a hold is
// gone.
func (m *Machine) onLinkDown(ev overlay.LinkDown, out *overlay.Effects) {
	if k := m.contacts[ev.Contact]; k != nil && ev.Contact != "" {
		m.callFailed(ev, k, out)
		return
	}
	if m.missed(ev, out) {
		return
	}
	if p, ok := m.visits[ev.Peer.Name]; !ok || !p.Same(ev.Peer) {
		return
	}
	delete(m.visits, ev.Peer.Name)
	out.CancelTimer(visitTimer(ev.Peer))
	m.vias = slices.DeleteFunc(m.vias, ev.Peer.Same)
	m.parted(ev, out)
	for _, addr := range m.seeds() {
		if k := m.contacts[addr]; k.peer.Same(ev.Peer) && (k.phase == phasePending || k.phase == phaseIdle && !m.joined) {
			k.asked = true
			m.retry(addr, k, out)
		}
	}
	m.checkAlone(out)
}

// callFailed: a contact did not answer, or refused.
func (m *Machine) callFailed(ev overlay.LinkDown, k *contact, out *overlay.Effects) {
	if k.asked {
		out.Notify(JoinFailed{Contact: ev.Contact, Reason: ev.Reason})
	}
	again := k.asked
	switch ev.Reason {
	case messages.ReasonSelf:
		delete(m.contacts, ev.Contact)
		return
	case messages.ReasonDown: // it will let our next generation in
		g := m.self.Generation
		if m.raise(ev.Known, out) && m.self.Generation > g {
			k.tries = 0
		}
		again = again || k.tries < 2
	case messages.ReasonNameTaken:
		if k.asked {
			m.nameTaken(NameTaken{Contact: ev.Contact}, out)
		}
	}
	switch {
	case again:
		m.retry(ev.Contact, k, out)
	case k.seed:
		k.phase, k.tries, k.peer = phaseIdle, 0, overlay.Peer{}
	default:
		delete(m.contacts, ev.Contact)
	}
}

// retry calls a contact again after a pause that grows.
func (m *Machine) retry(addr string, k *contact, out *overlay.Effects) {
	most := m.cfg.RetryMax
	if m.joined {
		most = max(most, m.cfg.Merge)
	}
	wait := min(most, m.cfg.RetryMin<<min(k.tries, 16))
	if wait < m.cfg.RetryMin { // the shift overflowed
		wait = most
	}
	k.tries++
	k.phase, k.peer = phaseWaiting, overlay.Peer{}
	out.SetTimer(contactTimer(addr), m.jitter(wait))
}

// pending reports whether a contact is about to tell us all.
func (m *Machine) pending() bool {
	for _, k := range m.contacts {
		if k.phase == phasePending {
			return true
		}
	}
	return false
}

// onSynced: a contact has told us all it knows. Now we may be seen: our record
// goes out. We have joined when it comes back from a second member.
func (m *Machine) onSynced(from overlay.Peer, out *overlay.Effects) {
	if p, ok := m.visits[from.Name]; !ok || !p.Same(from) {
		out.Reject(from, messages.ReasonBadFrame)
		return
	}
	asked := false
	for _, addr := range m.seeds() {
		if k := m.contacts[addr]; k.phase == phasePending && k.peer.Same(from) {
			k.phase, k.asked, asked = phaseIdle, false, true
		}
	}
	if !asked {
		return // answered twice
	}
	if !m.visible {
		m.visible = true
		if !m.cfg.Tree { // else the contact and our neighbors tell it, with others that join now
			m.spread(m.ownNews(), from, out)
		}
	}
	m.sendSelf(from, out)
	m.sendDigest(from, out)
	if m.joined {
		out.Notify(Joined{Via: from})
		return
	}
	m.vias = append(m.vias, from)
	out.SetTimer(overlay.Timer{Kind: timerEcho}, m.cfg.Grace+m.cfg.Suspicion)
	m.tryJoin(out)
}

// onEcho: a member says what it knows of us.
func (m *Machine) onEcho(from overlay.Peer, you state, out *overlay.Effects) {
	if you.sameLife(m.selfState()) && !you.final() {
		m.taken, m.told = overlay.Peer{}, false // our name is ours here
	}
	if m.joined || !you.sameLife(m.selfState()) || slices.Contains(m.echoes, from.Name) {
		return
	}
	if len(m.echoes) < 2 { // two names differ from any one contact's
		m.echoes = append(m.echoes, from.Name)
	}
	m.tryJoin(out)
}

// tryJoin ends joining if a contact that we know has told all and a second
// member knows us, or there is none.
func (m *Machine) tryJoin(out *overlay.Effects) {
	if m.joined {
		return
	}
	for _, v := range m.vias {
		if e := m.table.get(v.Name); e == nil || e.status >= StatusDown {
			continue // the contact is joining itself: its record is on its way
		}
		second := slices.ContainsFunc(m.echoes, func(name string) bool { return name != v.Name })
		others := slices.ContainsFunc(m.table.order, func(e *entry) bool { return e.status < StatusDown && e.rec.Peer.Name != v.Name })
		if second || !others {
			m.join(out)
			return
		}
	}
}

// join ends joining, also when the wait for a second member is over.
func (m *Machine) join(out *overlay.Effects) {
	if m.joined || len(m.vias) == 0 {
		return // a contact that is gone again is being called
	}
	m.joined = true
	out.CancelTimer(overlay.Timer{Kind: timerEcho})
	for _, v := range m.vias {
		out.Notify(Joined{Via: v})
	}
	m.vias, m.echoes = nil, nil
	for _, addr := range m.seeds() { // who is of the same cluster as those that answered need not be called
		if k := m.contacts[addr]; k.phase == phaseWaiting && k.asked && m.isMember(addr, k.peer) {
			k.phase, k.asked, k.tries = phaseIdle, false, 0
			out.CancelTimer(contactTimer(addr))
		}
	}
}

func visitTimer(p overlay.Peer) overlay.Timer { return overlay.Timer{Kind: timerVisit, Peer: p.Name} }

// onVisitOver releases a hold of our own: if an overlay wants the session, it
// has a hold too.
func (m *Machine) onVisitOver(name string, out *overlay.Effects) {
	p, ok := m.visits[name]
	if !ok {
		return
	}
	for _, k := range m.contacts {
		if k.phase == phasePending && k.peer.Same(p) {
			out.SetTimer(visitTimer(p), 2*m.cfg.Sync)
			return
		}
	}
	m.endVisit(p, out)
	m.checkAlone(out)
}

// endVisit releases our hold on the session with a life, if we have one.
func (m *Machine) endVisit(p overlay.Peer, out *overlay.Effects) {
	if v, ok := m.visits[p.Name]; ok && v.Same(p) {
		delete(m.visits, p.Name)
		out.CancelTimer(visitTimer(p))
		out.Disconnect(v, messages.ReasonClosed)
	}
}

func (m *Machine) seeds() []string { return slices.Sorted(maps.Keys(m.contacts)) }
