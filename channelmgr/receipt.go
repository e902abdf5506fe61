package channelmgr

import (
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// Receipt is what became of a message that was sent with one. The zero value
// says that it was handed to its target.
type Receipt struct {
	Reason messages.Reason // why it was not; "" if it was
	Unsure bool            // it was written, and nobody knows whether it arrived
}

// receipt is one that waits for the message of a number.
type receipt struct {
	seq uint64
	to  chan<- Receipt // has room
}

// settle answers the receipts of a flow whose confirmed messages have grown by
// progress, and releases what is kept of them. With unsure, the peer could not
// deliver some of them, or has lost some, and which is not known. The pipe's lock
// is held.
func (k *kept) settle(ln *lane, slot uint8, progress uint64, unsure bool) {
	k.open -= int(progress)
	fl := &ln.flows[slot]
	list := k.receipts[slot]
	for len(list) > 0 && list[0].seq < fl.Confirmed() {
		list[0].to <- Receipt{Unsure: unsure}
		list = list[1:]
	}
	if len(list) == 0 {
		list = nil
	}
	k.receipts[slot] = list
	k.confirm(ln.flows, ln.queued)
}

// reject takes the news that the message of a number could not be delivered.
// The pipe's lock is held.
func (k *kept) reject(slot uint8, seq uint64, why messages.Reason) {
	for i, r := range k.receipts[slot] {
		if r.seq == seq {
			r.to <- Receipt{Reason: why}
			k.receipts[slot] = append(k.receipts[slot][:i:i], k.receipts[slot][i+1:]...)
			return
		}
	}
}

// end answers all receipts: the pipe has ended. Of what was written nobody
// knows whether it arrived.
func (k *kept) end(slot uint8, written uint64, why messages.Reason) {
	for _, r := range k.receipts[slot] {
		if r.seq <= written {
			r.to <- Receipt{Unsure: true}
		} else {
			r.to <- Receipt{Reason: why}
		}
	}
	k.receipts[slot] = nil
}

// rejected takes the peer's report that it could not deliver a message.
func (s *Session) rejected(channel string, u frame.Undelivered) {
	c := s.opened(channel)
	if c == nil || u.Slot >= Slots || u.Epoch != s.epoch {
		return
	}
	ln := c.lock(u.Slot)
	defer ln.pipe.mu.Unlock()
	ln.rejects[u.Slot]++
	if ln.kept != nil {
		ln.kept.reject(u.Slot, u.Seq, u.Reason)
	}
}
