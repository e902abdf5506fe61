package channelmgr

import (
	"sync"
	"sync/atomic"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// gateBytes bounds what waits at a gate, our choice; beyond it nothing is read.
const gateBytes = 1 << 20

// gate keeps a control link's frames until the link before it has been read to its
// end. What has no order across links passes: heartbeats, what overlays say (they
// use links of their own only), the segments of circuits, among which may be the
// last of the very one that is waited for, and the end of the link.
type gate struct {
	opened chan struct{}

	open  atomic.Bool // set with mu
	mu    sync.Mutex
	kept  [][]byte
	bytes int
}

// passes reports whether frames of a kind need not wait.
func (g *gate) passes(k frame.Kind) bool {
	switch k {
	case frame.KindPing, frame.KindPong, frame.KindOverlay, frame.KindRelay, frame.KindClose:
		return true
	}
	return false
}

// waits reports whether a frame has to wait, and keeps a copy then.
func (g *gate) waits(raw []byte) bool {
	if g.open.Load() || g.passes(frame.Kind(raw[4])) {
		return false
	}
	g.mu.Lock()
	if g.bytes > gateBytes && !g.open.Load() {
		g.mu.Unlock()
		<-g.opened
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	if g.open.Load() {
		return false
	}
	g.kept = append(g.kept, append([]byte(nil), raw...))
	g.bytes += len(raw)
	return true
}

// pass opens the gate of a link, that may have ended meanwhile: first goes what was
// kept.
func (g *gate) pass(l *link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, raw := range g.kept {
		if err := l.take(raw); err != nil {
			l.fail(reasonOf(err), err)
			break
		}
	}
	g.kept = nil
	g.open.Store(true)
	close(g.opened)
}

// follow has a control link's frames wait for the end of the one before it.
func (l *link) follow(old *link) {
	g := &gate{opened: make(chan struct{})}
	l.gate = g
	go func() {
		l.outwait(old)
		g.pass(l)
	}()
}

// outwait returns when the link before has been read to its end. A circuit that
// gives way to a link ends in order, but the way that it needs may be gone.
func (l *link) outwait(old *link) {
	if old.relayed && !l.relayed {
		old.circuit.await(old.done, &l.failed, 2*l.s.r.cfg.Timing.Heartbeat, func() { old.fail(messages.ReasonSilent, nil) })
	}
	<-old.done
}

// leaveGate: the reader of a control link has ended. Who holds the session hears of
// that at once; who follows on the link waits for the gate.
func (l *link) leaveGate() {
	s := l.s
	s.mu.Lock()
	s.behind = l
	s.mu.Unlock()
	s.r.linkEnded(l)
	<-l.gate.opened
	close(l.done)
	s.mu.Lock()
	if s.behind == l {
		s.behind = nil
	}
	s.mu.Unlock()
}
