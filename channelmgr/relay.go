package channelmgr

import (
	"sync"
	"time"

	"github.com/maquis-go/maquis/channelmgr/circuit"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/overlay"
)

// DefaultMaxHops is how many links a way over relays has at most, unless told
// otherwise.
const DefaultMaxHops = 32

// Bounds of relaying, our choice.
const (
	relayIndex    = 255     // of the data link that carries the circuits of others
	relayQueue    = 4 << 20 // bytes that wait for one neighbor; what is beyond is dropped
	maxWantedWays = 4096
)

// ways are the routes of the moment: to which neighbor what is for a node goes.
// Whoever finds them sets them; the data path looks them up without a lock.
type ways struct {
	next sync.Map // life -> overlay.Peer

	mu     sync.Mutex
	asked  map[life]time.Duration // when a way was last asked for
	failed map[life]overlay.Peer  // by which neighbor there was no way, of late
	finder func(to, not overlay.Peer)
}

func (r *Registry) initRelays() {
	r.ways.asked, r.ways.failed = make(map[life]time.Duration), make(map[life]overlay.Peer)
	r.circuits.m, r.circuits.opening = make(map[circuitKey]*circuitConn), make(map[uint64]life)
	r.circuits.dials = make(chan struct{}, max(r.cfg.Limits.MaxHandshakes/2, 1))
}

// SetFinder sets who is asked for a way to a node, at most twice a second for
// each, and told which neighbor leads nowhere. It must not block; its answer is
// SetWay or NoWay.
func (r *Registry) SetFinder(f func(to, not overlay.Peer)) {
	r.ways.mu.Lock()
	defer r.ways.mu.Unlock()
	r.ways.finder = f
}

// SetWay sets the neighbor by which a life of a node is reached. Without one
// there is no way now.
func (r *Registry) SetWay(to, via overlay.Peer) {
	if via.Name == "" {
		r.ways.next.Delete(lifeOf(to))
		return
	}
	old, had := r.ways.next.Swap(lifeOf(to), via)
	if !had || !old.(overlay.Peer).Same(via) {
		for _, c := range r.circuitsTo(lifeOf(to)) {
			c.again(had)
		}
	}
}

// NoWay tells that a node was searched in vain: circuits to it end.
func (r *Registry) NoWay(to overlay.Peer) {
	for _, c := range r.circuitsTo(lifeOf(to)) {
		c.kill()
	}
}

// want asks for a way, or for another than there is.
func (r *Registry) want(to overlay.Peer) {
	now := r.now()
	w := &r.ways
	k := lifeOf(to)
	w.mu.Lock()
	last, asked := w.asked[k]
	if w.finder == nil || asked && now-last < wantEvery {
		w.mu.Unlock()
		return
	}
	if len(w.asked) >= maxWantedWays {
		clear(w.asked)
	}
	w.asked[k] = now
	not := w.failed[k]
	delete(w.failed, k)
	f := w.finder
	w.mu.Unlock()
	if via, ok := w.next.Load(k); ok {
		not = via.(overlay.Peer)
	}
	f(to, not)
}

// noWayBy notes that a relay on the way to a node has none on.
func (r *Registry) noWayBy(k life) {
	w := &r.ways
	via, ok := w.next.LoadAndDelete(k)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failed) >= maxWantedWays {
		clear(w.failed)
	}
	w.failed[k] = via.(overlay.Peer)
}

// hop is the session over which what is for a node goes next; nil if there is
// none.
func (r *Registry) hop(to life) *Session {
	if s := r.near(to); s != nil {
		return s
	}
	return r.around(to)
}

// around is the session with the relay to a node; nil if no way is known.
func (r *Registry) around(to life) *Session {
	if via, ok := r.ways.next.Load(to); ok {
		return r.near(lifeOf(via.(overlay.Peer)))
	}
	return nil
}

// near is the session with a peer to which a link of its own stands.
func (r *Registry) near(k life) *Session {
	if s := r.Session(k.name); s != nil && s.peer.Incarnation == k.incarnation && s.direct.Load() {
		return s
	}
	return nil
}

// relay sends a segment of ours. It reports false if there is no way. When a link
// to the peer stands, which has taken the circuit's place, the control link brings
// its end; bulk still goes around, rather than over a link of its own, unless that
// is in vain or the peer does not.
func (r *Registry) relay(m frame.Relay, direct bool) bool {
	first, other := r.around, r.near
	if m.Control || direct {
		first, other = other, first
	}
	s := first(lifeOf(m.To))
	if s == nil {
		s = other(lifeOf(m.To))
	}
	if s == nil {
		return false
	}
	s.pass(m.Control, frameSize(m), func(dst []byte) []byte { return frame.AppendRelay(dst, m) })
	return true
}

