package channelmgr

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// manager is the channel manager actor: it decides which links are opened and
// closed and tells owners of holds. What it must not forget lives in the
// registry; a restarted manager takes up from there.
//
// It heeds Connect, Disconnect and OpenLink (orders), LinkEstablished,
// LinkFailed and LinkEnded (reports of link actors) and Tick. It sends LinkUp
// and LinkDown to the hosts of owners.
type manager struct {
	r        *Registry
	failures map[dataLink]int // dials that failed in a row
	relaying map[life]bool    // sessions that are being opened over relays
	relayed  map[life]bool    // whether the last attempt of a session that does not stand yet was so
	due      []*attempt       // those that wait for one of them to end
	measures []measure        // round trips that are asked for
	stop     context.CancelFunc
	lastTick time.Duration
}

// dataLink names a data link of a session, or with control its control link.
type dataLink struct {
	life    life
	index   uint8
	control bool
}

// ManagerProps describes the channel manager actor of a registry. Exactly one
// runs per registry; it registers itself with SetManager.
func ManagerProps(r *Registry) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor {
		return &manager{r: r, failures: make(map[dataLink]int), relaying: make(map[life]bool), relayed: make(map[life]bool)}
	})
}

// Receive implements actor.Actor.
func (m *manager) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actor.Started:
		m.r.SetManager(c.Self())
		m.lastTick = m.r.now()
		m.ticking(c.Self())
		m.takeUp()
	case *actor.Stopping, *actor.Restarting:
		if m.stop != nil {
			m.stop()
		}
	case *messages.Connect:
		m.onConnect(msg)
	case *messages.Disconnect:
		m.onDisconnect(msg)
	case *messages.Measure:
		m.measures = append(m.measures, measure{peerOf(msg.GetPeer()), msg.GetOwner(), m.r.now()})
		m.measure()
	case *messages.OpenLink:
		m.onWanted(msg)
	case *messages.LinkEstablished:
		m.onEstablished(msg)
		m.openNext()
	case *messages.LinkFailed:
		m.onFailed(msg)
		m.openNext()
	case *messages.LinkEnded:
		m.onEnded(msg)
	case *messages.Tick:
		m.onTick()
	}
}

// ticking sends Tick to the manager until it stops.
func (m *manager) ticking(self *actor.PID) {
	ctx, stop := context.WithCancel(m.r.ctx)
	m.stop = stop
	if !m.r.track() {
		return
	}
	go func() {
		defer m.r.wg.Done()
		t := time.NewTicker(m.r.cfg.Timing.Heartbeat / 2)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				m.r.cfg.System.Root.Send(self, &messages.Tick{})
			case <-ctx.Done():
				return
			}
		}
	}()
}

// takeUp finds what a predecessor left: links whose holders were not told,
// lanes that wait for a link, holds on sessions that are gone.
func (m *manager) takeUp() {
	m.r.mu.Lock()
	links := slices.Collect(maps.Values(m.r.links))
	m.r.mu.Unlock()
	slices.SortFunc(links, func(a, b *link) int { return cmp.Compare(a.id, b.id) })
	for _, l := range links {
		if !l.started.Load() {
			m.established(l)
		}
	}
	m.openings()
	for _, s := range m.r.allSessions() {
		for _, p := range s.allPipes() {
			p.mu.Lock()
			p.dialing = 0 // the report on that dial may be lost
			p.mu.Unlock()
		}
		m.reopen(s)
	}
	for _, p := range m.r.holds.unanswered() {
		m.dial(&attempt{peer: p, place: place{control: true}})
	}
	m.r.holds.mu.Lock()
	var gone []life
	for k := range m.r.holds.up {
		if s := m.r.lifeSession(k); s == nil || !s.Direct() {
			gone = append(gone, k)
		}
	}
	m.r.holds.mu.Unlock()
	for _, k := range gone {
		m.down(overlay.Peer{Name: k.name, Incarnation: k.incarnation}, messages.ReasonReset)
	}
}

func (r *Registry) lifeSession(k life) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lives[k]
}

func (m *manager) report(owner string, msg any) {
	if down, ok := msg.(*messages.LinkDown); ok && owner == lanes {
		m.unlinked(peerOf(down.GetPeer()))
		return
	}
	if host := m.r.host(owner); host != nil {
		m.r.cfg.System.Root.Send(host, msg)
	}
}

func (m *manager) onConnect(msg *messages.Connect) {
	m.connect(peerOf(msg.GetPeer()), msg.GetOwner())
}

