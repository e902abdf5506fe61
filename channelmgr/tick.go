package channelmgr

import (
	"time"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

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
			case l.control && now-wrote >= beat:
				s.ctl.frames(func(dst []byte) []byte {
					return frame.AppendPing(dst, frame.Ping{Nonce: l.id, Sent: uint64(now)})
				})
			case !l.control && now-max(read, wrote) >= idle:
				m.idle(s, l)
			}
			if l.control && !late && now-read >= silent {
				l.fail(messages.ReasonSilent, nil)
			}
		}
		if !s.Linked() && !late {
			m.blind(s, now)
		}
		s.reportAll(overlay.Time(now))
		if s.Linked() && !r.holds.held(s.peer) {
			m.unheld(s, now)
		}
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

// idle closes a data link in order: we stop writing, the peer finishes and
// closes.
func (m *manager) idle(s *Session, l *link) {
	s.mu.Lock()
	p := s.pipes[l.index]
	s.mu.Unlock()
	if p != nil {
		p.mu.Lock()
		quiet := p.link == l && p.busy == nil && p.empty()
		if quiet {
			p.link, p.opening = nil, false
		}
		p.mu.Unlock()
		if !quiet {
			return
		}
	}
	l.writeClose(messages.ReasonClosed)
	_ = l.stream.SetReadDeadline(time.Now().Add(m.r.cfg.Timing.WriteTimeout))
	l.lastRead.Store(int64(m.r.now()))
}

// unheldAfter is how long a session lives that nobody holds and that carries no
// data: who dials often finds it. Our choice.
const unheldAfter = 3 * time.Second

// unheld closes a session that we dialed, on which nobody has a hold, and
// that has been quiet for a while.
func (m *manager) unheld(s *Session, now time.Duration) {
	l := s.linkAt(true, 0)
	if l == nil || !l.dialed || now-l.since < unheldAfter {
		return
	}
	s.mu.Lock()
	data := len(s.links) > 0
	s.mu.Unlock()
	s.ctl.mu.Lock()
	quiet := s.ctl.busy == nil && s.ctl.empty() // else the peer would not hear why
	s.ctl.mu.Unlock()
	if !data && quiet {
		l.close(messages.ReasonClosed)
	}
}
