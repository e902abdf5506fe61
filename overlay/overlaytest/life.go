package overlaytest

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Life is one life of a node in a World, and the driver of its machines.
type Life struct {
	w    *World
	id   string // of the host
	peer overlay.Peer
	node *Node
	out  overlay.Effects
	busy bool
	todo []func()

	timers map[timerKey]uint64
	gen    uint64
	dialed []dial // not answered yet

	dead, stopped bool
	stoppedAt     overlay.Time
	missed        []func()
}

type timerKey struct {
	instance string
	timer    overlay.Timer
}

// dial is a Connect that waits for its answer.
type dial struct {
	instance string
	to       overlay.Peer
}

// Peer is who the life is.
func (l *Life) Peer() overlay.Peer { return l.peer }

// Machine returns the machine of an instance.
func (l *Life) Machine(instance string) overlay.Machine {
	for _, i := range l.node.Machines {
		if i.Name == instance {
			return i.Machine.(*Recorder).Machine
		}
	}
	return nil
}

// Feed gives a machine an event, after the one in progress.
func (l *Life) Feed(instance string, ev overlay.Event) {
	l.do(func() { l.step(instance, ev) })
}

// do runs something in this life, later if it is suspended or busy.
func (l *Life) do(f func()) {
	switch {
	case l.dead:
		return
	case l.stopped:
		l.missed = append(l.missed, f)
		return
	}
	l.todo = append(l.todo, f)
	if l.busy {
		return
	}
	l.busy = true
	for len(l.todo) > 0 && !l.dead {
		f := l.todo[0]
		l.todo = l.todo[1:]
		f()
	}
	l.busy = false
}

func (l *Life) step(instance string, ev overlay.Event) {
	i := slices.IndexFunc(l.node.Machines, func(i Instance) bool { return i.Name == instance })
	if i < 0 {
		return
	}
	l.out.Reset()
	l.node.Machines[i].Machine.Step(l.w.now, ev, &l.out)
	for _, e := range slices.Clone(l.out.All()) {
		l.execute(instance, e)
	}
}

func (l *Life) execute(instance string, e overlay.Effect) {
	w := l.w
	switch e.Kind {
	case overlay.EffectSend:
		w.send(l, instance, e.Peer, e.Msg)
	case overlay.EffectConnect:
		w.connect(l, instance, e.Peer)
	case overlay.EffectDisconnect:
		l.dialed = slices.DeleteFunc(l.dialed, func(d dial) bool { return d.instance == instance && d.to.Same(e.Peer) })
		if s := w.session(l, e.Peer); s != nil {
			s.hold(l, instance, false)
		}
	case overlay.EffectSetTimer:
		l.gen++
		k, gen := timerKey{instance, e.Timer}, l.gen
		l.timers[k] = gen
		w.after(e.After, func() {
			l.do(func() {
				if l.timers[k] == gen {
					delete(l.timers, k)
					l.step(instance, overlay.Fired{Timer: k.timer})
				}
			})
		})
	case overlay.EffectCancelTimer:
		delete(l.timers, timerKey{instance, e.Timer})
	case overlay.EffectMeasure:
		cost := w.cfg.Latency
		if w.cfg.Cost != nil {
			cost = w.cfg.Cost(l.id, e.Peer.Name)
		}
		l.Feed(instance, overlay.Measured{Peer: e.Peer, Cost: cost})
	case overlay.EffectNotify:
		if l.node.Notify != nil {
			l.node.Notify(l, instance, e.Notice)
		}
	}
}

// EndSession ends the session with a life, as a driver does when it is down.
func (l *Life) EndSession(p overlay.Peer) {
	if s := l.w.session(l, p); s != nil {
		l.w.breakSession(s, messages.ReasonDown)
	}
}

func (l *Life) generation() uint64 {
	if l.node.Generation == nil {
		return 1
	}
	return l.node.Generation()
}

// session is what stands between two lives.
type session struct {
	a, b  *Life // a dialed
	up    bool
	known uint64 // what b remembers of a's name
	genA  uint64
	genB  uint64
	holds []dial // of a on b and of b on a
	next  overlay.Time
}

func (s *session) other(l *Life) *Life {
	if s.a == l {
		return s.b
	}
	return s.a
}

func (s *session) hold(l *Life, instance string, on bool) {
	d := dial{instance, s.other(l).peer}
	s.holds = slices.DeleteFunc(s.holds, func(x dial) bool { return x == d })
	if on {
		s.holds = append(s.holds, d)
	}
}

func (w *World) sessionsOf(l *Life) []*session {
	var list []*session
	for _, s := range w.links {
		if s.a == l || s.b == l {
			list = append(list, s)
		}
	}
	return list
}

// session finds the one that stands between a life and a peer.
func (w *World) session(l *Life, p overlay.Peer) *session {
	for _, s := range w.sessionsOf(l) {
		if s.up && s.other(l).peer.Same(p) {
			return s
		}
	}
	return nil
}

