package channelmgr

import (
	"fmt"

	"github.com/maquis-go/maquis/channelmgr/frame"
)

// Debug describes the flows of which something is not confirmed.
func (s *Session) Debug() (out string) {
	for _, p := range s.allPipes() {
		p.mu.Lock()
		for _, ln := range p.lanes {
			for _, slot := range ln.slots {
				if fl := &ln.flows[slot]; fl.Confirmed() != fl.Next() {
					out += fmt.Sprintf("%s slot %d: confirmed below %d, next %d, open %v, %d queued, link %v; ", ln.channel, slot, fl.Confirmed(), fl.Next(), fl.Open(), ln.queued, p.link != nil)
				}
			}
		}
		p.mu.Unlock()
	}
	return out
}

// Report takes a report as if the peer had made it.
func (s *Session) Report(channel string, slot uint8, u frame.FlowUpdate) { s.update(channel, slot, u) }

// PassOnRelayed queues a frame to be passed on, as if the link to the peer had
// just become a circuit. It returns a function that tells how many bytes wait.
func (s *Session) PassOnRelayed(raw []byte) (waits func() int) {
	s.direct.Store(false)
	s.pass(false, len(raw), func(dst []byte) []byte { return append(dst, raw...) })
	s.mu.Lock()
	p := s.pipe(relayIndex)
	s.mu.Unlock()
	return func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.relays.q.bytes
	}
}