// connect gives an owner a hold on the session with a peer, dialing it if need
// be.
func (m *manager) connect(peer overlay.Peer, owner string) {
	h := &m.r.holds
	h.mu.Lock()
	if peer.IsContact() {
		fresh := await(h.contacts, peer.Addr, peer, owner)
		h.mu.Unlock()
		if fresh {
			m.dial(&attempt{peer: peer, place: place{control: true}})
		}
		return
	}
	k := lifeOf(peer)
	s := m.r.lifeSession(k)
	if s != nil && s.Direct() {
		if l := s.linkAt(true, 0); l != nil {
			h.give(k, owner)
			h.mu.Unlock()
			m.report(owner, linkUp(l, "", !l.dialed))
			return
		}
	}
	fresh := await(h.waiting, k, peer, owner)
	h.mu.Unlock()
	if fresh {
		m.dial(&attempt{peer: peer, place: place{control: true}})
	}
}

// dial starts a link actor for an attempt, or has it wait; see mayOpen.
func (m *manager) dial(a *attempt) {
	if a.control && a.relayed && !m.mayOpen(a) {
		return
	}
	a.id = m.r.nextLink.Add(1)
	if a.control && a.relayed {
		m.r.opens(a)
	}
	if a.control && !a.relayed {
		m.r.holds.mu.Lock()
		if w := m.r.holds.awaited(a.peer); w != nil {
			w.dial = a.id
		}
		m.r.holds.mu.Unlock()
	}
	m.r.spawnLink(a.id, a)
}

func (m *manager) onEstablished(msg *messages.LinkEstablished) {
	m.r.mu.Lock()
	l := m.r.links[msg.GetLink()]
	m.r.mu.Unlock()
	if s := m.r.lifeSession(lifeOf(peerOf(msg.GetPeer()))); s != nil && !msg.GetControl() && !msg.GetInbound() {
		if s.dialed(uint8(msg.GetIndex())) { // the link is gone again
			m.onOpenLink(s.peer, uint8(msg.GetIndex()))
		}
	}
	if l != nil && !l.started.Load() {
		m.established(l)
	}
	if msg.GetContact() != "" { // answered even if the link is gone again
		m.contact(msg.GetContact(), l, messages.ReasonReset, 0)
	}
}

// established tells the holders that a session is up and lets the link's
// reader run, in this order: no frame overtakes its LinkUp.
func (m *manager) established(l *link) {
	if !l.control {
		delete(m.failures, dataLink{life: lifeOf(l.s.peer), index: l.index})
		l.start()
		l.s.tellChannels("")
		if l.relayed {
			m.reopen(l.s) // see theirs
		}
		return
	}
	k := lifeOf(l.s.peer)
	delete(m.failures, dataLink{life: k, control: true})
	delete(m.relayed, k)
	if l.relayed { // nobody has a hold on that
		delete(m.relaying, k)
		m.linked(l)
		return
	}
	h := &m.r.holds
	h.mu.Lock()
	var owners []string
	if w := h.waiting[k]; w != nil {
		owners = w.owners
		delete(h.waiting, k)
		for _, o := range owners {
			h.give(k, o)
		}
	}
	h.mu.Unlock()
	for _, o := range owners {
		m.report(o, linkUp(l, "", !l.dialed))
	}
	if l.contact != "" {
		m.contact(l.contact, l, "", 0)
	}
	m.linked(l)
	m.straighten(l.s)
}

// linked lets the reader of a control link run, and what waits be sent.
func (m *manager) linked(l *link) {
	l.start()
	if f := m.r.onLink.Load(); f != nil {
		(*f)(l.s.peer)
	}
	m.reopen(l.s)
}

// contact answers those who wait for a contact.
func (m *manager) contact(addr string, l *link, why messages.Reason, known uint64) {
	h := &m.r.holds
	h.mu.Lock()
	w := h.contacts[addr]
	if w == nil {
		h.mu.Unlock()
		return
	}
	owners := w.owners
	slices.Sort(owners)
	delete(h.contacts, addr)
	if l != nil {
		k := lifeOf(l.s.peer)
		for _, o := range owners {
			h.give(k, o)
		}
	}
	h.mu.Unlock()
	for _, o := range owners {
		if l != nil {
			m.report(o, linkUp(l, addr, false))
		} else {
			m.report(o, &messages.LinkDown{Peer: &messages.NodeRef{Addr: addr}, Reason: string(why), Known: known, Contact: addr, Dial: true})
		}
	}
}

