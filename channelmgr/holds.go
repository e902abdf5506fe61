package channelmgr

import (
	"slices"
	"sync"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// holds are the owners' claims on sessions. The manager changes them; readers
// of links look here whether an overlay's first frame is news. They outlive a
// restart of the manager.
type holds struct {
	mu       sync.Mutex
	up       map[life][]hold  // of owners told LinkUp
	waiting  map[life]*wait   // owners that wait for a link
	contacts map[string]*wait // the same, by address
	passed   uint64           // the number of the last frame for any host
}

// hold is an owner's claim on a session.
type hold struct {
	owner        string
	passed, seen uint64 // the last of the session's frames for its host, and the last that the host has taken
}

func holdOf(owner string) func(hold) bool { return func(h hold) bool { return h.owner == owner } }

// lanes stands among owners for the lanes of a session, which want a link while
// they have something to send. They keep no hold: a session that nobody holds
// is closed when it idles.
const lanes = ""

// wait is who waits for a link to a peer.
type wait struct {
	peer   overlay.Peer
	owners []string
	dial   uint64 // the attempt in progress; 0 none: the peer is expected to dial

	refusals int           // dials refused because the peer dials or has a link
	until    time.Duration // when that is no reason to try again any more
}

func (h *holds) init() {
	h.up = make(map[life][]hold)
	h.waiting = make(map[life]*wait)
	h.contacts = make(map[string]*wait)
}

// give notes a hold. mu is held.
func (h *holds) give(k life, owner string) {
	if owner != lanes && !slices.ContainsFunc(h.up[k], holdOf(owner)) {
		h.up[k] = append(h.up[k], hold{owner: owner})
	}
}

// await notes that an owner waits for a link to a peer. It reports whether it is the
// first. The mutex of holds is held.
func await[K comparable](in map[K]*wait, k K, p overlay.Peer, owner string) (fresh bool) {
	w := in[k]
	if fresh = w == nil; fresh {
		w = &wait{peer: p}
		in[k] = w
	}
	if !slices.Contains(w.owners, owner) {
		w.owners = append(w.owners, owner)
	}
	return fresh
}

// awaited is who waits for a peer or a contact, nil if nobody does. mu is held.
func (h *holds) awaited(p overlay.Peer) *wait {
	if p.IsContact() {
		return h.contacts[p.Addr]
	}
	return h.waiting[lifeOf(p)]
}

// dials counts the dials in progress for nobody but lanes.
func (h *holds) dials() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, w := range h.waiting {
		if len(w.owners) == 1 && w.owners[0] == lanes {
			n++
		}
	}
	return n
}

// pass numbers a frame for an instance's host. On an inbound session the first gives
// the instance a hold, and up is what its host is to be told before. A frame of a
// session without a link is not passed.
func (h *holds) pass(s *Session, instance string) (up *messages.LinkUp, number uint64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.passed++
	k := lifeOf(s.peer)
	i := slices.IndexFunc(h.up[k], holdOf(instance))
	if w := h.waiting[k]; i < 0 && w != nil && slices.Contains(w.owners, instance) {
		return nil, h.passed, true // its Connect is about to be answered
	}
	if i < 0 {
		l := s.linkAt(true, 0)
		if l == nil {
			return nil, 0, false
		}
		up = linkUp(l, "", true)
		h.up[k] = append(h.up[k], hold{owner: instance})
		i = len(h.up[k]) - 1
	}
	h.up[k][i].passed = h.passed
	return up, h.passed, true
}

// taken: an instance's host has taken a frame.
func (h *holds) taken(k life, instance string, number uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.IndexFunc(h.up[k], holdOf(instance)); i >= 0 {
		h.up[k][i].seen = max(h.up[k][i].seen, number)
	}
}

// seen is the last frame that an instance's host has taken, of the session that it has
// a hold on.
func (h *holds) seen(k life, instance string) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.IndexFunc(h.up[k], holdOf(instance)); i >= 0 {
		return h.up[k][i].seen
	}
	return 0
}

func linkUp(l *link, contact string, inbound bool) *messages.LinkUp {
	up := &messages.LinkUp{Peer: nodeRef(l.s.peer), Generation: l.s.Generation(), Contact: contact, Inbound: inbound}
	if l.dialed { // what an acceptor remembers is told to the dialer only
		up.Known = l.known
	}
	return up
}

// unanswered returns the peers and contacts that owners wait for, sorted. After
// a restart of the manager their dials may have ended in a report that is lost.
func (h *holds) unanswered() []overlay.Peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []overlay.Peer
	for _, w := range h.waiting {
		if w.dial != 0 {
			list = append(list, w.peer)
		}
	}
	for addr := range h.contacts { // in a pause between two dials as well
		list = append(list, overlay.Peer{Addr: addr})
	}
	slices.SortFunc(list, overlay.Peer.Compare)
	return list
}

// held reports whether anyone has a hold on a session or waits for it.
func (h *holds) held(p overlay.Peer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.up[lifeOf(p)]) > 0 || h.waiting[lifeOf(p)] != nil
}

func (m *manager) onDisconnect(msg *messages.Disconnect) {
	k := lifeOf(peerOf(msg.GetPeer()))
	if l := m.release(k, msg.GetOwner(), msg.GetSeen()); l != nil {
		m.r.count("crossed_disconnects")
		m.report(msg.GetOwner(), linkUp(l, "", true))
	}
}

// release takes an owner's hold on a session, and its wait for one. If a frame is on
// its way to the owner's host, who may want the session for that, the hold stays, and
// the session's link is returned.
func (m *manager) release(k life, owner string, seen uint64) *link {
	h := &m.r.holds
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.waiting[k]; w != nil {
		if w.owners = slices.DeleteFunc(w.owners, func(s string) bool { return s == owner }); len(w.owners) == 0 {
			delete(h.waiting, k)
		}
	}
	i := slices.IndexFunc(h.up[k], holdOf(owner))
	if i < 0 {
		return nil
	}
	if s := m.r.lifeSession(k); s != nil && h.up[k][i].passed > seen {
		if l := s.linkAt(true, 0); l != nil {
			return l
		}
	}
	if h.up[k] = slices.Delete(h.up[k], i, i+1); len(h.up[k]) == 0 {
		delete(h.up, k)
	}
	return nil
}

// down tells all holders that a session's link is gone; their holds go with it.
func (m *manager) down(peer overlay.Peer, why messages.Reason) {
	h := &m.r.holds
	h.mu.Lock()
	k := lifeOf(peer)
	owners := h.up[k]
	delete(h.up, k)
	h.mu.Unlock()
	for _, o := range owners {
		m.report(o.owner, &messages.LinkDown{Peer: nodeRef(peer), Reason: string(why)})
	}
}
