package channelmgr

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// onData takes a message, or the first piece of one.
func (l *link) onData(raw []byte) error {
	d := &l.in.data
	if err := frame.ParseData(raw, d); err != nil {
		return asFrameError(err)
	}
	c, err := l.channel(d.Channel)
	if err != nil {
		return err
	}
	f := c.flows[d.Slot&(Slots-1)]
	if f == nil {
		f = c.flow(d.Slot & (Slots - 1))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.whole != nil {
		return badFrame(messages.ReasonBadFrame, "a message between the pieces of another of its flow")
	}
	if d.Fragment {
		return l.beginAssembly(c, f, d)
	}
	typ, dec, err := l.resolve(c, d, &l.in.m)
	if err != nil {
		return err
	}
	f.got++
	f.gotBytes += uint64(len(d.Body))
	switch f.rx.Accept(l.id, d.Seq, overlay.Time(l.lastRead.Load())) {
	case flow.Deliver:
		l.deliver(c, f, d, typ, dec, d.Body, &l.in.m)
		l.popHeld(c, f)
	case flow.Held:
		m, held := l.in.m, *d
		m.Target = &Target{ID: m.Target.ID}
		held.Body = append([]byte(nil), d.Body...)
		if !f.rx.Hold(d.Seq, len(raw), &assembly{data: held, typ: typ, body: held.Body, m: m}) {
			l.s.r.count("flow_hold_overflow")
		}
	case flow.Duplicate:
		f.doubles++
		l.s.r.count("duplicates_suppressed")
	default:
		return badFrame(messages.ReasonBadFrame, fmt.Sprintf("number %d is out of turn on its flow", d.Seq))
	}
	if d.Report {
		l.owe(f)
	}
	if f.wantsReport() {
		l.s.report(f)
	}
	return nil
}

// popHeld delivers what was held until its turn.
func (l *link) popHeld(c *inbound, f *inFlow) {
	for {
		item, ok := f.rx.Pop()
		if !ok {
			return
		}
		h := item.(*assembly)
		h.lend()
		l.deliver(c, f, &h.data, h.typ, nil, h.body, &h.m)
		h.release()
	}
}

// resolve finds what a frame's references stand for and fills m. The type is
// nil when it is unknown here, and the decoder when it is not interned.
func (l *link) resolve(c *inbound, d *frame.Data, m *Incoming) (*messages.Type, *messages.Decoder, error) {
	m.Session, m.Channel = l.s, c.base
	m.System, m.TargetRequest = d.System, d.TargetRequest
	m.Header, m.Sender, m.Msg = d.Header, nil, nil
	if d.TargetRef == 0 {
		l.in.loose.ID = d.Target
		l.in.loose.Cache.Store(nil)
		m.Target = &l.in.loose
	} else {
		if int(d.TargetRef) > len(l.in.targets) {
			return nil, nil, badFrame(messages.ReasonBadFrame, "a target that was not defined")
		}
		m.Target = l.in.targets[d.TargetRef-1]
	}
	switch d.SenderForm {
	case frame.SenderLocal:
		if d.SenderRef == 0 || int(d.SenderRef) > len(l.in.senders) {
			return nil, nil, badFrame(messages.ReasonBadFrame, "a sender that was not defined")
		}
		m.Sender = l.sender(c, int(d.SenderRef-1), d.SenderRequest)
	case frame.SenderInline:
		m.Sender = l.s.r.bindSender(&actor.PID{Address: l.s.address(), Id: d.SenderID, RequestId: d.SenderRequest}, c.base)
	case frame.SenderForeign:
		m.Sender = l.s.r.bindSender(&actor.PID{Address: d.SenderAddr, Id: d.SenderID, RequestId: d.SenderRequest}, c.base)
	}
	if d.TypeRef == 0 {
		return l.s.r.inType(d.Type).typ, nil, nil
	}
	if int(d.TypeRef) > len(l.in.types) {
		return nil, nil, badFrame(messages.ReasonBadFrame, "a type that was not defined")
	}
	t := &l.in.types[d.TypeRef-1]
	if t.dec == nil && t.typ != nil {
		t.dec = messages.NewDecoder(t.typ)
	}
	return t.typ, t.dec, nil
}

// sender returns the PID of an interned sender. A PID is made once per link
// and channel and then shared: PIDs are not changed by those who get them.
func (l *link) sender(c *inbound, i int, request uint32) *actor.PID {
	if request == 0 && c.base == DataChannel {
		if l.in.pids[i] == nil {
			l.in.pids[i] = l.s.r.bindSender(&actor.PID{Address: l.s.address(), Id: l.in.senders[i]}, c.base)
		}
		return l.in.pids[i]
	}
	return l.s.r.bindSender(&actor.PID{Address: l.s.address(), Id: l.in.senders[i], RequestId: request}, c.base)
}

// deliver decodes a message, with the link's decoder of the type if there is
// one, and posts it, now or when it can be; what cannot be delivered is answered.
func (l *link) deliver(c *inbound, f *inFlow, d *frame.Data, typ *messages.Type, dec *messages.Decoder, body []byte, m *Incoming) {
	r := l.s.r
	why := messages.ReasonUnknownType
	if typ != nil {
		msg, err := m.Msg, error(nil)
		if msg == nil {
			msg, err = decodeBody(typ, dec, body, l.in.ahead)
		}
		if err != nil {
			why = messages.ReasonMalformed
		} else {
			m.Msg = msg
			posted, tried := false, f.inbox == nil && !d.Causal
			if tried {
				why, posted = r.receive(m)
			}
			if !posted {
				why, posted = l.hand(f, d, typ, len(body), m, tried)
			}
			m.Msg = nil
			if !posted {
				return
			}
		}
	}
	if why == "" {
		r.counters.received.Add(1)
		return
	}
	name := d.Type
	if typ != nil {
		name = typ.Name
	} else if d.TypeRef != 0 && int(d.TypeRef) <= len(l.in.types) { // a held message may be another link's
		name = l.in.types[d.TypeRef-1].name
	}
	l.s.reject(f, d.Seq, name, m.Target.ID, m.Sender, why)
}

// decodeBody decodes a message. Code of the application may run here: its
// panic is an error.
func decodeBody(typ *messages.Type, dec *messages.Decoder, body []byte, ahead int) (msg any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("channelmgr: decoding %s panicked: %v", typ.Name, r)
		}
	}()
	if dec != nil {
		return dec.Decode(body, ahead)
	}
	return typ.Decode(body)
}

