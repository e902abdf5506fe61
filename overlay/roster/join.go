package roster

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// onJoin calls contacts. They are called again until they answer.
func (m *Machine) onJoin(ev overlay.Join, out *overlay.Effects) {
	for _, c := range ev.Contacts {
		if c.Addr == "" || slices.Contains(m.self.Addrs, c.Addr) {
			continue
		}
		if k := m.contacts[c.Addr]; k == nil || k.once {
			m.contacts[c.Addr] = &contact{}
			m.call(c.Addr, out)
		}
	}
}

func (m *Machine) call(addr string, out *overlay.Effects) {
	k := m.contacts[addr]
	if k == nil || k.busy || m.leaving {
		return
	}
	k.busy = true
	out.Connect(overlay.Peer{Addr: addr})
}

// onLinkUp: a contact answered, or somebody calls us.
func (m *Machine) onLinkUp(ev overlay.LinkUp, out *overlay.Effects) {
	m.linked[ev.Peer.Name] = ev.Peer
	if k := m.contacts[ev.Contact]; ev.Contact != "" && k != nil {
		k.busy, k.tries, k.peer = false, 0, ev.Peer
		if k.once {
			delete(m.contacts, ev.Contact)
		}
	}
	if ev.Known >= m.self.Generation {
		m.raise(ev.Known, out) // §5: g+1 before it becomes visible
	}
	out.Send(ev.Peer, &messages.RosterUpdate{Records: [][]byte{m.raw}})
	m.sendDigest(ev.Peer, !ev.Inbound && !m.joined, out)
}

// onLinkDown: a call came to nothing, or a link of ours is gone.
func (m *Machine) onLinkDown(ev overlay.LinkDown, out *overlay.Effects) {
	if !ev.Dial {
		delete(m.linked, ev.Peer.Name)
		for _, k := range m.contacts {
			if k.peer.Same(ev.Peer) {
				k.peer = overlay.Peer{}
			}
		}
		return
	}
	k := m.contacts[ev.Contact]
	if k == nil {
		return
	}
	k.busy = false
	switch ev.Reason {
	case messages.ReasonSelf:
		delete(m.contacts, ev.Contact)
		return
	case messages.ReasonDown:
		m.raise(ev.Known, out)
		k.tries = 0
	case messages.ReasonNameTaken:
		out.Notify(NameTaken{Contact: ev.Contact})
	}
	out.Notify(JoinFailed{Contact: ev.Contact, Reason: ev.Reason})
	if k.once {
		delete(m.contacts, ev.Contact)
		return
	}
	wait := m.cfg.RetryMax
	if k.tries < 10 {
		wait = min(wait, m.cfg.RetryMin<<k.tries)
	}
	k.tries++
	out.SetTimer(overlay.Timer{Kind: timerContact, Peer: ev.Contact}, m.jitter(wait))
}

// onSynced: a contact has told us all it knows.
func (m *Machine) onSynced(from overlay.Peer, out *overlay.Effects) {
	if _, ok := m.linked[from.Name]; !ok {
		out.Reject(from, messages.ReasonBadFrame)
		return
	}
	if !m.joined {
		m.joined = true
	}
	out.Notify(Joined{Via: from})
}

// merge calls somebody who is not in our half: a member that is down or has
// not been heard of, or a seed at whose address no member is. It keeps halves
// from staying apart after a partition of any length.
func (m *Machine) merge(out *overlay.Effects) {
	var addrs []string
	for _, name := range m.names() {
		if e := m.entries[name]; e.status == StatusDown && m.contacts[e.rec.Peer.Addr] == nil {
			addrs = append(addrs, e.rec.Peer.Addr)
		}
	}
	for _, k := range m.seeds() {
		if c := m.contacts[k]; c.peer.IsContact() && !c.busy && !m.hasAlive(k) {
			addrs = append(addrs, k)
		}
	}
	if len(addrs) == 0 || m.leaving {
		return
	}
	addr := addrs[m.cfg.Rand.IntN(len(addrs))]
	if addr == "" {
		return
	}
	if m.contacts[addr] == nil {
		m.contacts[addr] = &contact{once: true}
	}
	m.call(addr, out)
}

func (m *Machine) seeds() []string {
	list := make([]string, 0, len(m.contacts))
	for a := range m.contacts {
		list = append(list, a)
	}
	slices.Sort(list)
	return list
}

func (m *Machine) hasAlive(addr string) bool {
	for _, e := range m.entries {
		if e.status < StatusDown && slices.Contains(e.rec.Addrs, addr) {
			return true
		}
	}
	return false
}

// onLeave says farewell.
func (m *Machine) onLeave(out *overlay.Effects) {
	if m.leaving {
		return
	}
	m.leaving = true
	m.spread(&messages.RosterUpdate{Claims: []*messages.RosterClaim{{
		Name: m.self.Peer.Name, Incarnation: uint64(m.self.Peer.Incarnation), Generation: m.self.Generation,
		Version: m.self.Version, Status: messages.RosterStatus_ROSTER_STATUS_LEFT, Observers: []string{m.self.Peer.Name},
	}}}, overlay.Peer{}, out)
	out.Notify(LeaveDone{})
}

// onResumed: this process was suspended. What it thinks of others is old: all
// deadlines begin anew before anyone is accused.
func (m *Machine) onResumed(out *overlay.Effects) {
	for _, name := range m.names() {
		e := m.entries[name]
		if e.lost && e.status == StatusAlive {
			out.SetTimer(overlay.Timer{Kind: timerGrace, Peer: name}, m.cfg.Grace+time.Second)
		}
		if e.status == StatusSuspect {
			out.SetTimer(overlay.Timer{Kind: timerSuspect, Peer: name}, m.cfg.Suspicion+time.Second)
		}
	}
}
