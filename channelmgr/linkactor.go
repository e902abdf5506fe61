package channelmgr

import (
	"strconv"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// linkActor owns the life of one link: it dials, reports to the manager, and
// ends with the link. The link itself lives in the registry: a link actor that
// is restarted finds it there.
type linkActor struct {
	r       *Registry
	id      uint64
	attempt *attempt // nil for a link that the peer dialed
}

func linkName(id uint64) string { return "link$" + strconv.FormatUint(id, 10) }

// spawnLink starts the actor of a link, as a sibling of the manager.
func (r *Registry) spawnLink(id uint64, a *attempt) {
	props := actor.PropsFromProducer(func() actor.Actor { return &linkActor{r: r, id: id, attempt: a} })
	spawn := r.cfg.System.Root.SpawnNamed
	if f := r.spawner.Load(); f != nil {
		spawn = *f
	}
	if _, err := spawn(props, linkName(id)); err != nil {
		r.log.Error("a link's actor could not be spawned", "error", err)
		if a != nil {
			r.tell(failedReport(a, messages.ReasonInternal, 0, err.Error()))
		}
	}
}

// adopt gives an inbound link its actor.
func (r *Registry) adopt(l *link) { r.spawnLink(l.id, nil) }

// Receive implements actor.Actor.
func (a *linkActor) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actor.Started:
		a.r.mu.Lock()
		l := a.r.links[a.id]
		a.r.mu.Unlock()
		switch {
		case l != nil:
			l.boss.Store(c.Self())
			a.r.tell(establishedReport(l))
		case a.attempt != nil:
			if !a.r.track() {
				c.Stop(c.Self())
				return
			}
			go a.dial(c.Self())
		default:
			c.Stop(c.Self())
		}
	case *messages.LinkEstablished:
		a.attempt = nil
		a.r.tell(msg)
	case *messages.LinkFailed:
		a.r.tell(msg)
		c.Stop(c.Self())
	case *messages.LinkEnded:
		a.r.tell(msg)
		c.Stop(c.Self())
	case *actor.Stopping:
		a.r.mu.Lock()
		l := a.r.links[a.id]
		a.r.mu.Unlock()
		if l != nil {
			l.fail(messages.ReasonClosed, nil)
		}
	}
}

// dial runs in a goroutine of its own, whose stack goes with it.
func (a *linkActor) dial(self *actor.PID) {
	defer a.r.wg.Done()
	at := a.attempt
	l, err := a.r.dial(at)
	a.r.opened(at)
	if err != nil {
		detail := ""
		if err.Err != nil {
			detail = err.Err.Error()
		}
		a.r.cfg.System.Root.Send(self, failedReport(at, err.Reason, err.Known, detail))
		return
	}
	l.boss.Store(self)
	a.r.cfg.System.Root.Send(self, establishedReport(l))
}

func establishedReport(l *link) *messages.LinkEstablished {
	return &messages.LinkEstablished{Link: l.id, Peer: nodeRef(l.s.peer), Generation: l.s.Generation(), Known: l.known,
		Index: uint32(l.index), Control: l.control, Inbound: !l.dialed, Contact: l.contact}
}

func failedReport(a *attempt, why messages.Reason, known uint64, detail string) *messages.LinkFailed {
	m := &messages.LinkFailed{Link: a.id, Peer: nodeRef(a.peer), Index: uint32(a.index), Control: a.control, Relayed: a.relayed,
		Reason: string(why), Known: known, Detail: detail}
	if a.peer.IsContact() {
		m.Contact = a.peer.Addr
		m.Peer.Name, m.Peer.Incarnation = a.theirs.Name, uint64(a.theirs.Incarnation)
	}
	return m
}

// linkEnded takes a link whose reader has ended off the books and reports.
func (r *Registry) linkEnded(l *link) {
	s := l.s
	r.mu.Lock()
	s.mu.Lock()
	delete(r.links, l.id)
	if !l.relayed {
		r.counters.connections.Add(-1)
	}
	if l.control {
		if s.control == l {
			s.control = nil
			s.linked.Store(false)
			s.direct.Store(false)
		}
	} else if s.links[l.index] == l {
		delete(s.links, l.index)
	}
	var data []*link
	// A circuit that its peer closes in order is followed by a link.
	if l.control && s.control == nil && l.why != messages.ReasonDuplicate && !(l.relayed && l.why == messages.ReasonPeerClosed) {
		for _, d := range s.links {
			data = append(data, d)
		}
	}
	parted := s.parted
	s.mu.Unlock()
	if parted {
		r.packParted()
	}
	r.mu.Unlock()
	s.detach(l)
	for _, d := range data { // without reports and heartbeats a data link is blind
		d.fail(l.why, nil)
	}
	detail := ""
	if l.detail != nil {
		detail = l.detail.Error()
	}
	report := &messages.LinkEnded{Link: l.id, Peer: nodeRef(s.peer), Index: uint32(l.index), Control: l.control, Reason: string(l.why), Detail: detail}
	if boss := l.boss.Load(); boss != nil {
		r.cfg.System.Root.Send(boss, report)
	} else {
		r.tell(report)
	}
}

// close ends a link with a word to the peer.
func (l *link) close(why messages.Reason) {
	l.sendClose(why)
	l.fail(why, nil)
}

// sendClose tells the peer why the link ends, if nobody is writing on it.
func (l *link) sendClose(why messages.Reason) {
	p := l.s.ctl
	if !l.control {
		l.s.mu.Lock()
		p = l.s.pipes[l.index]
		l.s.mu.Unlock()
	}
	if p != nil {
		p.mu.Lock()
		if p.link == l {
			if p.busy != nil {
				p.mu.Unlock()
				return
			}
			p.busy = l // for good: nothing follows a Close
		}
		p.mu.Unlock()
	}
	l.writeClose(why)
}

// writeClose writes the one Close of a link, of which nobody makes use any
// more, after what is being written, as far as that does not block.
func (l *link) writeClose(why messages.Reason) {
	if l.closed.CompareAndSwap(false, true) {
		l.writers.Wait()
		_, _ = l.stream.TryWrite(frame.AppendClose(nil, frame.Close{Reason: why}))
	}
}
