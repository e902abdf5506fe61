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
	first := ln.firstQueued()
	orphans := -1 // segments up to here belong to a message that is lost
	ln.q.walk(func(f queued) {
		if frame.Kind(f.raw[4]) == frame.KindPiece {
			if slot, seq := frame.SlotSeq(f.raw); first[slot] == 0 || seq < first[slot] {
				orphans = f.last
			}
		}
	})
	if orphans >= 0 {
		ln.q.discard(orphans + 1)
	}
	id, defs, ok := ln.pipe.dict.channel(ln.channel, dst)
	if !ok {
		return dst
	}
	dst = defs
	for _, slot := range ln.slots {
		fl := &ln.flows[slot]
		if fl.Next() == 1 {
			continue
		}
		unwritten := first[slot]
		if unwritten == 0 {
			unwritten = fl.Next()
		}
		base, abandoned := fl.Begin(unwritten)
		dst = frame.AppendBegin(dst, frame.Begin{Channel: id, Slot: slot, Base: base, Abandoned: abandoned})
	}
	return dst
}

// firstQueued returns, per slot, the number of the first message still queued
// as a whole, or zero. The pipe's lock is held, or the pipe has ended.
func (ln *lane) firstQueued() (first [Slots]uint64) {
	ln.q.walk(func(f queued) {
		if frame.Kind(f.raw[4]) == frame.KindData {
			if slot, seq := frame.SlotSeq(f.raw); first[slot] == 0 {
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

// reverse returns the texts of all definitions by table and id.
func (d *dictionary) reverse() [5]map[uint32]string {
	var names [5]map[uint32]string
	for _, def := range d.order {
		if names[def.table] == nil {
			names[def.table] = make(map[uint32]string)
		}
		names[def.table][def.id] = def.text
	}
	return names
}

// maxReturned bounds how many queued messages are decoded again when a session
// ends; the rest is counted only.
const maxReturned = 10_000

// returnQueued hands what waits in the lane back as undelivered. The pipe has
// ended: nobody else touches the queue.
func (ln *lane) returnQueued(names [5]map[uint32]string, why messages.Reason) {
	s := ln.pipe.s
	if len(ln.slots) == 0 { // control, or relayed
		ln.q.drop()
		return
	}
	first := ln.firstQueued()
	for _, slot := range ln.slots {
		from, to := ln.flows[slot].Unconfirmed()
		if first[slot] != 0 {
			to = first[slot]
		}
		if from < to {
			s.r.lost(Loss{Session: s, Channel: ln.channel, Slot: slot, From: from, To: to})
		}
	}
	left := maxReturned
	var d frame.Data
	var whole []byte // a split message while its pieces are gathered
	report := func(body []byte) {
		u := Undelivered{Session: s, Channel: ln.channel, Target: d.Target, Reason: why, TypeName: d.Type}
		if d.TargetRef != 0 {
			u.Target = names[frame.TableTarget][d.TargetRef]
		}
		if d.TypeRef != 0 {
			u.TypeName = names[frame.TableType][d.TypeRef]
		}
		id := d.SenderID
		if d.SenderRef != 0 {
			id = names[frame.TableSender][d.SenderRef]
		}
		switch d.SenderForm {
		case frame.SenderLocal, frame.SenderInline:
			u.Sender = &actor.PID{Address: s.r.Address(), Id: id, RequestId: d.SenderRequest}
		case frame.SenderForeign:
			u.Sender = &actor.PID{Address: d.SenderAddr, Id: id, RequestId: d.SenderRequest}
		}
		if typ, err := s.r.cfg.Types.Lookup(u.TypeName); err == nil {
			u.Msg, _ = decodeBody(typ, nil, body, 0)
		}
		s.r.undelivered(u)
	}
	ln.q.walk(func(f queued) {
		switch frame.Kind(f.raw[4]) {
		case frame.KindData:
			if left--; left < 0 {
				s.r.counters.undelivered(why)
				return
			}
			raw := f.raw
			if f.body != nil {
				raw = append(append(make([]byte, 0, len(raw)+len(f.body)), raw...), f.body...)
			}
			if frame.ParseData(raw, &d) != nil {
				return
			}
			if d.Fragment {
				whole = append(make([]byte, 0, d.Total), d.Body...)
				return
			}
			report(d.Body)
		case frame.KindPiece:
			if left < 0 || whole == nil {
				return
			}
			if whole = append(whole, f.body...); len(whole) >= int(d.Total) {
				report(whole)
				whole = nil
			}
		}
	})
	ln.q.drop()
}
