package channelmgr

import (
	"time"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// measureEvery is after how many heartbeats the round trip is measured at the
// latest, also on a link that is busy or whose other end sends the heartbeats.
// Our choice.
const measureEvery = 5

// onTick, every half heartbeat, sends heartbeats, finds silent links, closes idle ones and reports
// flows. A tick that comes much too late means that this process was
// suspended: then nobody is accused, and silence is counted anew. Links over
// circuits are seldom looked at: what is sent on them tells by itself when it
// does not arrive, and they are closed sooner when they idle.
func (m *manager) onTick() {
	r, t := m.r, &m.r.cfg.Timing
	now := r.now()
	late := now-m.lastTick > t.SilentAfter/2
	m.lastTick = now
	m.measure()
	m.shorten()
	m.forget()
	if r.crowded(0) {
		m.yield() // perhaps to one who was refused
	}
	for _, s := range r.allSessions() {
		for _, l := range s.allLinks() {
			read, wrote := time.Duration(l.lastRead.Load()), time.Duration(l.lastWrite.Load())
			beat, silent, idle := t.Heartbeat, t.SilentAfter, t.IdleAfter
			if l.relayed {
				beat, silent, idle = t.SilentAfter, 4*t.SilentAfter, t.IdleAfter/4
			}
			switch {
			case l.control && late:
				l.lastRead.Store(int64(now))
				fallthrough
			case l.control && (now-wrote >= beat || now-l.pinged >= measureEvery*beat):
				l.pinged = now
				s.ctl.frames(func(dst []byte) []byte {
					return frame.AppendPing(dst, frame.Ping{Nonce: l.id, Sent: uint64(now)})
				})
			case !l.control && now-max(read, wrote) >= idle:
				m.idle(s, l)
			}
			if l.control && !late && now-read >= silent {
				m.silenced(l)
				l.fail(messages.ReasonSilent, nil)
			}
		}
		if !s.Linked() && !late {
			m.blind(s, now)
			m.inquire(s, now)
		}
		s.reportAll(overlay.Time(now))
		s.tellChannels(messages.ReasonClosed)
		if s.Linked() && !r.holds.held(s.peer) {
			m.unheld(s, now)
		}
	}
}

// silenced: a dial to the peer of a link that fell silent would wait in vain as
// long as it may. What waits goes round first; see reach.
func (m *manager) silenced(l *link) {
	if k := lifeOf(l.s.peer); !l.relayed && m.r.cfg.Routing != RelayOnly {
		m.failures[dataLink{life: k, control: true}]++
		m.relayed[k] = false
	}
}

// blind ends data links that have been without a control link for a while: they
// hear of nothing.
func (m *manager) blind(s *Session, now time.Duration) {
	for _, l := range s.allLinks() {
		if !l.control && now-max(l.since, time.Duration(l.lastRead.Load())) > m.r.cfg.Timing.SilentAfter {
			l.fail(messages.ReasonSilent, nil)
		}
	}
}

// inquire opens the session with a peer of which something waits here. If it waits for
// its turn in a causal order, only that peer can say that it has come, and need not
// know that somebody waits: it may have ended its session with us in between.
func (m *manager) inquire(s *Session, now time.Duration) {
	if s.parked.Load() > 0 && now-s.inquired >= m.r.cfg.Timing.BackoffMax {
		s.inquired = now
		m.reach(s)
	}
}

// idle closes a data link in order: we stop writing, the peer finishes and
// closes. While something of the peer waits here to be posted the link stays: the
// peer would open another to send it again.
func (m *manager) idle(s *Session, l *link) {
	if s.parked.Load() > 0 {
		return
	}
	s.mu.Lock()
	p := s.pipes[l.index]
	quiet := true
	if p != nil {
		p.mu.Lock()
		if quiet = p.link == l && p.busy == nil && p.quiet(); quiet {
			p.link, p.opening = nil, false
		}
		p.mu.Unlock()
	}
	if quiet {
		l.leaving.Store(true)
	}
	s.mu.Unlock()
	if !quiet {
		return
	}
	l.writeClose(messages.ReasonClosed)
	_ = l.stream.SetReadDeadline(time.Now().Add(m.r.cfg.Timing.WriteTimeout))
	l.lastRead.Store(int64(m.r.now()))
}

// unheldAfter is how long a session lives that nobody holds and that carries no
// data: who dials often finds it. Our choice.
const unheldAfter = 3 * time.Second

// unheld closes a session that we dialed, on which nobody has a hold, and
// that has been quiet for a while. While something of the peer waits here it
// stays; see inquire.
func (m *manager) unheld(s *Session, now time.Duration) {
	l := s.linkAt(true, 0)
	if l == nil || !l.dialed || now-l.since < unheldAfter || s.parked.Load() > 0 {
		return
	}
	s.mu.Lock()
	data := len(s.links) > 0
	s.mu.Unlock()
	s.ctl.mu.Lock()
	quiet := s.ctl.busy == nil && s.ctl.empty() // else the peer would not hear why
	s.ctl.mu.Unlock()
	for _, p := range s.allPipes() { // what waits for a data link
		p.mu.Lock()
		quiet = quiet && p.dialing == 0 && (p.ended != "" || p.empty())
		p.mu.Unlock()
	}
	if !data && quiet {
		l.close(messages.ReasonClosed)
	}
}
