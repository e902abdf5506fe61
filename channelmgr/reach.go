package channelmgr

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

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
		case s != nil && s.Linked() && s.rtt.Load() > 0:
			m.report(w.owner, &messages.Measured{Peer: nodeRef(w.peer), CostNs: s.rtt.Load()})
			return true
		case now-w.since > t.DialTimeout:
			return true
		case s == nil || !s.Linked():
			m.connect(w.peer, lanes)
		}
		return false
	})
}
