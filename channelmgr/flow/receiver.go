package flow

import (
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// Bounds of what a receiver holds for its turn.
const (
	MaxHeld      = 1024
	MaxHeldBytes = 4 << 20
	HoldFor      = 5 * time.Second
)

// Verdict says what is to be done with a message.
type Verdict uint8

// Verdicts.
const (
	Deliver   Verdict = iota + 1 // it is the next one
	Duplicate                    // it was delivered, or given up, before
	Held                         // it is early: keep it with Hold
	Refused                      // it violates the protocol
)

// String returns the verdict's name.
func (v Verdict) String() string {
	return [...]string{"none", "deliver", "duplicate", "held", "refused"}[min(v, 4)]
}

// Receiver is the receiving end of a flow. Its zero value is ready.
type Receiver struct {
	arrived uint64 // numbers up to this are delivered or given up
	lost    uint64 // of those, given up
	told    uint64 // arrived, as of the last Update
	owed    bool   // a Begin asked for an Update

	carrier uint64 // the current one; 0 none
	dead    bool   // the current carrier is gone
	end     uint64 // End on the current carrier: it brings no number above
	ended   bool

	coming   uint64 // the carrier that will follow
	base     uint64 // its Begin
	since    overlay.Time
	held     map[uint64]heldItem
	heldSize int
}

type heldItem struct {
	item any
	size int
}

// Next returns the lowest number that has not arrived.
func (r *Receiver) Next() uint64 { return r.arrived + 1 }

// Lost returns how many numbers were given up, ever.
func (r *Receiver) Lost() uint64 { return r.lost }

// Accept says what is to be done with the message of that number, which came
// on a carrier. Deliver counts it as delivered.
func (r *Receiver) Accept(carrier, seq uint64, now overlay.Time) Verdict {
	if carrier == r.carrier {
		switch {
		case seq == r.arrived+1:
			r.arrived = seq
			r.settle(now)
			return Deliver
		case seq <= r.arrived:
			return Duplicate
		default:
			return Refused // a gap on one carrier: it loses nothing
		}
	}
	if r.carrier == 0 && r.coming == 0 && seq == 1 && r.arrived == 0 {
		r.carrier, r.dead, r.ended = carrier, false, false
		r.arrived = 1
		return Deliver
	}
	if carrier != r.coming {
		return Refused // neither the current carrier nor the announced one
	}
	if seq <= r.arrived {
		return Duplicate
	}
	return Held
}

// Hold keeps an early message for its turn. It reports false when the bounds
// are reached; the message is then lost and its number will be given up.
func (r *Receiver) Hold(seq uint64, size int, item any) bool {
	if len(r.held) >= MaxHeld || r.heldSize+size > MaxHeldBytes {
		return false
	}
	if r.held == nil {
		r.held = make(map[uint64]heldItem)
	}
	if _, ok := r.held[seq]; !ok {
		r.held[seq] = heldItem{item, size}
		r.heldSize += size
	}
	return true
}

// Pop returns the next held message whose turn has come and counts it as
// delivered.
func (r *Receiver) Pop() (item any, ok bool) {
	if len(r.held) == 0 || r.coming != 0 {
		return nil, false
	}
	h, ok := r.held[r.arrived+1]
	if !ok {
		return nil, false
	}
	r.arrived++
	delete(r.held, r.arrived)
	r.heldSize -= h.size
	return h.item, true
}

// Begin takes the announcement that the flow will travel on another carrier
// from number base on. If the current carrier lives and has not ended, what
// comes on the new one is held until it has. Otherwise the new one takes over
// at once, and numbers below base that never came are given up.
func (r *Receiver) Begin(carrier, base, abandoned uint64, now overlay.Time) {
	r.owed = true
	if carrier == r.carrier {
		r.skip(base)
		return
	}
	r.coming, r.base, r.since = carrier, base, now
	if r.carrier == 0 {
		r.dead = true
		if r.arrived == 0 && base > 1 {
			// This end is new, the flow is not: what came before was an earlier
			// session's. Only what the sender gave up is missing here.
			r.arrived = base - 1
			r.lost += min(abandoned, r.arrived)
		}
	}
	r.settle(now)
}

// End takes the announcement that a carrier brings no number above seq.
func (r *Receiver) End(carrier, seq uint64) {
	if carrier == r.carrier {
		r.ended, r.end = true, seq
		r.settle(r.since)
	}
}

// CarrierDead tells that all that came on a carrier has been handled and that
// nothing will come any more.
func (r *Receiver) CarrierDead(carrier uint64, now overlay.Time) {
	switch carrier {
	case r.carrier:
		r.dead = true
		r.settle(now)
	case r.coming:
		r.coming = 0
	}
}

// Expire ends a hold that has lasted too long: the new carrier takes over
// though the old one was neither ended nor lost.
func (r *Receiver) Expire(now overlay.Time) {
	if r.coming != 0 && now.Sub(r.since) >= HoldFor {
		r.dead = true
		r.settle(now)
	}
}

// settle lets the coming carrier take over if the current one is done.
func (r *Receiver) settle(now overlay.Time) {
	if r.coming == 0 || !(r.dead || r.ended && r.arrived >= r.end) {
		return
	}
	r.carrier, r.coming = r.coming, 0
	r.dead, r.ended = false, false
	r.skip(r.base)
}

// skip gives up the numbers below base that have not come.
func (r *Receiver) skip(base uint64) {
	if base > r.arrived+1 {
		r.lost += base - 1 - r.arrived
		r.arrived = base - 1
	}
	for seq, h := range r.held {
		if seq <= r.arrived {
			delete(r.held, seq)
			r.heldSize -= h.size
		}
	}
}

// NeedsUpdate reports whether the sender should hear from us now: a Begin
// asked for an answer, or a quarter of the window was used.
func (r *Receiver) NeedsUpdate() bool {
	return r.owed || r.arrived-r.told >= InitialWindow/4
}

// Update returns the report for the sender, which may send window messages
// beyond what has arrived.
func (r *Receiver) Update(window uint64) Update {
	r.told, r.owed = r.arrived, false
	return Update{Next: r.arrived + 1, Credit: r.arrived + window, Lost: r.lost}
}
