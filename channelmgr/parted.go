package channelmgr

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/maquis-go/maquis/channelmgr/flow"
)

// maxParted bounds how many peers' flows are remembered after their sessions
// have ended. Our choice.
const maxParted = 256

// parted are the receiving ends of flows from peers whose sessions have ended
// here. A peer that was wrongly declared down, and has not done the same to us,
// goes on where it was: what it sends again must not arrive twice. The
// registry's lock guards it.
type parted struct {
	m     map[life]*partedFlows
	order []life // oldest first
}

// partedFlows are those of one life: as they were while links may still bring
// something, then packed.
type partedFlows struct {
	s     *Session // whose links those are; nil when there are none
	epoch uint64
	in    map[string]*inbound // channels on which something may be under way
	rest  map[string][]byte   // of all others the numbers of their flows
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
		p.m = make(map[life]*partedFlows)
	}
	if p.m[k] == nil {
		p.order = append(p.order, k)
	}
	p.m[k] = &partedFlows{s: s, in: maps.Clone(s.in), epoch: s.inEpoch}
	for ; len(p.order) > maxParted; p.order = p.order[1:] {
		delete(p.m, p.order[0])
	}
}

// restore gives a new session with a life that was there before the flows of
// then.
func (p *parted) restore(s *Session) {
	k := lifeOf(s.peer)
	f := p.m[k]
	if f == nil {
		return
	}
	delete(p.m, k)
	i := slices.Index(p.order, k)
	p.order = slices.Delete(p.order, i, i+1)
	s.in, s.inEpoch = f.in, f.epoch
	for name, b := range f.rest {
		c := newInbound(name, f.epoch)
		c.unpack(b)
		s.in[name] = c
	}
}

// part remembers the flows of a session that ends. r.mu is held.
func (r *Registry) part(s *Session) {
	r.parted.keep(s)
	r.packParted()
}

// packParted packs the flows of sessions that have ended, once nothing can come
// on them: a node whose peers come and go for ever does not fill up with them.
// r.mu is held.
func (r *Registry) packParted() {
	var busy map[*Session]bool
	for _, f := range r.parted.m {
		if f.s == nil {
			continue
		}
		if busy == nil {
			busy = make(map[*Session]bool)
			for _, l := range r.links {
				busy[l.s] = true
			}
		}
		if !busy[f.s] {
			f.pack(r)
		}
	}
}

// pack packs the channels that are at rest. One of which a message waits to be
// posted stays as it is.
func (f *partedFlows) pack(r *Registry) {
	if f.rest == nil {
		f.rest = make(map[string][]byte)
	}
	for name, c := range f.in {
		if c.pack(f.rest, r.channelCounters(c.base)) {
			delete(f.in, name)
		}
	}
	if len(f.in) == 0 {
		f.s = nil
	}
}

// pack adds what is to be remembered of the channel's flows to rest. It reports
// false, and adds nothing, while something is under way. It waits for nobody: a
// flow's lock is held while a message is posted.
func (c *inbound) pack(rest map[string][]byte, st *channelCounters) bool {
	var b []byte
	atRest := true
	c.used(func(slot uint8, f *inFlow) {
		if !atRest || !f.mu.TryLock() {
			atRest = false
			return
		}
		defer f.mu.Unlock()
		arrived, lost, ok := f.rx.Rest()
		if !ok || f.parked.n > 0 || f.inbox != nil && f.inbox.busy() {
			atRest = false
			return
		}
		f.abandon()
		f.settle(st) // what came after the session had ended
		if arrived > 0 {
			b = append(b, slot)
			for _, n := range []uint64{arrived, lost, f.rejected} {
				b = binary.AppendUvarint(b, n)
			}
		}
	})
	if atRest && len(b) > 0 {
		rest[c.name] = slices.Clip(b)
	}
	return atRest
}

// unpack makes the flows that pack packed.
func (c *inbound) unpack(b []byte) {
	for len(b) > 0 {
		slot := b[0]
		b = b[1:]
		var n [3]uint64
		for i := range n {
			v, size := binary.Uvarint(b)
			n[i], b = v, b[size:]
		}
		c.flows[slot] = &inFlow{c: c, slot: slot, rx: flow.Resume(n[0], n[1]), rejected: n[2]}
	}
}
