package channelmgr

import (
	"maps"
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// wanted stands for the control link among the indices of links that are to be
// opened.
const wanted = 1 << 8

// shortcut stands there for a link to a peer that a session over relays does not
// reach in time.
const shortcut = 1 << 9

// hotBytes is how much a circuit carries between two ticks when it is hot.
const hotBytes = 32 << 10

// onWanted opens what a session needs.
func (m *manager) onWanted(msg *messages.OpenLink) {
	peer := peerOf(msg.GetPeer())
	s := m.r.lifeSession(lifeOf(peer))
	switch i := msg.GetIndex(); {
	case s == nil:
	case i == shortcut:
		m.shortcut(s, true)
	case i != wanted:
		m.onOpenLink(peer, uint8(i))
	case !s.Linked():
		m.reach(s)
	}
}

// reach opens the session with a peer, as the policy says: by a link of its own
// or over relays. Where that fails it is tried the other way.
func (m *manager) reach(s *Session) {
	k := lifeOf(s.peer)
	relay, trial := m.r.cfg.Routing == RelayOnly, false
	if m.r.cfg.Routing == Adaptive {
		// To search a way takes a broadcast, a fraction of a millisecond of every
		// member's time; a dial takes some milliseconds of two.
		relay = m.r.hop(k) != nil || m.full() && !m.yield()
		trial = relay && m.r.hop(k) != nil
	}
	if m.r.cfg.Routing == DirectFirst && m.r.crowded(0) {
		relay = !m.yield()
	}
	if m.failures[dataLink{life: k, control: true}] > 0 {
		relay, trial = !m.relayed[k], false
	}
	m.relayed[k] = relay
	if !relay && m.r.cfg.Routing != RelayOnly {
		m.connect(s.peer, lanes)
		return
	}
	if !m.relaying[k] {
		m.relaying[k] = true
		m.dial(&attempt{peer: s.peer, place: place{control: true, relayed: true}, trial: trial})
	}
}

// mayOpen reports whether an attempt to open a session over relays may begin now;
// else it waits for others to end. Each costs every relay on its way several
// segments, and each end a place among its handshakes: what a node begins all at
// once comes back to it as what it cannot accept.
func (m *manager) mayOpen(a *attempt) bool {
	if m.room() {
		return true
	}
	m.due = append(m.due, a)
	return false
}

func (m *manager) room() bool {
	c := &m.r.circuits
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.opening) < max(m.r.cfg.Limits.MaxHandshakes/4, 1)
}

// opens notes an attempt to open a session over relays, and opened its end: not with
// the manager, whose successor is to know of both.
func (r *Registry) opens(a *attempt) {
	r.circuits.mu.Lock()
	defer r.circuits.mu.Unlock()
	r.circuits.opening[a.id] = lifeOf(a.peer)
}

func (r *Registry) opened(a *attempt) {
	r.circuits.mu.Lock()
	defer r.circuits.mu.Unlock()
	delete(r.circuits.opening, a.id)
}

// openings finds the attempts that a predecessor began.
func (m *manager) openings() {
	c := &m.r.circuits
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.opening {
		m.relaying[k] = true
	}
}

// openNext lets attempts that wait begin, as far as there is room.
func (m *manager) openNext() {
	for len(m.due) > 0 && m.room() {
		a := m.due[0]
		m.due[0] = nil
		m.due = m.due[1:]
		s := m.r.lifeSession(lifeOf(a.peer))
		if s != nil && !s.Linked() {
			m.dial(a)
			continue
		}
		delete(m.relaying, lifeOf(a.peer)) // it has ended, or the peer has opened it
		if s != nil {
			m.reopen(s)
		}
	}
}

// firstLink is how long a session over relays is left to the peer that opens it,
// and then its first data link.
const firstLink = time.Second

// theirs is how long the peer is given to dial the first data link of a session
// that it has opened over relays, since it has something to send: else both dial
// it, when both have.
func (m *manager) theirs(s *Session) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.control; l != nil && l.relayed && !l.dialed && len(s.links) == 0 {
		return l.since + firstLink - m.r.now()
	}
	return 0
}

// forget drops what is known of attempts to reach peers whose sessions have
// ended.
func (m *manager) forget() {
	maps.DeleteFunc(m.relayed, func(k life, _ bool) bool { return m.r.lifeSession(k) == nil })
	maps.DeleteFunc(m.failures, func(d dataLink, _ int) bool { return m.r.lifeSession(d.life) == nil })
}

// straighten moves the data links of a session that has a link of its own now
// off the circuits on which this side has dialed them, one dial for each: of two
// the second would break the first.
func (m *manager) straighten(s *Session) {
	s.mu.Lock()
	var list []uint8
	for i, l := range s.links {
		p := s.pipes[i]
		if !l.relayed || !l.dialed || p == nil {
			continue
		}
		p.mu.Lock()
		if p.dialing == 0 && p.ended == "" {
			p.dialing++
			list = append(list, i)
		}
		p.mu.Unlock()
	}
	s.mu.Unlock()
	slices.Sort(list)
	for _, i := range list {
		m.dial(&attempt{peer: s.peer, place: place{index: i}})
	}
}

