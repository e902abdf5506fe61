package channelmgr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// attempt is a dial in progress.
type attempt struct {
	id uint64
	place
	peer    overlay.Peer // name empty: a contact
	trial   bool         // over a way that may be none any more: it is not worth a search
	calling bool         // its peer may have heard of it; with the registry's lock
	done    chan struct{}
	theirs  overlay.Peer // who refused it, since a link stands
}

// hello is what this node says for a link.
func (r *Registry) hello(control bool, index uint8, expect string) handshake.Hello {
	self := r.Self()
	h := handshake.Hello{
		Class: handshake.Bulk, Index: index, Cluster: r.cfg.Cluster, Name: self.Name, Incarnation: self.Incarnation,
		Generation: r.Generation(), Expect: expect, MaxMessage: uint32(r.limits().MaxMessage), Codecs: []string{"protobuf", "bytes", codecNames[S2], codecNames[Zstd]},
	}
	h.Addrs = append([]string{self.Addr}, r.cfg.Advertise...)
	if len(r.cfg.Advertise) > 0 {
		h.Addrs = h.Addrs[:1]
		for _, a := range r.cfg.Advertise {
			if a != self.Addr && len(h.Addrs) < 8 {
				h.Addrs = append(h.Addrs, a)
			}
		}
	}
	if control {
		h.Class = handshake.Control
	}
	return h
}

// dial opens one link. It blocks for the dial and the handshake.
func (r *Registry) dial(a *attempt) (*link, *handshake.Error) {
	timing := &r.cfg.Timing
	ctx, cancel := context.WithTimeout(r.ctx, timing.DialTimeout+timing.HandshakeTimeout)
	defer cancel()
	if err := r.turn(ctx, a); err != nil {
		return nil, err
	}
	defer r.attempted(a)
	if a.relayed {
		select {
		case r.circuits.dials <- struct{}{}:
			defer func() { <-r.circuits.dials }()
		case <-ctx.Done():
			return nil, &handshake.Error{Reason: messages.ReasonTimeout, Err: ctx.Err()}
		}
	}
	select {
	case r.handshakes <- struct{}{}:
		defer func() { <-r.handshakes }()
	case <-ctx.Done():
		return nil, &handshake.Error{Reason: messages.ReasonTimeout, Err: ctx.Err()}
	}
	r.mu.Lock()
	stands := r.stands(a) // since it waited
	a.calling = !stands
	r.mu.Unlock()
	if stands {
		return nil, needless()
	}
	further := r.lifeSession(lifeOf(a.peer)) != nil
	conn, sec, err := net.Conn(nil), r.cfg.Security, error(nil)
	if a.relayed {
		sec = r.overRelays
		conn, err = r.dialCircuit(a.peer, a.control, a.trial)
	} else {
		dctx, dcancel := context.WithTimeout(ctx, timing.DialTimeout)
		conn, err = r.cfg.Transport.Dial(dctx, a.peer.Addr)
		dcancel()
	}
	if err != nil {
		why := reasonOf(err)
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() || errors.Is(err, context.DeadlineExceeded) {
			why = messages.ReasonTimeout
		}
		return nil, &handshake.Error{Reason: why, Err: err}
	}
	hctx, hcancel := context.WithTimeout(ctx, timing.HandshakeTimeout)
	defer hcancel()
	st, theirs, answer, err := handshake.Dial(hctx, conn, sec, r.hello(a.control, a.index, a.peer.Name))
	if err != nil {
		he := new(handshake.Error)
		errors.As(err, &he)
		r.count("handshake_" + string(he.Reason))
		a.theirs = theirs.Peer()
		return nil, he
	}
	peer := theirs.Peer()
	if !a.peer.IsContact() {
		if peer.Incarnation != a.peer.Incarnation {
			_ = st.Close()
			return nil, &handshake.Error{Reason: messages.ReasonWrongName, Err: fmt.Errorf("another life of %q answered at %s", peer.Name, a.peer.Addr)}
		}
	}
	circuit, _ := conn.(*circuitConn)
	if circuit != nil {
		circuit.settled()
	}
	fresh := &link{
		circuit: circuit, id: a.id, index: a.index, control: a.control, dialed: true, relayed: a.relayed, stream: st, known: answer.Known, further: further, at: a.peer.Addr,
	}
	if a.peer.IsContact() {
		fresh.contact = a.peer.Addr
	}
	l, why := r.register(fresh, peer, theirs)
	if why != "" {
		_ = st.Close()
		return nil, &handshake.Error{Reason: why, Err: fmt.Errorf("a link to %q is not kept", peer.Name)}
	}
	return l, nil
}

