package channelmgr

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Of two control links to one peer the second breaks the first, and what was just
// written on that is lost: a request to join, say. Of two data links for one place
// the first ends in order while it is young, and breaks later. So handshakes with
// one peer go one after the other, as far as this node can tell who will answer:
// dials wait for dials to the same address and for the peer's own, and need not go
// on if a link stands by then.

// place is what a link is for.
type place struct {
	control bool
	index   uint8
	relayed bool // over a circuit
}

// welcome is a peer's link that is being accepted.
type welcome struct {
	place
	peer  overlay.Peer
	addrs []string
	done  chan struct{}
}

// turn registers an attempt when it is its turn. It fails if a link stands.
func (r *Registry) turn(ctx context.Context, a *attempt) *handshake.Error {
	for patient := true; ; patient = false {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return &handshake.Error{Reason: messages.ReasonStopped, Err: ErrClosed}
		}
		rival := r.rival(a, patient)
		if rival == nil {
			defer r.mu.Unlock()
			if r.stands(a) {
				return needless()
			}
			a.done = make(chan struct{})
			r.attempts[a.id] = a
			return nil
		}
		r.mu.Unlock()
		select {
		case <-rival:
		case <-ctx.Done():
			return &handshake.Error{Reason: messages.ReasonTimeout, Err: ctx.Err()}
		}
	}
}

// rival is the end of a handshake that would give an attempt's peer a link. A peer
// that dials again and again is waited for once. mu is held.
func (r *Registry) rival(a *attempt, patient bool) <-chan struct{} {
	same := overlay.Peer.Same
	if a.control && !a.relayed { // whoever answers there
		same = func(p, q overlay.Peer) bool { return p.Addr == q.Addr }
	}
	for _, b := range r.attempts {
		if b.place == a.place && same(b.peer, a.peer) {
			return b.done
		}
	}
	for w := range r.welcomes {
		if patient && w.place == a.place && (w.peer.Same(a.peer) || a.peer.IsContact() && slices.Contains(w.addrs, a.peer.Addr)) {
			return w.done
		}
	}
	return nil
}

// stands reports whether a link stands in the place that an attempt is for. mu is
// held.
func (r *Registry) stands(a *attempt) bool {
	s := r.lives[lifeOf(a.peer)]
	switch {
	case a.peer.IsContact():
		return r.reached(a.peer.Addr) != nil
	case s == nil:
		return false
	case a.control && !a.relayed:
		return s.Direct()
	}
	l := s.linkAt(a.control, a.index)
	return l != nil && !l.failed.Load() && !l.leaving.Load() && (a.control || l.relayed == a.relayed)
}

// needless is the answer to an attempt to make a link that stands.
func needless() *handshake.Error {
	return &handshake.Error{Reason: messages.ReasonDuplicate, Err: errors.New("a link stands")}
}

// reached is the control link to the node at an address, nil if there is none: one
// that was dialed there, for a peer may claim any address. By another name of the
// node, behind which there may be several, it is one just dialed. mu is held.
func (r *Registry) reached(addr string) *link {
	for _, s := range r.lives {
		if l := s.linkAt(true, 0); l != nil && s.Direct() && l.at == addr && (s.peer.Addr == addr || r.young(l)) {
			return l
		}
	}
	return nil
}

// standing is the control link to the node at an address, or to the one that
// answered there.
func (r *Registry) standing(addr string, theirs life) *link {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.lives[theirs]; s != nil && s.Direct() {
		return s.linkAt(true, 0)
	}
	return r.reached(addr)
}

// young: the other side may know of the link for less time than a handshake takes.
func (r *Registry) young(l *link) bool { return r.now()-l.since < r.cfg.Timing.HandshakeTimeout }

// attempted takes an attempt that has ended off the books.
func (r *Registry) attempted(a *attempt) {
	r.mu.Lock()
	delete(r.attempts, a.id)
	r.mu.Unlock()
	close(a.done)
}

// dials returns a dial from here that is about to give a peer the link that it asks
// for. mu is held.
func (r *Registry) dials(h handshake.Hello, at place) *attempt {
	for _, a := range r.attempts {
		if a.place == at && (a.peer.Same(h.Peer()) || a.peer.IsContact() && slices.Contains(h.Addrs, a.peer.Addr)) {
			return a
		}
	}
	return nil
}

// callWait bounds how long a peer's call waits for another handshake with it. Our
// choice.
const callWait = time.Second

// queue returns with mu held, after it has waited for the end of another handshake
// for the place that a peer's call is for: of our own call, if the peer is the
// smaller, which refuses our call while it dials itself, so that its answer to ours
// may be on the way; or of another call of its, to another address of ours.
func (r *Registry) queue(h handshake.Hello, at place) {
	r.mu.Lock()
	other := r.other(h, at)
	if other == nil {
		return
	}
	r.mu.Unlock()
	timer := time.NewTimer(callWait)
	defer timer.Stop()
	select {
	case <-other:
	case <-timer.C:
	case <-r.ctx.Done():
	}
	r.mu.Lock()
}

// other is the end of that handshake, nil if there is none. mu is held.
func (r *Registry) other(h handshake.Hello, at place) <-chan struct{} {
	if ours := r.dials(h, at); ours != nil && ours.calling && h.Peer().Compare(r.Self()) < 0 {
		return ours.done
	}
	for w := range r.welcomes {
		if w.place == at && w.peer.Same(h.Peer()) {
			return w.done
		}
	}
	return nil
}

// welcomed: the handshake of a peer's link has ended.
func (r *Registry) welcomed(w *welcome) {
	r.mu.Lock()
	delete(r.welcomes, w)
	r.mu.Unlock()
	close(w.done)
}

// fresh: the peer has dialed a link only just. If it calls again it has called two of
// our addresses; or it has lost the link already, and then it calls once more.
func (r *Registry) fresh(l *link) bool {
	return !l.dialed && r.now()-l.since < min(r.cfg.Timing.BackoffMin, callWait)
}

// heard: a link lives as far as we can tell. A peer that has called a contact need
// not have known that it is us.
func (r *Registry) heard(l *link) bool {
	return r.now()-time.Duration(l.lastRead.Load()) < r.cfg.Timing.Heartbeat
}