// beginAssembly takes the first piece of a split message. f.mu is held.
func (l *link) beginAssembly(c *inbound, f *inFlow, d *frame.Data) error {
	limits := l.s.r.limits()
	total := int(d.Total)
	if total > limits.MaxMessage || total <= len(d.Body) {
		return badFrame(messages.ReasonOversize, fmt.Sprintf("a split message of %d bytes, the limit is %d", total, limits.MaxMessage))
	}
	if l.s.assembling.Add(int64(total)) > int64(limits.MaxAssembly) {
		l.s.assembling.Add(-int64(total))
		return badFrame(messages.ReasonLimit, "too many split messages at once")
	}
	a := &assembly{seq: d.Seq, total: total, counted: &l.s.assembling}
	var err error
	if a.typ, _, err = l.resolve(c, d, &a.m); err != nil {
		l.s.assembling.Add(-int64(total))
		return err
	}
	if a.m.Target == &l.in.loose {
		a.m.Target = &Target{ID: l.in.loose.ID}
	}
	// Memory follows what has arrived, not what was declared.
	a.buf = newBody(min(total, 1<<20))
	a.body = append(a.buf.b, d.Body...)
	a.data = *d
	a.data.Body = nil
	f.whole = a
	return nil
}

// onPiece takes a further piece.
func (l *link) onPiece(raw []byte) error {
	p, err := frame.ParsePiece(raw)
	if err != nil {
		return asFrameError(err)
	}
	c, err := l.channel(p.Channel)
	if err != nil {
		return err
	}
	f := c.flow(p.Slot & (Slots - 1))
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.whole
	if a == nil || a.seq != p.Seq || len(a.body)+len(p.Body) > a.total {
		return badFrame(messages.ReasonBadFrame, "a piece that continues nothing")
	}
	a.add(p.Body)
	if len(a.body) < a.total {
		return nil
	}
	f.whole = nil
	a.uncount()
	f.got++
	f.gotBytes += uint64(a.total)
	switch f.rx.Accept(l.id, a.seq, overlay.Time(l.lastRead.Load())) {
	case flow.Deliver:
		a.lend()
		l.deliver(c, f, &a.data, a.typ, nil, a.body, &a.m)
		a.release()
		l.popHeld(c, f)
	case flow.Held:
		if !f.rx.Hold(a.seq, a.total, a) {
			l.s.r.count("flow_hold_overflow")
		}
	case flow.Duplicate:
		f.doubles++
		l.s.r.count("duplicates_suppressed")
	default:
		return badFrame(messages.ReasonBadFrame, fmt.Sprintf("number %d is out of turn on its flow", a.seq))
	}
	if a.data.Report {
		l.owe(f)
	}
	if f.wantsReport() {
		l.s.report(f)
	}
	return nil
}