// Serve accepts links until Close. It returns at once.
func (r *Registry) Serve() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener == nil || r.closed {
		return
	}
	r.wg.Add(1)
	go r.accept(r.listener)
}

func (r *Registry) accept(ln net.Listener) {
	defer r.wg.Done()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || r.ctx.Err() != nil {
				return
			}
			// Out of descriptors, say: existing links live on, and we try again.
			r.count("accept_errors")
			select {
			case <-time.After(50 * time.Millisecond):
			case <-r.ctx.Done():
				return
			}
			continue
		}
		select {
		case r.handshakes <- struct{}{}:
			r.wg.Add(1)
			go func() {
				defer r.wg.Done()
				defer func() { <-r.handshakes }()
				r.welcome(conn, false)
			}()
		default:
			r.count("handshake_" + string(messages.ReasonLimit))
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			handshake.Busy(conn)
			_ = conn.Close()
		}
	}
}

// welcome does the acceptor's part of a handshake.
func (r *Registry) welcome(conn net.Conn, relayed bool) {
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Timing.HandshakeTimeout)
	defer cancel()
	sec := r.cfg.Security
	if relayed {
		sec = r.overRelays
	}
	further := false
	w := &welcome{done: make(chan struct{})}
	defer r.welcomed(w)
	decide := func(h handshake.Hello, _ net.Addr) (handshake.Hello, handshake.Answer) {
		further = r.lifeSession(lifeOf(h.Peer())) != nil
		return r.decide(h, relayed, w)
	}
	st, theirs, answer, err := handshake.Accept(ctx, conn, sec, r.cfg.Cluster, decide)
	if theirs.Class == handshake.Look { // it was answered, and is nobody's link
		r.count("handshake_look")
		if err == nil {
			_ = st.Close()
		}
		return
	}
	if err != nil {
		he := new(handshake.Error)
		errors.As(err, &he)
		r.count("handshake_" + string(he.Reason))
		if he.Reason != messages.ReasonDuplicate && r.ctx.Err() == nil {
			r.log.Info("a peer was refused", "remote", conn.RemoteAddr().String(), "reason", string(he.Reason), "error", err)
		}
		return
	}
	circuit, _ := conn.(*circuitConn)
	if circuit != nil {
		circuit.settled()
	}
	l, why := r.register(&link{
		circuit: circuit, id: r.nextLink.Add(1), index: theirs.Index, control: theirs.Class == handshake.Control, relayed: relayed, stream: st, known: answer.Known, further: further,
	}, theirs.Peer(), theirs)
	if why != "" {
		_ = st.Close()
		return
	}
	r.adopt(l)
}

