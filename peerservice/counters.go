package peerservice

import "sync"

// counters are counts by name, made on first use. They are safe for concurrent
// use and off every data path.
type counters struct {
	mu     sync.Mutex
	counts map[string]uint64
}

// add counts one and returns the new count.
func (c *counters) add(name string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]uint64)
	}
	c.counts[name]++
	return c.counts[name]
}

// Stats returns the service's counters by name: part_failures, quarantined
// (messages dropped because they killed a part twice), resumed (late timers:
// this process was suspended or starved), unanswered_connects,
// unsent_OVERLAY, rejected_REASON (bad input of peers), unsupported_effects,
// snapshots (subscribers that fell behind), carried and uncarried (messages of
// overlays for members that are no neighbors), lifted (such ones from others),
// broadcast_before (broadcasts of before this node came, which are not handed on),
// broadcast_past_life (of an earlier life of a node of whose present one some were).
func (s *Service) Stats() map[string]uint64 {
	s.counters.mu.Lock()
	defer s.counters.mu.Unlock()
	m := make(map[string]uint64, len(s.counters.counts))
	for k, v := range s.counters.counts {
		m[k] = v
	}
	return m
}