// showsWay learns the way back to who begins a circuit, if none is known: the
// answer is to find it without a search.
func (r *Registry) showsWay(l *link, m frame.Relay) {
	if m.Flags&circuit.Open != 0 && m.Number == 1 {
		r.ways.next.LoadOrStore(lifeOf(m.From), l.s.peer)
	}
}

func frameSize(m frame.Relay) int { return 128 + len(m.From.Name) + len(m.To.Name) + len(m.Body) }

// pass queues a relay frame for a neighbor. It never blocks: what there is no
// room for is dropped, counted.
func (s *Session) pass(control bool, size int, enc func(dst []byte) []byte) {
	if control {
		s.ctl.frames(enc)
		return
	}
	s.mu.Lock()
	p := s.pipe(relayIndex)
	s.mu.Unlock()
	p.mu.Lock()
	if p.ended != "" {
		p.mu.Unlock()
		return
	}
	if p.relays == nil {
		p.relays = &lane{pipe: p}
		p.lanes = append(p.lanes[:len(p.lanes):len(p.lanes)], p.relays)
	}
	ln := p.relays
	if ln.q.bytes+size > relayQueue {
		p.mu.Unlock()
		s.r.count("relay_overflow")
		return
	}
	seg := ln.q.room(size)
	b := enc(seg.b)
	ln.q.set(seg, b)
	seg.frames++
	ln.queued++
	p.kick(ln.q.bytes <= inlineBytes)
}

// dropRelays drops what was to be passed on over a link of its own that is gone: over
// a circuit it must not go, which may lead back here, and even be its own. Who sent
// it sends it again.
func (p *pipe) dropRelays() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opening = false
	if p.relays != nil && p.relays.queued > 0 {
		p.s.r.counters.addN("relay_dropped", uint64(p.relays.queued))
		p.relays.q.drop()
		p.relays.queued = 0
	}
}

// onRelay takes a segment that is for this node, or passes it on.
func (l *link) onRelay(raw []byte) error {
	if l.relayed {
		return badFrame("bad_frame", "a relay frame over a circuit")
	}
	m, err := frame.ParseRelay(raw)
	if err != nil {
		return asFrameError(err)
	}
	r := l.s.r
	self := r.Self()
	if m.To.Same(self) {
		r.showsWay(l, m)
		r.arrived(m, l.s.peer.Same(m.From))
		return nil
	}
	next := r.hop(lifeOf(m.To))
	r.showsWay(l, m)
	switch {
	case int(m.Hops) >= r.cfg.MaxHops || m.From.Same(self):
		r.count("relay_loops")
	case next == nil || next == l.s:
		r.count("relay_no_route")
		if m.Flags&frame.NoRoute == 0 { // back where it came from
			back := frame.Relay{Control: true, Hops: 1, Circuit: m.Circuit, Flags: frame.NoRoute, From: m.To, To: m.From}
			l.s.pass(true, frameSize(back), func(dst []byte) []byte { return frame.AppendRelay(dst, back) })
		}
	default:
		r.relayed.Add(1)
		next.pass(m.Control, len(raw), func(dst []byte) []byte {
			at := len(dst)
			dst = append(dst, raw...)
			frame.SetHops(dst[at:], m.Hops+1)
			return dst
		})
	}
	return nil
}

// arrived takes a segment for this node.
func (r *Registry) arrived(m frame.Relay, direct bool) {
	r.circuits.mu.Lock()
	c := r.circuits.m[circuitKey{lifeOf(m.From), m.Circuit}]
	r.circuits.mu.Unlock()
	switch {
	case m.Flags&frame.NoRoute != 0:
		if c != nil {
			r.noWayBy(lifeOf(m.From))
			c.noRoute()
		}
		return
	case c == nil && m.Flags&circuit.Open != 0 && m.Number == 1:
		if c = r.acceptCircuit(m); c == nil {
			return
		}
	case c == nil:
		if m.Flags&circuit.Reset == 0 {
			r.relay(frame.Relay{Control: m.Control, Hops: 1, Circuit: m.Circuit, Flags: circuit.Reset, From: r.Self(), To: m.From}, false)
		}
		return
	}
	c.receive(m, direct)
}
