package channelmgr

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr/causal"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// Bounds of what waits at a receiver to be posted. Our choice.
const (
	gatedWindow = 1 << 10  // messages of a flow on their way after it had to wait
	closeAfter  = 64       // so many wait before the window is closed to that
	parkedBytes = 64 << 20 // of a session; beyond, its readers wait as well
)

// Patient is a Receiver with targets to which posting may have to wait. A
// link's reader does not wait for them: messages stay in an inbox, from which a
// goroutine of its own posts them, and their flow's window closes. Other flows, of
// the same link too, go on.
type Patient interface {
	Receiver
	// TryReceive is Receive if that need not wait. Otherwise it does nothing and
	// reports false.
	TryReceive(m *Incoming) (why messages.Reason, ok bool)
}

// inbox is what has arrived and waits to be posted, in order: of one flow for
// targets that have no room, or of a causal order for its turn.
type inbox struct {
	mu      sync.Mutex // taken after a flow's lock
	q       causal.Queue[*Session, parcel]
	running bool // a goroutine posts
}

// busy reports whether something waits there, as far as can be said without
// waiting for it.
func (in *inbox) busy() bool {
	if !in.mu.TryLock() {
		return true
	}
	defer in.mu.Unlock()
	return in.running || in.q.Len() > 0
}

// parcel is a message that waits to be posted: of an Incoming what its flow does
// not tell. Many may wait, so it is small.
type parcel struct {
	f       *inFlow
	s       *Session
	target  *Target
	sender  *actor.PID
	header  map[string]string
	msg     any
	typ     *messages.Type
	request uint32
	size    uint32
	system  bool
	judged  bool // the interceptor has seen it
}

