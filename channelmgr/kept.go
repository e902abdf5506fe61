package channelmgr

import (
	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/channelmgr/frame"
)

// kept is what a lane of a channel with delivery AtLeastOnce has written and
// the peer has not confirmed: the very blocks that were written, in order.
// After a change of links it is written again, before what is queued; what the
// receiver has it drops by its number.
//
// The pipe's lock guards it.
type kept struct {
	list     []segment
	off      int // of the first segment, confirmed
	bytes    int // of memory that list holds
	frames   int // messages in list
	flying   int // segments at list's end that a writer may still read
	open     int // messages that are queued or not confirmed
	receipts [Slots][]receipt
	written  [Slots]uint64 // numbers up to this were written to a link before the one of now
	moved    uint64        // slots whose flow travels on another lane, under another lock; what is kept of it here is confirmed
}

// move tells that a slot's flow leaves this lane, or comes to it.
func (k *kept) move(slot uint8, away bool) {
	k.moved &^= 1 << slot
	if away {
		k.moved |= 1 << slot
	}
}

// confirmed reports whether a slot's message has been confirmed.
func (k *kept) confirmed(flows *[Slots]flow.Sender, slot uint8, seq uint64) bool {
	return k.moved&(1<<slot) != 0 || seq < flows[slot].Confirmed()
}

// enter counts a message that is being queued. It reports whether the message is
// to ask for a report.
func (k *kept) enter(slot uint8, seq uint64, fl *flow.Sender, o *Outgoing) (ask bool) {
	k.open++
	ask = fl.Ask()
	if o.Receipt != nil {
		k.receipts[slot] = append(k.receipts[slot], receipt{seq, o.Receipt})
		return true
	}
	return ask
}

// lend keeps segments that are taken for writing and leaves the writer views of
// them: their memory stays here.
func (k *kept) lend(taken []segment) {
	k.list = append(k.list, taken...)
	k.flying = len(taken)
	for i := range taken {
		k.bytes += taken[i].memory()
		k.frames += taken[i].frames
		taken[i] = segment{b: taken[i].b, frames: taken[i].frames, foreign: true}
	}
}

// landed tells that no writer reads what is kept any more.
func (k *kept) landed() { k.flying = 0 }

// ground keeps the memory that a writer may still read out of the pools: its
// link is gone, and nobody knows when it is done.
func (k *kept) ground() {
	for i := len(k.list) - k.flying; i < len(k.list); i++ {
		k.list[i].block, k.list[i].small, k.list[i].body = nil, nil, nil
	}
	k.flying = 0
}

// extentAt returns the end of the segments that belong to segment i: a head and
// the body that it refers to, or a block of whole frames.
func (k *kept) extentAt(i int) int {
	if b := k.list[i].b; frame.Len(b) > len(b) {
		return i + 2
	}
	return i + 1
}

// confirm releases what is confirmed at the front, and with much that is
// confirmed behind what is not, copies the latter together. queued is how many
// of the open messages have not been written.
func (k *kept) confirm(flows *[Slots]flow.Sender, queued int) {
	n, grounded := 0, len(k.list)-k.flying
	for n < grounded {
		end := k.extentAt(n)
		if end > grounded || !k.pass(&k.list[n], flows) {
			break
		}
		for ; n < end; n++ {
			k.bytes -= k.list[n].memory()
			k.list[n].release()
		}
		k.off = 0
	}
	if k.list = k.list[n:]; len(k.list) == 0 {
		k.list = nil
	}
	if waste := k.frames - max(k.open-queued, 0); waste > 1024 && waste > k.frames/2 && k.bytes > 1<<20 {
		k.compact(flows)
	}
}

// pass moves on over the frames of the first segment that are confirmed. It
// reports whether all are.
func (k *kept) pass(s *segment, flows *[Slots]flow.Sender) bool {
	for k.off < len(s.b) {
		slot, seq := frame.SlotSeq(s.b[k.off:])
		if !k.confirmed(flows, slot, seq) {
			return false
		}
		if frame.Kind(s.b[k.off+4]) == frame.KindData {
			k.frames--
		}
		k.off += frame.Len(s.b[k.off:])
	}
	return true
}

// compact drops all that is confirmed, wherever it lies, but for what a writer
// may still read.
func (k *kept) compact(flows *[Slots]flow.Sender) {
	var q segments
	i, grounded := 0, len(k.list)-k.flying
	for i < grounded {
		end := k.extentAt(i)
		if end > grounded {
			break
		}
		if end == i+2 {
			if slot, seq := frame.SlotSeq(k.list[i].b); !k.confirmed(flows, slot, seq) {
				q.list = append(q.list, k.list[i:end]...)
				i = end
				continue
			}
		} else {
			for b := k.list[i].b; len(b) > 0; b = b[frame.Len(b):] {
				if slot, seq := frame.SlotSeq(b); !k.confirmed(flows, slot, seq) {
					seg := q.room(frame.Len(b))
					q.set(seg, append(seg.b, b[:frame.Len(b)]...))
					seg.frames++
				}
			}
		}
		for ; i < end; i++ {
			k.list[i].release()
		}
	}
	k.list, k.bytes, k.frames, k.off = append(q.list, k.list[i:]...), 0, 0, 0
	for _, s := range k.list {
		k.bytes += s.memory()
		k.frames += s.frames
	}
}

// again puts what is not confirmed back before what is queued, for another
// link.
func (k *kept) again(ln *lane) {
	first := ln.firstQueued()
	for _, slot := range ln.slots {
		k.written[slot] = max(k.written[slot], unwritten(ln, first, slot)-1)
	}
	k.ground()
	k.compact(ln.flows)
	if k.frames > 0 {
		ln.pipe.s.r.counters.retransmitted.Add(uint64(k.frames))
		ln.stats.retransmitted.Add(uint64(k.frames))
	}
	for _, s := range k.list {
		ln.q.bytes += len(s.b)
	}
	ln.q.list = append(k.list, ln.q.list...)
	ln.queued += k.frames
	k.list, k.bytes, k.frames = nil, 0, 0
}

// unwritten returns the first number of a slot that is queued as a whole.
func unwritten(ln *lane, first [Slots]uint64, slot uint8) uint64 {
	if first[slot] != 0 {
		return first[slot]
	}
	return ln.flows[slot].Next()
}
