package channelmgr

import (
	"encoding/binary"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// queued is one frame in a lane's queue, seen while walking it.
type queued struct {
	first, last int    // segments [first, last] hold it
	raw         []byte // the frame; its body may be missing when it lies in a segment of its own
	body        []byte // the part that lies in a segment of its own
}

// walk calls f for each frame in the queue, in order.
func (q *segments) walk(f func(queued)) {
	for i := 0; i < len(q.list); i++ {
		b := q.list[i].b
		for len(b) >= 4 {
			n := 4 + int(binary.BigEndian.Uint32(b))
			if n <= len(b) {
				f(queued{first: i, last: i, raw: b[:n]})
				b = b[n:]
				continue
			}
			// The rest of this segment is a head; the body follows.
			f(queued{first: i, last: i + 1, raw: b, body: q.list[i+1].b})
			i++
			break
		}
	}
}

// begin is called when another link takes over. It writes a Begin for every
// flow of the lane that was used before, and drops the pieces of a large
// message whose beginning went down with the old link. The pipe's lock is
// held.
func (ln *lane) begin(dst []byte) []byte {
	if len(ln.slots) == 0 {
		return dst // it carries no flows
	}
	if ln.latest != nil {
		if id, defs, ok := ln.pipe.dict.channel(ln.channel, dst); ok {
			dst = defs
			ln.latest.again(ln, id)
		}
		return dst
	}
	ln.ground()
	if ln.kept != nil {
		ln.kept.again(ln)
	}
	ln.q.discard(ln.orphans())
	id, defs, ok := ln.pipe.dict.channel(ln.channel, dst)
	if !ok {
		return dst
	}
	dst = defs
	first := ln.firstQueued()
	for _, slot := range ln.slots {
		fl := &ln.flows[slot]
		if fl.Next() == 1 {
			continue
		}
		base, abandoned := fl.Begin(unwritten(ln, first, slot))
		dst = frame.AppendBegin(dst, frame.Begin{Channel: id, Slot: slot, Base: base, Abandoned: abandoned})
	}
	return dst
}

// orphans returns how many segments at the front of the queue hold pieces of a
// message whose beginning was taken for writing. The pipe's lock is held.
func (ln *lane) orphans() (n int) {
	whole := false
	ln.q.walk(func(f queued) {
		switch frame.Kind(f.raw[4]) {
		case frame.KindData:
			whole = true
		case frame.KindPiece:
			if !whole {
				n = f.last + 1
			}
		}
	})
	return n
}

// ground keeps the memory of a message that was taken for writing in part out of
// the pools: a writer, of whom nobody knows when it is done, may still read its
// beginning. The pipe's lock is held, or the pipe has ended.
func (ln *lane) ground() {
	for i := range ln.orphans() {
		ln.q.list[i].body = nil
	}
}

// takeOrphans moves those pieces to dst, unless they are kept to be written
// again. The pipe's lock is held.
func (ln *lane) takeOrphans(dst []segment) []segment {
	if ln.kept != nil || ln.latest != nil || len(ln.slots) == 0 {
		return dst
	}
	n := ln.orphans()
	if n == 0 {
		return dst
	}
	at := len(dst)
	dst = append(dst, ln.q.list[:n]...)
	for _, seg := range dst[at:] {
		ln.q.bytes -= len(seg.b)
	}
	rest := copy(ln.q.list, ln.q.list[n:])
	clear(ln.q.list[rest:])
	ln.q.list = ln.q.list[:rest]
	if ln.late {
		ln.numberTaken(dst[at:])
	}
	return dst
}

// firstQueued returns, per slot, the number of the first message still queued
// as a whole, or zero. The pipe's lock is held, or the pipe has ended.
func (ln *lane) firstQueued() (first [Slots]uint64) {
	ln.q.walk(func(f queued) {
		if frame.Kind(f.raw[4]) == frame.KindData {
			if slot, seq := frame.SlotSeq(f.raw); first[slot] == 0 {
				if ln.late || seq == 0 { // not numbered yet
					seq = ln.flows[slot].Next()
				}
				first[slot] = seq
			}
		}
	})
	return first
}

// discard releases the first n segments.
func (q *segments) discard(n int) {
	for i := range q.list[:n] {
		q.bytes -= len(q.list[i].b)
		q.list[i].release()
	}
	rest := copy(q.list, q.list[n:])
	clear(q.list[rest:])
	q.list = q.list[:rest]
}

// maxReturned bounds how many queued messages are decoded again when a session
// ends; the rest is counted only.
const maxReturned = 10_000

// returnQueued hands what waits in the lane back as undelivered. The pipe has
// ended: nobody else touches the queue.
func (ln *lane) returnQueued(why messages.Reason) {
	s := ln.pipe.s
	if len(ln.slots) == 0 { // control, or relayed
		ln.q.drop()
		return
	}
	if ln.latest != nil {
		ln.latest.leave(ln)
	}
	ln.ground()
	first := ln.firstQueued()
	var written [Slots]uint64 // numbers up to this were written, perhaps to a link before
	for _, slot := range ln.slots {
		written[slot] = unwritten(ln, first, slot) - 1
		if ln.kept != nil {
			written[slot] = max(written[slot], ln.kept.written[slot])
			ln.kept.end(slot, written[slot], why)
		}
		if from := ln.flows[slot].Confirmed(); from <= written[slot] {
			s.r.lost(Loss{Session: s, Channel: ln.spec.Name, Slot: slot, From: from, To: written[slot] + 1})
		}
	}
	left := maxReturned
	var d frame.Data
	var whole []byte // a split message while its pieces are gathered
	ln.q.walk(func(f queued) {
		switch frame.Kind(f.raw[4]) {
		case frame.KindData:
			if slot, seq := frame.SlotSeq(f.raw); seq <= written[slot] && !ln.late && ln.latest == nil {
				return
			}
			if left--; left < 0 {
				s.r.counters.undelivered(why)
				return
			}
			if !parseQueued(f, &d) {
				return
			}
			if d.Fragment {
				whole = append(make([]byte, 0, d.Total), d.Body...)
				return
			}
			s.r.handBack(ln.fallen(&d, why), d.Body)
		case frame.KindPiece:
			if left < 0 || whole == nil {
				return
			}
			body := f.body
			if body == nil {
				body = f.raw[frame.PieceHead:]
			}
			if whole = append(whole, body...); len(whole) >= int(d.Total) {
				s.r.handBack(ln.fallen(&d, why), whole)
				whole = nil
			}
		}
	})
	ln.q.drop()
}

// parseQueued reads a data frame of a queue.
func parseQueued(f queued, d *frame.Data) bool {
	raw := f.raw
	if f.body != nil {
		raw = append(append(make([]byte, 0, len(raw)+len(f.body)), raw...), f.body...)
	}
	if frame.SeqOf(raw) == 0 { // not numbered yet
		raw = append([]byte(nil), raw...)
		frame.SetSeq(raw, 1)
	}
	return frame.ParseData(raw, d) == nil
}

// fallen describes a message of the lane that will not be sent. The pipe's
// lock is held, or the pipe has ended.
func (ln *lane) fallen(d *frame.Data, why messages.Reason) Undelivered {
	s, dict := ln.pipe.s, &ln.pipe.dict
	u := Undelivered{Session: s, Channel: ln.spec.Name, Target: d.Target, Reason: why, TypeName: d.Type}
	if d.TargetRef != 0 {
		u.Target = dict.text(frame.TableTarget, d.TargetRef)
	}
	if d.TypeRef != 0 {
		u.TypeName = dict.text(frame.TableType, d.TypeRef)
	}
	id := d.SenderID
	if d.SenderRef != 0 {
		id = dict.text(frame.TableSender, d.SenderRef)
	}
	switch d.SenderForm {
	case frame.SenderLocal, frame.SenderInline:
		u.Sender = &actor.PID{Address: s.r.Address(), Id: id, RequestId: d.SenderRequest}
	case frame.SenderForeign:
		u.Sender = &actor.PID{Address: d.SenderAddr, Id: id, RequestId: d.SenderRequest}
	}
	return u
}

// handBack reports a message that was not sent, decoded again from its body.
func (r *Registry) handBack(u Undelivered, body []byte) {
	if typ, err := r.cfg.Types.Lookup(u.TypeName); err == nil {
		u.Msg, _ = decodeBody(typ, nil, body, 0)
	}
	r.undelivered(u)
}