func (m *manager) onFailed(msg *messages.LinkFailed) {
	peer, why := peerOf(msg.GetPeer()), messages.Reason(msg.GetReason())
	switch {
	case !msg.GetControl():
		m.dataFailed(peer, uint8(msg.GetIndex()))
		return
	case msg.GetRelayed():
		delete(m.relaying, lifeOf(peer))
		if why == messages.ReasonDuplicate { // the peer's own is on its way
			m.later(firstLink, &messages.OpenLink{Peer: msg.GetPeer(), Index: wanted})
		} else {
			m.unlinked(peer)
		}
		return
	}
	k, contact := lifeOf(peer), msg.GetContact()
	if contact != "" {
		peer = overlay.Peer{Addr: contact}
	}
	if why == messages.ReasonDuplicate && contact != "" { // somebody answered
		if l := m.r.standing(contact, k); l != nil {
			m.contact(contact, l, "", 0)
			return
		}
	}
	h := &m.r.holds
	h.mu.Lock()
	w := h.awaited(peer)
	if w == nil || w.dial != msg.GetLink() {
		h.mu.Unlock()
		return
	}
	now := m.r.now()
	if why == messages.ReasonDuplicate {
		// The peer's own dial is on its way here, or the peer has not noticed yet
		// that its link is gone. Either may come to nothing: after a while that
		// grows it is tried again, for as long as a handshake may take.
		if w.dial, w.refusals = 0, w.refusals+1; w.refusals == 1 {
			w.until = now + m.r.cfg.Timing.HandshakeTimeout
		}
		h.mu.Unlock()
		m.later(m.r.cfg.Timing.BackoffMin<<min(w.refusals-1, 10), &messages.LinkFailed{
			Peer: msg.GetPeer(), Contact: contact, Control: true, Reason: string(messages.ReasonTimeout),
		})
		return
	}
	if w.dial == 0 && now < w.until {
		peer = w.peer
		h.mu.Unlock()
		m.dial(&attempt{peer: peer, place: place{control: true}})
		return
	}
	if contact != "" {
		h.mu.Unlock()
		m.contact(contact, nil, why, msg.GetKnown())
		return
	}
	delete(h.waiting, k)
	h.mu.Unlock()
	for _, o := range w.owners {
		m.report(o, &messages.LinkDown{Peer: nodeRef(peer), Reason: string(why), Known: msg.GetKnown(), Dial: true})
	}
}

// later sends a message to the manager after a while.
func (m *manager) later(d time.Duration, msg any) {
	r := m.r
	time.AfterFunc(d, func() {
		if r.ctx.Err() == nil {
			r.tell(msg)
		}
	})
}

// onOpenLink dials a data link, or the session first.
func (m *manager) onOpenLink(peer overlay.Peer, index uint8) {
	s := m.r.lifeSession(lifeOf(peer))
	if s == nil {
		return
	}
	if s.linkAt(false, index) != nil { // reopened when that link has ended
		if s.Direct() {
			m.straighten(s)
		}
		return
	}
	if !s.Linked() {
		m.reach(s)
		return
	}
	s.mu.Lock()
	p := s.pipes[index]
	s.mu.Unlock()
	if p == nil {
		return
	}
	if index == relayIndex && !s.Direct() {
		p.dropRelays()
		return
	}
	if wait := m.theirs(s); wait > 0 {
		m.later(wait, &messages.OpenLink{Peer: nodeRef(peer), Index: uint32(index)})
		return
	}
	p.mu.Lock()
	ask := p.link == nil && p.ended == "" && p.dialing == 0
	if ask {
		p.dialing++
	}
	p.mu.Unlock()
	if ask {
		m.dial(&attempt{peer: s.peer, place: place{index: index, relayed: !s.Direct()}})
	}
}

// reopen asks for links for all lanes of a session that wait for one.
func (m *manager) reopen(s *Session) {
	for _, p := range s.allPipes() {
		p.mu.Lock()
		waits := p.link == nil && p.ended == "" && !p.empty()
		p.opening = p.opening || waits
		p.mu.Unlock()
		if waits {
			m.onOpenLink(s.peer, p.index)
		}
	}
}

// dialed: a dial of a data link has ended. It reports whether something waits for
// a link all the same.
func (s *Session) dialed(index uint8) (waits bool) {
	s.mu.Lock()
	p := s.pipes[index]
	s.mu.Unlock()
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing = 0
	return p.link == nil && p.ended == "" && !p.empty()
}

// dataFailed tries again after a while that grows with the failures.
func (m *manager) dataFailed(peer overlay.Peer, index uint8) {
	s := m.r.lifeSession(lifeOf(peer))
	if s == nil {
		return
	}
	s.dialed(index)
	k := dataLink{life: lifeOf(peer), index: index}
	m.failures[k]++
	wait := m.r.cfg.Timing.BackoffMin << min(m.failures[k]-1, 10)
	wait = min(wait, m.r.cfg.Timing.BackoffMax)
	m.later(wait, &messages.OpenLink{Peer: nodeRef(peer), Index: uint32(index)})
}

func (m *manager) onEnded(msg *messages.LinkEnded) {
	peer := peerOf(msg.GetPeer())
	s := m.r.lifeSession(lifeOf(peer))
	if !msg.GetControl() {
		if s != nil {
			s.tellChannels(messages.Reason(msg.GetReason()))
			m.reopen(s)
		}
		return
	}
	if s != nil && s.Linked() {
		return // it was replaced
	}
	m.down(peer, messages.Reason(msg.GetReason()))
	if s != nil {
		m.reopen(s) // what came while it was closing
	}
}
