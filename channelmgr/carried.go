package channelmgr

import (
	"maps"
	"slices"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// ChannelChange tells that a channel on which this node sends to a peer has a
// link now, or has none any more. A channel that idles has none.
type ChannelChange struct {
	Peer    overlay.Peer
	Channel string
	Up      bool
	Reason  messages.Reason // why it is down
}

// SetOnChannel sets who is told of changes. It must not block; it is called by
// one goroutine at a time for each session, in the order of the changes.
func (r *Registry) SetOnChannel(f func(ChannelChange)) { r.onChannel.Store(&f) }

// tellChannels tells which channels came up or went down since it was last
// called.
func (s *Session) tellChannels(why messages.Reason) {
	f := s.r.onChannel.Load()
	if f == nil {
		return
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	var now map[string]bool
	for _, p := range s.allPipes() {
		p.mu.Lock()
		for _, ln := range p.lanes {
			if p.link != nil && ln.stats != nil && ln.sent > 0 && !now[ln.spec.Name] {
				if now == nil {
					now = make(map[string]bool)
				}
				now[ln.spec.Name] = true
			}
		}
		p.mu.Unlock()
	}
	if maps.Equal(now, s.told) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(s.told)) {
		if !now[name] {
			(*f)(ChannelChange{Peer: s.peer, Channel: name, Reason: why})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if !s.told[name] {
			(*f)(ChannelChange{Peer: s.peer, Channel: name, Up: true})
		}
	}
	s.told = now
}
