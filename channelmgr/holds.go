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
	up       map[life][]string // owners told LinkUp
	waiting  map[life]*wait    // owners that wait for a link
	contacts map[string]*wait  // the same, by address
}

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
	h.up = make(map[life][]string)
	h.waiting = make(map[life]*wait)
	h.contacts = make(map[string]*wait)
}

// give notes a hold. mu is held.
func (h *holds) give(k life, owner string) {
	if owner != lanes && !slices.Contains(h.up[k], owner) {
		h.up[k] = append(h.up[k], owner)
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

// first gives an instance a hold on an inbound session at its first frame and
// returns what its host is to be told; nil if it has one.
func (h *holds) first(s *Session, instance string) *messages.LinkUp {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := lifeOf(s.peer)
	if slices.Contains(h.up[k], instance) {
		return nil
	}
	if w := h.waiting[k]; w != nil && slices.Contains(w.owners, instance) {
		return nil // its Connect is about to be answered
	}
	h.up[k] = append(h.up[k], instance)
	l := s.linkAt(true, 0)
	if l == nil {
		return nil
	}
	return linkUp(l, "", true)
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

// down tells all holders that a session's link is gone; their holds go with it.
func (m *manager) down(peer overlay.Peer, why messages.Reason) {
	h := &m.r.holds
	h.mu.Lock()
	k := lifeOf(peer)
	owners := h.up[k]
	delete(h.up, k)
	h.mu.Unlock()
	for _, o := range owners {
		m.report(o, &messages.LinkDown{Peer: nodeRef(peer), Reason: string(why)})
	}
}
