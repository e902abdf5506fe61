package channelmgr

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// Lanes whose overflow policy is DropOldest number their messages when they
// are taken for writing: what is dropped before leaves no gap. Until then the
// place of the number says whether a message may be dropped.
const (
	mayDrop uint64 = iota
	mustStay
)

// errShed says that the message to be sent was dropped itself.
var errShed = errors.New("channelmgr: dropped")

// shed is a message that was dropped from a queue, to be told of once the
// pipe's lock is free.
type shed struct {
	u    Undelivered
	body []byte
}

// shedOldest drops the message of the lane that has waited for longest. What
// the runtime sends, answers to futures and what has been written in part stay.
// It reports false when nothing is left to drop. The pipe's lock is held.
func (ln *lane) shedOldest() bool {
	q := &ln.q
	for i := 0; i < len(q.list); i++ {
		seg := &q.list[i]
		for off := 0; off < len(seg.b); {
			n := frame.Len(seg.b[off:])
			byRef := off+n > len(seg.b) // the body lies in the next segment
			if kind := frame.Kind(seg.b[off+4]); kind == frame.KindData && frame.SeqOf(seg.b[off:]) == mayDrop {
				if byRef {
					ln.fell(queued{raw: seg.b, body: q.list[i+1].b})
					q.remove(i, ln.extent(i))
				} else {
					ln.fell(queued{raw: seg.b[off : off+n]})
					copy(seg.b[n:off+n], seg.b[:off]) // what stays before it closes up
					seg.b = seg.b[n:]
					seg.frames--
					if q.bytes -= n; len(seg.b) == 0 {
						q.remove(i, i+1)
					}
				}
				ln.queued--
				return true
			}
			if byRef {
				i++
				break
			}
			off += n
		}
	}
	return false
}

// extent returns the end of the segments of the large message that begins with
// segment i.
func (ln *lane) extent(i int) int {
	list := ln.q.list
	end := i + 2
	for end+1 < len(list) && len(list[end].b) > 4 && frame.Kind(list[end].b[4]) == frame.KindPiece {
		end += 2
	}
	return end
}

// fell notes that a message was dropped. Whoever waits for an answer is told;
// of the others, so many in a second as there may be events.
func (ln *lane) fell(f queued) {
	r := ln.pipe.s.r
	r.count("dropped_oldest")
	ln.stats.drop(messages.ReasonOverflow)
	d := &ln.pipe.head
	if !parseQueued(f, d) {
		return
	}
	if d.SenderForm == frame.SenderNone && !r.sheds.allow(r.now(), shedEvents) {
		r.counters.undelivered(messages.ReasonOverflow)
		return
	}
	s := shed{u: ln.fallen(d, messages.ReasonOverflow)}
	if !d.Fragment {
		s.body = append([]byte(nil), d.Body...)
	}
	ln.shed = append(ln.shed, s)
}

// tellShed reports what was dropped. The pipe's lock is free.
func (ln *lane) tellShed(list []shed) {
	for _, s := range list {
		ln.pipe.s.r.handBack(s.u, s.body)
	}
}

// shedNewest drops the message that was to be sent.
func (ln *lane) shedNewest(typ *messages.Type, o *Outgoing) {
	r := ln.pipe.s.r
	r.count("dropped_newest")
	ln.stats.drop(messages.ReasonOverflow)
	if o.Sender == nil && !r.sheds.allow(r.now(), shedEvents) {
		r.counters.undelivered(messages.ReasonOverflow)
		return
	}
	r.undelivered(Undelivered{Session: ln.pipe.s, Channel: ln.spec.Name, Target: o.Target, Sender: o.Sender, Msg: o.Msg, TypeName: typ.Name, Reason: messages.ReasonOverflow})
}

// numberTaken gives the messages in segments that are about to be written
// their numbers. The pipe's lock is held.
func (ln *lane) numberTaken(list []segment) {
	for i := 0; i < len(list); i++ {
		for b := list[i].b; len(b) >= 4; {
			n := int(binary.BigEndian.Uint32(b)) + 4
			switch frame.Kind(b[4]) {
			case frame.KindData:
				slot, _ := frame.SlotSeq(b)
				ln.last = ln.flows[slot].Take()
				fallthrough
			case frame.KindPiece: // follows its message
				frame.SetSeq(b, ln.last)
			}
			if n > len(b) {
				i++
				break
			}
			b = b[n:]
		}
	}
}

// remove releases the segments [from, to).
func (q *segments) remove(from, to int) {
	for i := from; i < to; i++ {
		q.bytes -= len(q.list[i].b)
		q.list[i].release()
	}
	rest := from + copy(q.list[from:], q.list[to:])
	clear(q.list[rest:])
	q.list = q.list[:rest]
}

// copy queues frames, small ones in a block.
func (q *segments) copy(raw []byte) {
	if len(raw) > inPlace {
		q.refer(raw, nil)
		return
	}
	seg := q.room(len(raw))
	q.set(seg, append(seg.b, raw...))
}

// perSecond bounds what happens in a second.
type perSecond struct{ second, n atomic.Int64 }

// shedEvents is how many dropped messages are told of in a second besides those
// whose senders wait.
const shedEvents = 1000

// stallEvents is how many stalls are told of in a second.
const stallEvents = 10

func (p *perSecond) allow(now time.Duration, limit int64) bool {
	s := int64(now / time.Second)
	if p.second.Swap(s) != s {
		p.n.Store(0)
	}
	return p.n.Add(1) <= limit
}
