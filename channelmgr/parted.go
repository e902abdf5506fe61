package channelmgr

import "maps"

// maxParted bounds how many peers' flows are remembered after their sessions
// have ended. Our choice.
const maxParted = 256

// parted are the receiving ends of flows from peers whose sessions have ended
// here. A peer that was wrongly declared down, and has not done the same to us,
// goes on where it was: what it sends again must not arrive twice. The
// registry's lock guards it.
type parted struct {
	m     map[life]partedFlows
	order []life // oldest first
}

type partedFlows struct {
	in    map[string]*inbound
	epoch uint64
}

// keep remembers the flows of a session that ends. What its links still bring
// belongs to these flows or is not taken any more.
func (p *parted) keep(s *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parted = true
	if len(s.in) == 0 {
		return
	}
	k := lifeOf(s.peer)
	if p.m == nil {
		p.m = make(map[life]partedFlows)
	}
	if _, had := p.m[k]; !had {
		p.order = append(p.order, k)
	}
	p.m[k] = partedFlows{in: maps.Clone(s.in), epoch: s.inEpoch}
	for ; len(p.order) > maxParted; p.order = p.order[1:] {
		delete(p.m, p.order[0])
	}
}

// restore gives a new session with a life that was there before the flows of
// then.
func (p *parted) restore(s *Session) {
	if f, ok := p.m[lifeOf(s.peer)]; ok {
		s.in, s.inEpoch = maps.Clone(f.in), f.epoch
	}
}
