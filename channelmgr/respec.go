package channelmgr

import (
	"cmp"
	"errors"
	"maps"
	"slices"
)

var errPromise = errors.New("channelmgr: a channel of that name with another delivery or ordering was removed; use another name")

// respec applies a channel's changed spec to what is open to the peer.
func (s *Session) respec(spec ChannelSpec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.out.Load(); m != nil {
		for _, name := range wireNames(spec.Name) {
			if c := (*m)[name]; c != nil {
				s.apply(c, spec.twin(name))
			}
		}
	}
}

// apply lets a channel's lanes go by another spec from now on. More lanes can be
// opened, and flows leave those above the ceiling, unless they are fixed. s.mu is
// held.
func (s *Session) apply(c *outbound, spec ChannelSpec) {
	if !c.fixed {
		s.addLanes(c, spec.Lanes)
	}
	for _, ln := range c.lanes[:c.count.Load()] {
		p := ln.pipe
		p.mu.Lock()
		ln.spec = spec
		p.lanes = slices.Clone(p.lanes)
		p.rank()
		p.wake() // who waits for room may find some
		p.mu.Unlock()
	}
}

// rank puts the lanes in the order of their priorities. mu is held.
func (p *pipe) rank() {
	slices.SortStableFunc(p.lanes, func(a, b *lane) int { return cmp.Compare(rank(a.spec.Priority), rank(b.spec.Priority)) })
}

// retireChannel takes a removed channel and its twins out of use. What is queued
// on them goes on its way.
func (s *Session) retireChannel(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.out.Load()
	if old == nil {
		return
	}
	m := maps.Clone(*old)
	for _, name := range wireNames(name) {
		if c := m[name]; c != nil {
			if s.past == nil {
				s.past = make(map[string]*outbound)
			}
			s.past[name] = c
			delete(m, name)
		}
	}
	s.out.Store(&m)
}

// opened returns the sending side of a channel that was used, also of one that
// was removed since; nil if there is none.
func (s *Session) opened(name string) *outbound {
	if m := s.out.Load(); m != nil {
		if c := (*m)[name]; c != nil {
			return c
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.past[name]
}
