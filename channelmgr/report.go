package channelmgr

import (
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/overlay"
)

// flowWindow is how many messages of one flow may be on their way. Since a
// plain actor's mailbox is unbounded, credit returns when a message is
// posted; the window bounds what a stalled reader can leave unconfirmed.
const flowWindow = 1 << 16

// report sends the sender of a flow what has arrived and what it may send.
// f.mu is held. What the control link has no room for is reported with the next
// tick.
func (s *Session) report(f *inFlow) {
	u := f.rx.Update(flowWindow)
	arrived, next := u.Next, f.next()
	credit := u.Credit
	if f.window != 0 {
		credit = f.window
		if f.parked.n == 0 { // it is through: the window grows again
			if f.window *= 2; f.window >= flowWindow {
				f.window = 0
			}
		}
		credit += next - 1
	} else if next != arrived {
		credit = next - 1 + flowWindow
	}
	f.due = false
	ctl := s.ctl
	if ctl.frames(func(dst []byte) []byte {
		id, defs, ok := ctl.dict.channel(f.c.name, ctl.defs)
		ctl.defs = defs
		if !ok {
			return dst
		}
		return frame.AppendFlowUpdate(dst, frame.FlowUpdate{Channel: id, Slot: f.slot, Next: next, Credit: credit, Lost: u.Lost, Rejected: f.rejected, Arrived: arrived, Epoch: f.c.epoch.Load()})
	}) {
		f.reported, f.arrived = next, arrived
	}
}

// moved reports whether there is something to report. f.mu is held.
func (f *inFlow) moved() bool { return f.next() != f.reported || f.rx.Next() != f.arrived }

// wantsReport reports whether the sender should hear of the flow now. f.mu is
// held.
func (f *inFlow) wantsReport() bool {
	return f.due || f.rx.NeedsUpdate() || f.window != 0 && f.next()-f.reported >= f.window/4
}

// owe notes that a message of a flow asked for a report. f.mu is held.
func (l *link) owe(f *inFlow) {
	if !f.owing {
		f.owing = true
		l.in.owed = append(l.in.owed, f)
	}
}

// payReports makes the reports that were asked for by what has been read: one
// for each flow, however many messages asked.
func (l *link) payReports() {
	for _, f := range l.in.owed {
		f.mu.Lock()
		f.owing = false
		if f.moved() {
			l.s.report(f)
		}
		f.mu.Unlock()
	}
	l.in.owed = l.in.owed[:0]
}

// reportAll reports the flows that moved since their last report. It runs on
// the manager's tick; a flow whose message is being posted is left for the
// next.
func (s *Session) reportAll(now overlay.Time) {
	anew := s.reportAnew.Swap(false)
	if s.retell.Swap(false) {
		s.r.tellAgain(s)
	}
	for _, c := range s.inbounds() {
		c.used(func(_ uint8, f *inFlow) {
			if !f.mu.TryLock() {
				if anew {
					s.reportAnew.Store(true)
				}
				return
			}
			f.rx.Expire(now)
			if anew || f.moved() {
				s.report(f)
			}
			f.mu.Unlock()
		})
	}
}