// send delivers a message in order, or not at all.
func (w *World) send(l *Life, instance string, to overlay.Peer, m proto.Message) {
	s := w.session(l, to)
	if s == nil || w.isCut(s.a.id, s.b.id) || w.cfg.Loss > 0 && w.rng.Float64() < w.cfg.Loss {
		return
	}
	b, err := proto.Marshal(m)
	if err != nil || len(b) > messages.MaxControl-1024 {
		panic("overlaytest: " + l.id + " sent a message that is too large: " + itoa(len(b)))
	}
	other := s.other(l)
	due := w.now.Add(w.delay())
	s.next = max(s.next, due) // one queue for both directions keeps each in order
	w.after(s.next.Sub(w.now), func() {
		if s.up && !w.isCut(s.a.id, s.b.id) {
			m, err := messages.DecodeControl(string(m.ProtoReflect().Descriptor().FullName()), b)
			if err != nil {
				panic("overlaytest: " + l.id + " sent a message that cannot be decoded: " + err.Error())
			}
			// The first frame of an instance on a session is its LinkUp.
			first := dial{instance, l.peer}
			if !slices.Contains(s.holds, first) && !slices.ContainsFunc(other.dialed, func(d dial) bool { return d.instance == instance && d.to.Same(l.peer) }) {
				s.hold(other, instance, true)
				w.linkUp(s, other, instance, "")
			}
			other.Feed(instance, overlay.Received{From: l.peer, Msg: m})
		}
	})
}

// connect takes a hold on a session, dialing if there is none.
func (w *World) connect(l *Life, instance string, to overlay.Peer) {
	if s := w.session(l, to); s != nil && !to.IsContact() {
		s.hold(l, instance, true)
		w.linkUp(s, l, instance, "")
		return
	}
	d := dial{instance, to}
	if slices.Contains(l.dialed, d) {
		return
	}
	l.dialed = append(l.dialed, d)
	w.after(2*w.delay(), func() { w.dialed(l, d) })
}

// answer ends a dial; it reports whether somebody waits for it.
func (l *Life) answer(d dial) bool {
	i := slices.Index(l.dialed, d)
	if i >= 0 {
		l.dialed = slices.Delete(l.dialed, i, i+1)
	}
	return i >= 0
}

// dialed is the moment at which a dial reaches its host.
func (w *World) dialed(l *Life, d dial) {
	if l.dead || !slices.Contains(l.dialed, d) {
		return
	}
	fail := func(why messages.Reason, known uint64, after time.Duration) {
		contact := ""
		if d.to.IsContact() {
			contact = d.to.Addr
		}
		w.after(after, func() {
			if !l.dead && l.answer(d) {
				l.Feed(d.instance, overlay.LinkDown{Peer: d.to, Reason: why, Known: known, Contact: contact, Dial: true})
			}
		})
	}
	i := slices.IndexFunc(w.hosts, func(h *host) bool { return h.addr == d.to.Addr })
	switch {
	case i < 0 || w.hosts[i].life == nil:
		fail(messages.ReasonRefused, 0, 0)
		return
	case w.hosts[i].life == l:
		fail(messages.ReasonSelf, 0, 0)
		return
	case w.isCut(l.id, w.hosts[i].name) || w.hosts[i].life.stopped:
		fail(messages.ReasonTimeout, 0, w.cfg.Silent)
		return
	}
	o := w.hosts[i].life
	if !d.to.IsContact() && !o.peer.Same(d.to) {
		fail(messages.ReasonWrongName, 0, 0)
		return
	}
	s := w.session(l, o.peer)
	if s == nil {
		var known uint64
		if o.node.Admit != nil {
			alive := slices.ContainsFunc(w.sessionsOf(o), func(x *session) bool {
				p := x.other(o).peer
				return x.up && p.Name == l.peer.Name && p.Incarnation != l.peer.Incarnation
			})
			why, k := o.node.Admit(l.peer, l.generation(), alive)
			if why != "" {
				fail(why, k, w.delay())
				return
			}
			known = k
		}
		s = &session{a: l, b: o, up: true, known: known, genA: l.generation(), genB: o.generation()}
		w.links = append(w.links, s)
		w.made++
	}
	// All who wait for this session at either end are answered.
	for _, end := range []*Life{l, o} {
		for _, x := range slices.Clone(end.dialed) {
			switch {
			case x.to.Same(s.other(end).peer):
				end.answer(x)
				s.hold(end, x.instance, true)
				w.linkUp(s, end, x.instance, "")
			case end == l && x == d:
				end.answer(x)
				s.hold(end, x.instance, true)
				w.linkUp(s, end, x.instance, d.to.Addr)
			}
		}
	}
}

func (w *World) linkUp(s *session, l *Life, instance, contact string) {
	ev := overlay.LinkUp{Peer: s.other(l).peer, Generation: s.genB, Contact: contact, Inbound: s.b == l}
	if ev.Inbound {
		ev.Generation = s.genA
	} else {
		ev.Known = s.known
	}
	l.Feed(instance, ev)
}

// silence breaks a session, unless what made it silent has ended by then.
func (w *World) silence(s *session) {
	w.after(w.cfg.Silent, func() {
		if s.up && (w.isCut(s.a.id, s.b.id) || s.a.stopped || s.b.stopped) {
			w.breakSession(s, messages.ReasonSilent)
		}
	})
}

// breakSession ends a session at both ends.
func (w *World) breakSession(s *session, why messages.Reason) {
	if !s.up {
		return
	}
	s.up = false
	w.links = slices.DeleteFunc(w.links, func(x *session) bool { return x == s })
	for _, l := range []*Life{s.a, s.b} {
		o := s.other(l)
		for _, d := range s.holds {
			if d.to.Same(o.peer) && !l.dead {
				w.after(w.delay(), func() {
					l.Feed(d.instance, overlay.LinkDown{Peer: o.peer, Reason: why})
				})
			}
		}
	}
}
