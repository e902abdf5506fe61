package channelmgr

import (
	"github.com/maquis-go/maquis/channelmgr/frame"
)

// holBytes is how much may be ahead of a message on its lane before another lane
// is opened for it. Our choice: the largest piece.
const holBytes = frame.MaxPiece

// A channel's lanes are a ceiling. Its flows all begin on the first; one that
// would have to wait behind much of others goes to another lane, whose link
// opens with that, and comes back when that link was closed because it idled. A
// flow changes lanes only when all that it brought is confirmed: nothing of it is
// on its way, so nothing can be overtaken. Lanes that number messages late (those
// of a channel that drops the oldest, or is Monotonic) keep the flows that they
// have from the start.

// lane returns the lane on which a slot's flow travels now.
func (c *outbound) lane(slot uint8) *lane { return c.lanes[c.at[slot].Load()] }

// lock locks the pipe of the lane on which a slot's flow travels, and returns
// the lane.
func (c *outbound) lock(slot uint8) *lane {
	for {
		ln := c.lane(slot)
		ln.pipe.mu.Lock()
		if ln.carries(slot) {
			return ln
		}
		ln.pipe.mu.Unlock()
	}
}

// carries reports whether a slot's flow travels on this lane. mu is held.
func (ln *lane) carries(slot uint8) bool {
	return ln.c.fixed || ln.c.at[slot].Load() == uint32(ln.index)
}

// lockBest is lock for who sends: a flow that would have to wait behind others
// moves first, if it can.
func (c *outbound) lockBest(slot uint8) *lane {
	ln := c.lock(slot)
	if c.fixed || c.count.Load() == 1 {
		return ln
	}
	ln.asks = false
	if ln.strayed() {
		ln.pipe.mu.Unlock()
		c.goHome(slot)
		ln = c.lock(slot)
		ln.asks = ln.strayed()
	}
	if ln.ahead() <= holBytes {
		return ln
	}
	if fl := &c.flows[slot]; fl.Confirmed() == fl.Next() {
		if to := c.emptiest(ln); to != nil && to.pipe.mu.TryLock() {
			if c.move(slot, ln, to) {
				ln.pipe.mu.Unlock()
				return to
			}
			to.pipe.mu.Unlock()
		}
	}
	ln.asks = true // a report will free it for the next message
	return ln
}

// emptiest returns the lane with the least ahead of a message, of equal ones the
// first, if that is less than half of what is ahead on a lane; nil if there is
// none. The lane's pipe is locked; another that is locked, too, is in use.
func (c *outbound) emptiest(ln *lane) (best *lane) {
	least, opening := ln.ahead()/2+1, 0 // lanes whose links are being opened
	if ln.pipe.link == nil {
		opening++
	}
	for i := range min(int(c.count.Load()), ln.spec.Lanes) {
		to := c.lanes[i]
		if to.pipe == ln.pipe || !to.pipe.mu.TryLock() {
			continue
		}
		if to.pipe.link == nil && to.pending() {
			opening++
		} else if to.pipe.link == nil && ln.pipe.s.r.crowded(opening) {
			to.pipe.mu.Unlock()
			ln.pipe.s.r.count("connections_full")
			break // nor is another opened
		}
		if n := to.ahead(); n < least {
			best, least = to, n
		}
		to.pipe.mu.Unlock()
		if least == 0 {
			break
		}
	}
	return best
}

// strayed reports whether the lane has no link any more since it idled, or is
// above the ceiling. mu is held.
func (ln *lane) strayed() bool {
	return ln.index > 0 && (ln.pipe.link == nil && !ln.pending() || ln.index >= ln.spec.Lanes)
}

// goHome brings a flow back to the first lane, if it can move.
func (c *outbound) goHome(slot uint8) {
	from, home := c.lane(slot), c.lanes[0]
	first, second := from.pipe, home.pipe
	if first == second {
		return
	}
	if first.index > second.index { // whoever waits for two locks takes them in this order
		first, second = second, first
	}
	first.mu.Lock()
	second.mu.Lock()
	moved := from.carries(slot) && from.strayed() && c.move(slot, from, home)
	home.pipe.mu.Unlock()
	if moved && from.pipe.link != nil {
		from.pipe.kick(false) // the End
		return
	}
	from.pipe.mu.Unlock()
}

// ahead is how many bytes a message would have to wait for. mu is held.
func (ln *lane) ahead() int {
	n := ln.q.bytes
	if p := ln.pipe; p.busy != nil {
		n += p.writing
	}
	return n
}

// move lets a slot's flow travel on another lane from now on, if nothing of it
// is on its way. Both pipes are locked.
func (c *outbound) move(slot uint8, from, to *lane) bool {
	fl := &c.flows[slot]
	if fl.Confirmed() != fl.Next() || to.pipe.ended != "" || !c.announce(slot, from, to) {
		return false
	}
	for i, s := range from.slots {
		if s == slot {
			from.slots = append(from.slots[:i:i], from.slots[i+1:]...)
			break
		}
	}
	to.slots = append(to.slots[:len(to.slots):len(to.slots)], slot)
	if from.kept != nil {
		from.kept.move(slot, true)
		to.kept.move(slot, false)
	}
	c.at[slot].Store(uint32(to.index))
	return true
}

// announce tells the receiver that a flow leaves one link for another. Both
// pipes are locked.
func (c *outbound) announce(slot uint8, from, to *lane) bool {
	fl := &c.flows[slot]
	if fl.Next() == 1 {
		return true // it begins there
	}
	end, base, ok := fl.Change(fl.Next())
	if !ok {
		return false
	}
	p, q := from.pipe, to.pipe
	if p.link != nil {
		id, defs, ok := p.dict.channel(from.channel, p.defs)
		if !ok {
			return false
		}
		p.defs = frame.AppendEnd(defs, frame.End{Channel: id, Slot: slot, Seq: end})
	}
	if q.link == nil {
		q.carried = true // its first link begins with what travels there
		return true
	}
	id, defs, ok := q.dict.channel(to.channel, q.defs)
	if !ok {
		return false
	}
	q.defs = frame.AppendBegin(defs, frame.Begin{Channel: id, Slot: slot, Base: base})
	return true
}
