package flow

import (
	"cmp"
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// PathHoldFor bounds how long a message that came over relays waits for lower
// numbers. A path can change in its middle, unknown to both ends, so messages
// overtake each other by the difference of two paths, or are gone. Our choice.
const PathHoldFor = time.Second

// Path is the receiving end of a flow that travels over relays, where a carrier
// may lose and reorder: it delivers in order, holds what is early for a bounded
// time, and then gives up what is missing and counts it. Its zero value is
// ready. As with Receiver, the caller calls Pop after each call until it
// reports false.
type Path struct {
	// HoldFor bounds how long a held message waits; zero means PathHoldFor.
	HoldFor time.Duration

	arrived uint64 // numbers up to this are delivered or given up
	lost    uint64 // of those, given up
	told    uint64
	held    held
	since   overlay.Time // the first held message waits since then
}

// Next returns the lowest number that has not arrived.
func (p *Path) Next() uint64 { return p.arrived + 1 }

// Lost returns how many numbers were given up, ever.
func (p *Path) Lost() uint64 { return p.lost }

// Accept says what is to be done with the message of that number: deliver it,
// keep it with Hold, or drop it.
func (p *Path) Accept(seq uint64, now overlay.Time) Verdict {
	switch {
	case seq == 0 || seq >= maxNumber:
		return Refused
	case seq <= p.arrived || p.held.has(seq):
		return Duplicate
	case seq > p.arrived+1:
		if len(p.held.items) == 0 {
			p.since = now
		}
		return Held
	}
	p.arrived = seq
	p.since = now
	return Deliver
}

// Hold keeps a message that Accept called early. It reports false when a bound
// is reached: the message is dropped, and its number given up in its turn.
func (p *Path) Hold(seq uint64, size int, item any) bool {
	return seq > p.arrived && p.held.add(seq, size, item)
}

// Pop returns the next held message whose turn has come and counts it as
// delivered.
func (p *Path) Pop() (item any, ok bool) {
	if p.held.first() != p.arrived+1 {
		return nil, false
	}
	p.arrived++
	return p.held.pop(), true
}

// Waits reports whether a message waits for lower numbers, and until when at
// most: Expire is to be called then.
func (p *Path) Waits() (until overlay.Time, ok bool) {
	return p.since.Add(cmp.Or(p.HoldFor, PathHoldFor)), len(p.held.items) > 0
}

// Expire gives up what is missing below the first held message, if that has
// waited for HoldFor.
func (p *Path) Expire(now overlay.Time) {
	if until, ok := p.Waits(); ok && now >= until {
		p.skip()
		p.since = now
	}
}

// skip gives up the numbers below the first held message.
func (p *Path) skip() {
	first := p.held.first()
	p.lost += first - 1 - p.arrived
	p.arrived = first - 1
}

// NeedsUpdate reports whether the sender should hear from us now.
func (p *Path) NeedsUpdate() bool { return p.arrived-p.told >= InitialWindow/4 }

// Update returns the report for the sender; see Receiver.Update.
func (p *Path) Update(window uint64) Update {
	p.told = p.arrived
	return Update{Next: p.arrived + 1, Credit: p.arrived + window, Lost: p.lost}
}
