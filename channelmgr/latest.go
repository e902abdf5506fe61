package channelmgr

import (
	"errors"
	"strings"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// latest is what a lane of a Monotonic channel keeps: of each key the newest
// message, until it is confirmed. A message gets its number when it is taken
// for writing, so one that takes the place of another that waits leaves no
// gap. After a change of links the newest that are not confirmed are written
// again under their numbers, each run of numbers behind a Begin of its own;
// what is missing between them was superseded on its way.
//
// The pipe's lock guards it.
type latest struct {
	keys    map[string]*newest // those that are not confirmed
	waiting [Slots][]*newest   // not written yet
	sent    [Slots][]sentAs    // written, in the order of their numbers
	bytes   int                // encoded, of all that is kept
	count   int                // messages that are kept
	turn    int
}

// newest is the newest message of a key, or one without a key.
type newest struct {
	key   string
	raw   []byte // its frames; never changed once they were taken for writing
	seq   uint64 // under which it was written last
	waits bool
}

// sentAs is a number under which a key's message was written. It stands for
// nothing any more when the key has another message since.
type sentAs struct {
	seq uint64
	m   *newest
}

// stands reports whether the number is that of the key's newest message.
func (r sentAs) stands() bool { return r.m.seq == r.seq && !r.m.waits && r.m.raw != nil }

func newLatest() *latest { return &latest{keys: make(map[string]*newest)} }

// key is what a message supersedes by: its partition key, else its target.
// What the runtime sends, and answers to futures, supersede nothing.
func (l *latest) key(o *Outgoing) (key string, ok bool) {
	if o.System || o.NoBlock {
		return "", false
	}
	if o.Key != "" {
		return o.Key, true
	}
	return o.Target, true
}

// has reports whether a message takes the place of another.
func (l *latest) has(o *Outgoing) bool {
	key, ok := l.key(o)
	return ok && l.keys[key] != nil
}

// putLatest takes a message into the table. large is its encoded body, or nil.
// The pipe's lock is held.
func (ln *lane) putLatest(slot uint8, typ *messages.Type, o *Outgoing, size int, large *body) error {
	l := ln.latest
	d := &ln.pipe.head
	*d = frame.Data{}
	if large != nil {
		defer large.release()
	}
	if !ln.header(d, slot, typ, o) {
		return ln.refuse(messages.ReasonLimit, errors.New("more channels than the protocol carries"))
	}
	var raw []byte
	if large != nil {
		raw = frames(d, large.b)
	} else {
		var err error
		if raw, err = appendBody(frame.AppendData(make([]byte, 0, size+128), d), typ, o.Msg); err == nil {
			err = fits(len(raw))
		}
		if err != nil {
			return ln.refuse(messages.ReasonNoCodec, err)
		}
		frame.Finish(raw, 0)
	}
	key, keyed := l.key(o)
	m := l.keys[key]
	if !keyed || m == nil {
		m = &newest{}
		if keyed {
			m.key = strings.Clone(key)
			l.keys[m.key] = m
		}
		l.count++
	} else {
		ln.pipe.s.r.count("superseded")
	}
	l.bytes += len(raw) - len(m.raw)
	m.raw = raw
	if !m.waits {
		m.waits = true
		l.waiting[slot] = append(l.waiting[slot], m)
	}
	return nil
}

// frames encodes a message whose body is encoded already: whole, or its
// pieces one after the other.
func frames(d *frame.Data, rest []byte) []byte {
	first := rest
	if len(rest) > frame.MaxPiece {
		d.Fragment, d.Total = true, uint32(len(rest))
		first = rest[:frame.MaxPiece]
	}
	rest = rest[len(first):]
	raw := append(frame.AppendData(make([]byte, 0, len(first)+len(rest)+128*(2+len(rest)/frame.MaxPiece)), d), first...)
	frame.Finish(raw, 0)
	for len(rest) > 0 {
		next := rest[:min(len(rest), frame.MaxPiece)]
		rest = rest[len(next):]
		start := len(raw)
		raw = append(frame.AppendPiece(raw, d.Channel, d.Slot, 0), next...)
		frame.Finish(raw, start)
	}
	return raw
}

// ready reports whether something waits that may be written.
func (l *latest) ready(ln *lane) bool {
	for _, slot := range ln.slots {
		if len(l.waiting[slot]) > 0 && ln.flows[slot].Open() {
			return true
		}
	}
	return false
}

// fill moves up to about limit bytes of what waits into the lane's queue, in
// turn from each flow whose window is open.
func (l *latest) fill(ln *lane, limit int) {
	l.turn++
	for i := range ln.slots {
		slot := ln.slots[(l.turn+i)%len(ln.slots)]
		fl, w := &ln.flows[slot], l.waiting[slot]
		for len(w) > 0 && fl.Open() && ln.q.bytes < limit {
			m := w[0]
			w[0], w = nil, w[1:]
			m.waits, m.seq = false, fl.Take()
			for rest := m.raw; len(rest) > 0; rest = rest[frame.Len(rest):] {
				frame.SetSeq(rest, m.seq)
			}
			if fl.Ask() {
				frame.SetReport(m.raw)
			}
			l.sent[slot] = append(l.sent[slot], sentAs{m.seq, m})
			ln.q.copy(m.raw)
		}
		if len(w) == 0 {
			w = nil
		}
		l.waiting[slot] = w
	}
}

// confirm forgets what has arrived.
func (l *latest) confirm(slot uint8, below uint64) {
	s := l.sent[slot]
	for len(s) > 0 && s[0].seq < below {
		if m := s[0].m; s[0].stands() {
			if m.key != "" {
				delete(l.keys, m.key)
			}
			l.count--
			l.bytes -= len(m.raw)
			m.raw = nil
		}
		s = s[1:]
	}
	if len(s) == 0 {
		s = nil
	}
	l.sent[slot] = s
}

// again queues what was written and is not confirmed, for another link.
func (l *latest) again(ln *lane, channel uint8) {
	ln.q.drop()
	for _, slot := range ln.slots {
		fl := &ln.flows[slot]
		if fl.Next() == 1 {
			continue
		}
		var list []sentAs
		for _, r := range l.sent[slot] {
			if r.stands() && r.seq >= fl.Confirmed() {
				list = append(list, r)
			}
		}
		l.sent[slot] = list
		at := uint64(0) // the number that may come next on the link
		begin := func(base uint64) {
			b := frame.Begin{Channel: channel, Slot: slot, Base: base}
			if at == 0 {
				_, b.Abandoned = fl.Begin(base)
			}
			ln.q.copy(frame.AppendBegin(nil, b))
		}
		for _, r := range list {
			if r.seq != at {
				begin(r.seq)
			}
			ln.q.copy(r.m.raw)
			at = r.seq + 1
		}
		if at != fl.Next() {
			begin(fl.Next())
		}
	}
}

// leave queues what was never written, to be handed back: the pipe has ended.
func (l *latest) leave(ln *lane) {
	ln.q.drop()
	for _, slot := range ln.slots {
		for _, m := range l.waiting[slot] {
			ln.q.copy(m.raw)
		}
	}
}