// decide is our verdict on a dialer, and notes whom w welcomes. It takes no long
// lock, and waits for another handshake with the same peer only.
func (r *Registry) decide(h handshake.Hello, relayed bool, w *welcome) (handshake.Hello, handshake.Answer) {
	control := h.Class == handshake.Control
	mine := r.hello(control, h.Index, "")
	refuse := func(why messages.Reason, known uint64, detail string) (handshake.Hello, handshake.Answer) {
		return mine, handshake.Answer{Reason: why, Known: known, Detail: detail}
	}
	self, peer := r.Self(), h.Peer()
	switch {
	case peer.Same(self):
		return refuse(messages.ReasonSelf, 0, "the address is your own")
	case h.Expect != "" && h.Expect != self.Name:
		return refuse(messages.ReasonWrongName, 0, "this is node "+self.Name)
	}
	at := place{control: control, index: h.Index, relayed: relayed}
	if h.Class == handshake.Look {
		r.mu.Lock()
	} else {
		r.queue(h, at)
	}
	blocked := r.blocked[h.Name]
	current := r.Session(h.Name)
	s := r.lives[lifeOf(peer)]
	smaller := self.Compare(peer) < 0
	dialing := r.dials(h, at) != nil
	if h.Class != handshake.Look && !(dialing && smaller) {
		w.place, w.peer, w.addrs = at, peer, h.Addrs
		r.welcomes[w] = struct{}{}
	}
	r.mu.Unlock()
	if blocked {
		return refuse(messages.ReasonDisconnected, 0, "links to this node are blocked by its operator")
	}
	var known uint64
	if f := r.admission.Load(); f != nil {
		why, k := (*f)(Newcomer{
			Peer: peer, Generation: h.Generation, Addrs: h.Addrs,
			LinkAlive: current != nil && current.peer.Incarnation != peer.Incarnation && current.Linked(),
		})
		if why != "" {
			return refuse(why, k, "see the reason")
		}
		known = k
	}
	if h.Class == handshake.Look {
		return mine, handshake.Answer{Known: known}
	}
	if dialing && smaller {
		return refuse(messages.ReasonDuplicate, known, "a dial from here is on its way")
	}
	if control && !relayed && r.crowded(0) && (s == nil || !s.Direct()) {
		return refuse(messages.ReasonLimit, known, "this node has as many links as its limits.max_connections")
	}
	if s != nil {
		old := s.linkAt(control, h.Index)
		switch {
		case old == nil || old.failed.Load() || old.relayed && !relayed:
		case !old.relayed && relayed, old.dialed && smaller && r.young(old), control && (h.Expect == "" && r.heard(old) || r.fresh(old)):
			return refuse(messages.ReasonDuplicate, known, "a link stands")
		}
	}
	if !control && (s == nil || !s.Linked() || relayed == s.direct.Load()) {
		return refuse(messages.ReasonRefused, known, "a data link needs a control link first")
	}
	return mine, handshake.Answer{Known: known}
}

func (s *Session) linkAt(control bool, index uint8) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if control {
		return s.control
	}
	return s.links[index]
}

