package flow

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// HoldFor bounds how long a message waits for an older carrier that neither
// ended nor died.
const HoldFor = 5 * time.Second

// maxLegs bounds how many carriers of one flow may be open at once. One more,
// and the oldest is given up.
const maxLegs = 4

// maxNumber is beyond every number that a flow can reach. It keeps sums of
// numbers from a peer within 64 bits.
const maxNumber = 1 << 62

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

// leg is one carrier's part of a flow. A carrier loses nothing in its middle:
// the numbers on it follow one another from its Begin to its End or its death.
type leg struct {
	carrier uint64
	base    uint64       // its first number: legs are in this order
	next    uint64       // the number that it brings next
	end     uint64       // it brings none above; maxNumber until it ended
	upto    uint64       // none above is missed on it: a younger one brings them
	since   overlay.Time // its Begin
}

// Receiver is the receiving end of a flow. Its zero value is ready.
//
// After each call of Accept, Begin, End, CarrierDead and Expire the caller
// calls Pop until it reports false: a message's turn may have come.
type Receiver struct {
	arrived uint64 // numbers up to this are delivered or given up
	lost    uint64 // of those, given up
	told    uint64 // arrived, as of the last Update
	owed    bool   // a Begin asked for an Update

	legs []leg  // open ones, oldest first
	top  uint64 // lower numbers come, if at all, on a leg that is open now
	held held
}

// Resume returns the receiving end of a flow of which only the result of Rest is
// left.
func Resume(arrived, lost uint64) Receiver {
	return Receiver{arrived: arrived, lost: lost, told: arrived, top: arrived + 1}
}

// Rest returns what is to be remembered of a flow on which nothing can come until
// another carrier begins. It reports false while a carrier is open.
func (r *Receiver) Rest() (arrived, lost uint64, ok bool) {
	return r.arrived, r.lost, len(r.legs) == 0 && len(r.held.items) == 0
}

// Next returns the lowest number that has not arrived.
func (r *Receiver) Next() uint64 { return r.arrived + 1 }

// Lost returns how many numbers were given up, ever.
func (r *Receiver) Lost() uint64 { return r.lost }

// Accept says what is to be done with the message of that number, which came
// on a carrier. Deliver counts it as delivered. It refuses a number out of
// turn on its carrier, and everything while a Pop is due.
func (r *Receiver) Accept(carrier, seq uint64, _ overlay.Time) Verdict {
	i := r.leg(carrier)
	if i < 0 {
		switch {
		case seq <= r.arrived:
			return Duplicate
		case len(r.legs) > 0 || r.arrived > 0 || seq != 1:
			return Refused // a carrier that was not announced
		}
		r.legs = append(r.legs, leg{carrier: carrier, base: 1, next: 1, end: maxNumber, upto: maxNumber})
		i = 0
	}
	l := &r.legs[i]
	switch {
	case seq < l.next:
		return Duplicate
	case seq > l.next || seq > l.end || r.due():
		return Refused
	}
	l.next++
	r.top = max(r.top, l.next)
	switch {
	case seq <= r.arrived || r.held.has(seq):
		return Duplicate
	case seq > r.arrived+1:
		return Held
	}
	r.arrived = seq
	if len(r.legs) > 1 || len(r.held.items) > 0 {
		r.settle()
	}
	return Deliver
}

// Hold keeps a message that Accept called early. It reports false when a bound
// is reached: the message is dropped, and its number given up in its turn.
func (r *Receiver) Hold(seq uint64, size int, item any) bool {
	if seq <= r.arrived {
		return false
	}
	return r.held.add(seq, size, item)
}

// Pop returns the next held message whose turn has come and counts it as
// delivered.
func (r *Receiver) Pop() (item any, ok bool) {
	if !r.due() {
		return nil, false
	}
	r.arrived++
	item = r.held.pop()
	r.settle()
	return item, true
}

// due reports whether the turn of a held message has come.
func (r *Receiver) due() bool { return r.held.first() == r.arrived+1 }

// Begin takes the announcement that the flow travels on a carrier from number
// base on. What comes there is held until every older carrier has brought its
// part, ended or died; numbers below base that no carrier can bring any more
// are given up. abandoned matters to an end that knows nothing of the flow
// yet: so many of the numbers below base were given up by the sender.
func (r *Receiver) Begin(carrier, base, abandoned uint64, now overlay.Time) {
	r.owed = true
	base = min(max(base, 1), maxNumber)
	if r.arrived == 0 && len(r.legs) == 0 {
		// This end is new. If the flow is not, then what came before was an
		// earlier session's, and only what the sender gave up is missing here.
		r.arrived = base - 1
		r.lost += min(abandoned, r.arrived)
	}
	if i := r.leg(carrier); i >= 0 {
		r.legs = slices.Delete(r.legs, i, i+1) // it begins anew
	} else if len(r.legs) == maxLegs {
		r.legs = slices.Delete(r.legs, 0, 1)
	}
	r.insert(leg{carrier: carrier, base: base, next: base, end: maxNumber, upto: maxNumber, since: now})
	r.top = max(r.top, base)
	r.settle()
}

// insert adds a leg in its place. Bases never fall from one carrier to the
// next, but what two carriers bring may cross: the Begin of the older one can
// come after that of the younger.
func (r *Receiver) insert(l leg) {
	at := len(r.legs)
	for i := len(r.legs) - 1; i >= 0; i-- {
		switch o := &r.legs[i]; {
		case o.base < l.base:
			o.upto = min(o.upto, l.base-1)
		case o.base > l.base:
			l.upto = min(l.upto, o.base-1)
			at = i
		}
	}
	r.legs = slices.Insert(r.legs, at, l)
}

// End takes the announcement that a carrier brings no number above seq.
func (r *Receiver) End(carrier, seq uint64) {
	if i := r.leg(carrier); i >= 0 {
		r.legs[i].end = min(r.legs[i].end, seq)
		r.settle()
	}
}

// CarrierDead tells that all that came on a carrier has been handled and that
// nothing will come any more.
func (r *Receiver) CarrierDead(carrier uint64, _ overlay.Time) {
	if i := r.leg(carrier); i >= 0 {
		r.legs = slices.Delete(r.legs, i, i+1)
		r.settle()
	}
}

// Expire gives up carriers that were replaced HoldFor ago and have neither
// ended nor died, if something waits for them.
func (r *Receiver) Expire(now overlay.Time) {
	for len(r.legs) > 1 && now.Sub(r.legs[1].since) >= HoldFor {
		r.legs = slices.Delete(r.legs, 0, 1)
	}
	r.settle()
}

func (r *Receiver) leg(carrier uint64) int {
	for i := range r.legs {
		if r.legs[i].carrier == carrier {
			return i
		}
	}
	return -1
}

// settle gives up the numbers that can come no more, and closes what is done.
func (r *Receiver) settle() {
	r.legs = slices.DeleteFunc(r.legs, func(l leg) bool { return l.next > l.end })
	for !r.due() && r.arrived+1 < r.top {
		n := r.arrived + 1
		// The lowest number from n on that is held or can still come.
		m := min(r.top, r.held.first())
		for _, l := range r.legs {
			if from := max(l.next, n); from <= min(l.end, l.upto) {
				m = min(m, from)
			}
		}
		if m == n {
			return
		}
		r.lost += m - n
		r.arrived = m - 1
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