// onBegin takes the start of a flow on this link.
func (l *link) onBegin(b frame.Begin) error {
	c, err := l.channel(b.Channel)
	if err != nil {
		return err
	}
	f := c.flow(b.Slot & (Slots - 1))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abandon() // its rest went down with the old link
	f.rx.Begin(l.id, b.Base, b.Abandoned, overlay.Time(l.lastRead.Load()))
	l.popHeld(c, f)
	l.s.report(f)
	return nil
}

// onSession: the peer's flows on this link are of its session with that
// number. Those of an earlier one are over: first what has come on their links is
// delivered.
func (l *link) onSession(m frame.Session) error {
	s := l.s
	s.mu.Lock()
	switch {
	case s.parted:
		s.mu.Unlock()
		return errParted
	case m.Epoch < s.inEpoch:
		s.mu.Unlock()
		return &frameError{reason: messages.ReasonDuplicate, err: errors.New("a link of a session that the peer has ended")}
	}
	l.epoch = m.Epoch
	anew := s.inEpoch != 0 && s.inEpoch != m.Epoch
	if !anew {
		s.inEpoch = m.Epoch
		for _, c := range s.in {
			c.epoch.Store(m.Epoch)
		}
	}
	s.mu.Unlock()
	if !anew {
		return nil
	}
	for _, old := range s.r.linksOf(s.peer) {
		if e := old.epochNow(); e != 0 && e < m.Epoch {
			old.fail(messages.ReasonDuplicate, nil)
			<-old.done
		}
	}
	fresh := make(map[string]*inbound)
	old := s.inbounds()
	for _, c := range old {
		fresh[c.name] = c.anew(m.Epoch)
	}
	s.r.tally.Lock()
	defer s.r.tally.Unlock()
	s.r.settleFlows(old)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parted {
		return errParted
	}
	if s.inEpoch < m.Epoch {
		s.in, s.inEpoch = fresh, m.Epoch
	}
	return nil
}

// epochNow is the peer's session that the link is known to be of; 0: none yet.
func (l *link) epochNow() uint64 {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.epoch
}

// onEnd takes the end of a flow on this link: it goes on elsewhere.
func (l *link) onEnd(e frame.End) error {
	c, err := l.channel(e.Channel)
	if err != nil {
		return err
	}
	f := c.flow(e.Slot & (Slots - 1))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rx.End(l.id, e.Seq)
	l.popHeld(c, f)
	return nil
}

// onUndelivered takes the peer's report that a message of ours did not arrive.
func (l *link) onUndelivered(u frame.Undelivered) {
	name := fixedChannel(u.Channel)
	if c := l.in.channel(u.Channel); c != nil {
		name = c.name
	}
	l.s.rejected(name, u)
	report := Undelivered{Session: l.s, Channel: baseName(name), Target: u.Target, TypeName: u.Type, Reason: u.Reason, Remote: true}
	if u.Sender != "" {
		report.Sender = &actor.PID{Address: l.s.r.Address(), Id: u.Sender}
	}
	l.s.r.undelivered(report)
}

// errClosedByPeer ends a reader after the peer's Close.
var errClosedByPeer = errors.New("channelmgr: the peer closed the link")

// onClose ends the link as the peer wishes.
func (l *link) onClose(c frame.Close) error {
	if !l.control && c.Reason == messages.ReasonClosed {
		// An idle link, or one that was replaced: nothing more is begun on it from
		// here, what was begun is finished, and the peer reads on until we close.
		l.finish(l.s.leave(l))
	}
	if c.Reason == messages.ReasonClosed {
		return &frameError{reason: messages.ReasonPeerClosed, err: errClosedByPeer}
	}
	return &frameError{reason: c.Reason, err: errClosedByPeer}
}