// batch is what is posted before it is accounted for, if nothing has to wait.
type batch struct {
	list [32]parcel
	why  [32]messages.Reason
	m    Incoming // the message that is being posted
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// hand posts a message that has arrived, or parks it when it has to wait: then it
// reports false. judged tells that its target was found to have no room, after
// the interceptor had let it pass. f.mu is held.
func (l *link) hand(f *inFlow, d *frame.Data, typ *messages.Type, size int, m *Incoming, judged bool) (why messages.Reason, posted bool) {
	s := l.s
	switch {
	case f.inbox != nil:
	case d.Causal:
		f.inbox = s.r.order(orderKey{f.c.name, f.slot})
	default:
		f.inbox = new(inbox)
	}
	in := f.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	after := d.After
	if s.over.Load() {
		after = 0 // what has ended here tells no more what is stable
	}
	if !judged && !in.running && in.q.Len() == 0 && in.q.Ripe(s, after) {
		if why, posted = s.r.receive(m); posted {
			return why, true
		}
		judged = true
	}
	target := m.Target
	if target == &l.in.loose {
		target = &Target{ID: target.ID}
	}
	size = max(size, 1) // parked tells also whether anything waits
	in.q.Push(s, after, parcel{
		f: f, s: m.Session, target: target, sender: m.Sender, header: m.Header, msg: m.Msg, typ: typ, request: m.TargetRequest, size: uint32(size), system: m.System, judged: judged,
	})
	f.parked.add(d.Seq)
	s.parked.Add(int64(size))
	if f.parked.n == closeAfter && f.window != gatedWindow && !d.Causal {
		f.window, f.due = gatedWindow, true
	}
	in.start(s.r)
	return "", false
}

// start has what is ready posted, by a goroutine of its own. in.mu is held.
func (in *inbox) start(r *Registry) {
	if in.running || !in.q.Ready() {
		return
	}
	in.running = true
	go in.post(r, r.track())
}

// post posts what is ready, waiting for targets that have no room.
func (in *inbox) post(r *Registry, tracked bool) {
	if tracked {
		defer r.wg.Done()
	}
	b := batches.Get().(*batch)
	defer batches.Put(b)
	in.mu.Lock()
	for {
		n := in.q.Take(b.list[:])
		if n == 0 {
			in.running = false
			in.mu.Unlock()
			return
		}
		in.mu.Unlock()
		r.postAll(b, n)
		clear(b.list[:n])
		b.m = Incoming{}
		in.mu.Lock()
	}
}

// postAll posts what was parked. Before it waits for a target it accounts for what
// it has posted.
func (r *Registry) postAll(b *batch, n int) {
	first := 0 // of those that are not accounted for
	account := func(end int) {
		if end > first {
			posted(b.list[first:end], b.why[first:end])
			first = end
		}
	}
	for i := range n {
		p := &b.list[i]
		if p.f != b.list[first].f || p.s != b.list[first].s {
			account(i)
		}
		b.m = Incoming{
			Session: p.s, Channel: p.f.c.base, Target: p.target, TargetRequest: p.request, Sender: p.sender, Header: p.header, System: p.system, Msg: p.msg,
		}
		ok := false
		if p.judged {
			b.why[i], ok = r.post(&b.m, false)
		} else {
			b.why[i], ok = r.receive(&b.m)
		}
		if !ok {
			account(i)
			b.why[i], _ = r.post(&b.m, true)
		}
	}
	account(n)
}

// posted accounts for messages of a flow that were parked.
func posted(list []parcel, why []messages.Reason) {
	s, f := list[0].s, list[0].f
	size, received := int64(0), uint64(0)
	f.mu.Lock()
	for i := range list {
		p := &list[i]
		seq := f.parked.take()
		size += int64(p.size)
		if why[i] == "" {
			received++
		} else {
			s.reject(f, seq, p.typ.Name, p.target.ID, p.sender, why[i])
		}
	}
	if f.parked.n == 0 || f.next()-f.reported >= gatedWindow/4 {
		s.report(f)
	}
	f.mu.Unlock()
	s.r.counters.received.Add(received)
	if left := s.parked.Add(-size); left+size > parkedBytes && left <= parkedBytes {
		s.unpark()
	}
}

// unpark lets the readers that wait look again.
func (s *Session) unpark() {
	s.parking.Lock()
	defer s.parking.Unlock()
	if s.roomy != nil {
		close(s.roomy)
		s.roomy = nil
	}
}

// holdUp has the link's reader wait while too much of the peer's is parked: what
// it sends then stays in the connection. Heartbeats come on another link.
func (l *link) holdUp() {
	s := l.s
	for s.parked.Load() > parkedBytes && !l.failed.Load() {
		s.parking.Lock()
		if s.roomy == nil {
			s.roomy = make(chan struct{})
		}
		roomy := s.roomy
		s.parking.Unlock()
		if s.parked.Load() <= parkedBytes || l.failed.Load() {
			return
		}
		s.r.count("readers_held_up")
		<-roomy
	}
}

// numbers are some of a flow, in order, as runs of such as follow one another.
type numbers struct {
	runs []numberRun
	n    int
}

type numberRun struct{ from, n uint64 }

func (l *numbers) add(seq uint64) {
	l.n++
	if i := len(l.runs) - 1; i >= 0 && l.runs[i].from+l.runs[i].n == seq {
		l.runs[i].n++
		return
	}
	l.runs = append(l.runs, numberRun{seq, 1})
}

// take takes the first off.
func (l *numbers) take() uint64 {
	l.n--
	r := &l.runs[0]
	seq := r.from
	if r.from, r.n = r.from+1, r.n-1; r.n == 0 {
		l.runs = l.runs[:copy(l.runs, l.runs[1:])]
	}
	return seq
}

// next is the lowest number of the flow that has not been posted or given up.
// f.mu is held.
func (f *inFlow) next() uint64 {
	if f.parked.n > 0 {
		return f.parked.runs[0].from
	}
	return f.rx.Next()
}

// reject tells the sender of a message that it could not be delivered. f.mu is
// held.
func (s *Session) reject(f *inFlow, seq uint64, typ, target string, sender *actor.PID, why messages.Reason) {
	s.r.counters.rejected(why)
	f.rejected++
	ctl := s.ctl
	ctl.frames(func(dst []byte) []byte {
		id, defs, ok := ctl.dict.channel(f.c.name, ctl.defs)
		ctl.defs = defs
		if !ok {
			return dst
		}
		u := frame.Undelivered{Channel: id, Slot: f.slot, Seq: seq, Reason: why, Target: target, Type: typ, Epoch: f.c.epoch.Load()}
		if sender != nil && sender.Address == s.address() {
			u.Sender = sender.Id
		}
		return frame.AppendUndelivered(dst, u)
	})
}