// register gives a fresh link its place in the session, or says why it is not
// kept. Of two links for one place the one dialed by the smaller (name,
// incarnation) stays; of two by the same side the newer.
func (r *Registry) register(l *link, peer overlay.Peer, theirs handshake.Hello) (*link, messages.Reason) {
	generation := theirs.Generation
	l.packs.understands(theirs.Codecs)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, messages.ReasonStopped
	}
	if r.blocked[peer.Name] {
		r.mu.Unlock()
		return nil, messages.ReasonDisconnected
	}
	if l.further && r.lives[lifeOf(peer)] == nil { // declared down since: this does not bring it back
		r.mu.Unlock()
		return nil, messages.ReasonDown
	}
	s := r.ensure(peer, generation)
	if s.Generation() > generation {
		r.mu.Unlock()
		return nil, messages.ReasonDown
	}
	s.mu.Lock()
	old := s.links[l.index]
	if l.control {
		old = s.control
	}
	why := messages.Reason("")
	smaller := r.Self().Compare(peer) < 0
	fromSmaller := func(l *link) bool { return l.dialed == smaller }
	switch {
	case s.ended != "":
		why = cmp.Or(s.ended, messages.ReasonClosed)
	case !l.control && s.control == nil:
		why = messages.ReasonRefused
	case len(s.links) >= r.limits().MaxLinksPerPeer && old == nil && !l.control:
		why = messages.ReasonLimit
	case old != nil && !old.failed.Load() && !old.relayed && l.relayed:
		why = messages.ReasonDuplicate // what needs no relay stays
	case !l.control && (s.control.relayed != l.relayed || l.relayed && l.index == relayIndex):
		why = messages.ReasonRefused
	case old != nil && !old.failed.Load() && old.relayed == l.relayed && fromSmaller(old) && !fromSmaller(l) && r.young(old):
		why = messages.ReasonDuplicate
	}
	if why == "" {
		l.s, l.since, l.previous = s, r.now(), old
		if l.control {
			l.previous, s.behind = cmp.Or(old, s.behind), nil
		}
		l.done, l.finished = make(chan struct{}), make(chan struct{})
		now := int64(r.now())
		l.lastRead.Store(now)
		l.lastWrite.Store(now)
		if l.control {
			s.control = l
		} else {
			l.shy.Store(!l.dialed)
			if s.links == nil {
				s.links = make(map[uint8]*link)
			}
			s.links[l.index] = l
		}
		r.links[l.id] = l
		if !l.relayed {
			r.counters.connections.Add(1)
		}
		r.firstLink.CompareAndSwap(0, max(now, 1))
	}
	s.mu.Unlock()
	r.mu.Unlock()
	if why != "" {
		return nil, why
	}
	// The one before ends in order if it lives: then all that was written on it
	// arrives. Of two that both sides dialed at once that is true as well.
	orderly := old != nil && !old.failed.Load() && (old.relayed && !l.relayed ||
		!l.control && (old.leaving.Load() || old.dialed != l.dialed && r.young(old)))
	var rest []segment
	switch {
	case old == nil:
	case !orderly:
		old.fail(messages.ReasonDuplicate, nil)
	case !l.control:
		rest = s.leave(old)
	}
	if l.index >= MaxLanes { // a named channel's: perhaps bulk
		l.stream.Pace()
	}
	if !l.shy.Load() {
		s.carry(l)
	}
	if !l.control && !l.relayed {
		s.govern()
	}
	if orderly {
		old.retire(rest)
	}
	return l, ""
}

// carry gives a link the pipe of its place, unless another has taken that place
// meanwhile: two that come at once must not be attached in the other order. Nor is
// one attached that leaves: what a peer wrote on it before it heard of that may be
// the first that comes.
func (s *Session) carry(l *link) {
	s.carrying.Lock()
	defer s.carrying.Unlock()
	s.mu.Lock()
	p, last := s.pipes[l.index], s.links[l.index]
	switch {
	case l.control:
		if p, last = s.ctl, s.control; last == l && l.relayed {
			s.direct.Store(false)
		}
	case l.leaving.Load():
		p = nil
	case last == l && l.dialed:
		p = s.pipe(l.index) // to greet on it
	}
	s.mu.Unlock()
	if p == nil || last != l {
		return
	}
	p.attach(l)
	if !l.control {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control == l && s.ended == "" { // who finds it linked can write on it
		s.direct.Store(!l.relayed)
		s.linked.Store(true)
		s.reportAnew.Store(true)
		s.retell.Store(true)
	}
}

// leave takes a data link that ends in order away from its pipe, and returns what
// is left of a message that was written in part.
func (s *Session) leave(l *link) (rest []segment) {
	s.carrying.Lock()
	defer s.carrying.Unlock()
	s.mu.Lock()
	l.leaving.Store(true)
	p := s.pipes[l.index]
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link == l {
		for _, ln := range p.lanes {
			rest = ln.takeOrphans(rest)
		}
	}
	p.lose(l)
	return rest
}

// detach takes a link away from the pipe that it carries. It reports whether
// something waits for another.
func (s *Session) detach(l *link) (waits bool) {
	if l.control {
		return s.ctl.detach(l)
	}
	s.mu.Lock()
	p := s.pipes[l.index]
	s.mu.Unlock()
	return p != nil && p.detach(l)
}