// shorten opens a link to those with whom much is exchanged over relays.
func (m *manager) shorten() {
	if m.r.cfg.Routing != Adaptive {
		return
	}
	m.r.circuits.mu.Lock()
	list := make([]*circuitConn, 0, len(m.r.circuits.m))
	for _, c := range m.r.circuits.m {
		list = append(list, c)
	}
	m.r.circuits.mu.Unlock()
	for _, c := range list {
		if c.took() < hotBytes {
			continue
		}
		if s := m.r.lifeSession(lifeOf(c.peer)); s != nil {
			m.shortcut(s, false)
		}
	}
}

// shortcut opens a link to a peer with which a session over relays stands, if there
// is room, or another may yield and does.
func (m *manager) shortcut(s *Session, yield bool) {
	if s.Linked() && !s.Direct() && (!m.full() || yield && m.yield()) {
		m.connect(s.peer, lanes)
	}
}

// shortcuts are the sessions with links beyond the overlays that we opened, and
// nil for each dial for one.
func (m *manager) shortcuts() []*Session {
	list := make([]*Session, m.r.holds.dials())
	for _, s := range m.r.allSessions() {
		if l := s.linkAt(true, 0); l != nil && l.dialed && !l.relayed && !m.r.holds.held(s.peer) {
			list = append(list, s)
		}
	}
	return list
}

// crowded reports whether there are, with others that are being opened, as many
// links as this node is to have. Then it opens no lane and no shortcut, refuses who
// has no link with it yet, and closes shortcuts that have been quiet. Whom its own
// overlays want it dials all the same, and a channel's first link is always opened:
// without it a session carries nothing. Peers whose handshakes are under way at once,
// MaxHandshakes at most, can go beyond it, too.
func (r *Registry) crowded(opening int) bool {
	return r.counters.connections.Load()+int64(opening) >= int64(r.limits().MaxConnections)
}

// full reports whether no shortcut may be opened besides those that there are.
func (m *manager) full() bool {
	if m.r.crowded(0) {
		m.r.count("connections_full")
		return true
	}
	return len(m.shortcuts()) >= m.r.cfg.Shortcuts
}

// yieldAfter is how long a shortcut must have been quiet to give way to
// another.
const yieldAfter = 250 * time.Millisecond

// yield closes the shortcut that has been quiet for longest, so that another can
// be opened. It reports false if all are in use.
func (m *manager) yield() bool {
	var quiet *Session
	since := m.r.now() - yieldAfter
	for _, s := range m.shortcuts() {
		if s == nil {
			continue
		}
		last := time.Duration(0)
		for _, l := range s.allLinks() {
			last = max(last, l.since)
			if !l.control {
				last = max(last, time.Duration(l.lastRead.Load()), time.Duration(l.lastWrite.Load()))
			}
		}
		if last < since {
			quiet, since = s, last
		}
	}
	if quiet == nil {
		return false
	}
	for _, l := range quiet.allLinks() {
		if !l.control {
			m.idle(quiet, l) // the control link follows when nobody has used it for a while
		}
	}
	return true
}

// unlinked: a dial for lanes came to nothing. It is repeated after a while that
// grows, as long as something waits.
func (m *manager) unlinked(peer overlay.Peer) {
	s := m.r.lifeSession(lifeOf(peer))
	if s == nil {
		return
	}
	k := dataLink{life: lifeOf(peer), control: true}
	m.failures[k]++
	wait := min(m.r.cfg.Timing.BackoffMin<<min(m.failures[k]-1, 10), m.r.cfg.Timing.BackoffMax)
	for _, p := range s.allPipes() {
		p.mu.Lock()
		waits := p.link == nil && p.ended == "" && !p.empty()
		p.opening = waits
		p.mu.Unlock()
		if waits {
			m.later(wait, &messages.OpenLink{Peer: nodeRef(peer), Index: uint32(p.index)})
			return
		}
	}
}

// measure is a wish for the round trip to a peer.
type measure struct {
	peer  overlay.Peer
	owner string
	since time.Duration
}

// maxMeasures bounds the round trips that are waited for.
const maxMeasures = 256

// measure answers who wants to know a round trip that is known, and dials whom
// it is not known of. After the time of a dial a wish is dropped.
func (m *manager) measure() {
	t := &m.r.cfg.Timing
	now := m.r.now()
	if len(m.measures) > maxMeasures {
		m.measures = m.measures[len(m.measures)-maxMeasures:]
	}
	m.measures = slices.DeleteFunc(m.measures, func(w measure) bool {
		s := m.r.lifeSession(lifeOf(w.peer))
		switch {
		case s != nil && s.Direct() && s.rtt.Load() > 0:
			m.report(w.owner, &messages.Measured{Peer: nodeRef(w.peer), CostNs: s.rtt.Load()})
			return true
		case now-w.since > t.DialTimeout:
			return true
		case s == nil || !s.Direct():
			m.connect(w.peer, lanes)
		}
		return false
	})
}
