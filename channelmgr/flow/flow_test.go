package flow

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/overlay"
)

// pops returns all that the receiver gives out now.
func pops(r *Receiver) (items []any) {
	for {
		item, ok := r.Pop()
		if !ok {
			return items
		}
		items = append(items, item)
	}
}

// early brings a number that has to wait, and holds it.
func early(t *testing.T, r *Receiver, carrier, seq uint64) {
	t.Helper()
	require.Equal(t, Held, r.Accept(carrier, seq, 0))
	require.True(t, r.Hold(seq, 1, seq))
}

// On one carrier messages are delivered in order, once.
func TestOneCarrier(t *testing.T) {
	var s Sender
	var r Receiver
	for range 5 {
		require.Equal(t, Deliver, r.Accept(1, s.Take(), 0))
	}
	require.Equal(t, Duplicate, r.Accept(1, 3, 0))
	require.Equal(t, Refused, r.Accept(1, 9, 0), "a gap on one carrier is no loss: it cannot happen")
	require.Equal(t, Refused, r.Accept(2, 6, 0), "a carrier that was not announced")
	require.Equal(t, Duplicate, r.Accept(2, 4, 0), "what is old is old, wherever it comes from")
	progress, lost := s.Update(r.Update(10))
	require.EqualValues(t, 5, progress)
	require.Zero(t, lost)
	from, to := s.Unconfirmed()
	require.Equal(t, from, to)
}

// §7 "the flow changes carrier": after a death the tail that was written is
// given up and counted, what was queued follows in order.
func TestCarrierDies(t *testing.T) {
	var s Sender
	var r Receiver
	for range 10 {
		s.Take()
	}
	for seq := uint64(1); seq <= 4; seq++ {
		require.Equal(t, Deliver, r.Accept(1, seq, 0))
	}
	r.CarrierDead(1, 0) // 5, 6 and 7 were written and lost, 8 to 10 are queued
	base, abandoned := s.Begin(8)
	require.EqualValues(t, 8, base)
	require.EqualValues(t, 7, abandoned, "nothing was confirmed yet")
	r.Begin(2, base, abandoned, 0)
	require.True(t, r.NeedsUpdate())
	require.Equal(t, Deliver, r.Accept(2, 8, 0))
	progress, lost := s.Update(r.Update(100))
	require.EqualValues(t, 8, progress)
	require.EqualValues(t, 3, lost)
	require.False(t, r.NeedsUpdate())
}

// In an orderly change what comes early is held until the old carrier has
// brought its last.
func TestOrderlyChange(t *testing.T) {
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, 1, 0))
	r.Begin(2, 3, 0, 0)
	early(t, &r, 2, 3)
	require.Empty(t, pops(&r))
	require.Equal(t, Deliver, r.Accept(1, 2, 0))
	require.Equal(t, []any{uint64(3)}, pops(&r), "no need to wait for the End: nothing is missing")
	r.End(1, 2)
	require.Equal(t, Deliver, r.Accept(2, 4, 0))
	require.Zero(t, r.Lost())
}

// An End that names more than came before its carrier died: the rest is lost.
func TestEndThenDeath(t *testing.T) {
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, 1, 0))
	r.Begin(2, 4, 0, 0)
	early(t, &r, 2, 4)
	r.End(1, 3)
	require.Empty(t, pops(&r), "2 and 3 may still come")
	r.CarrierDead(1, 0)
	require.Equal(t, []any{uint64(4)}, pops(&r))
	require.EqualValues(t, 2, r.Lost())
}

// The new carrier may die before the old one is through: what it brought is
// kept, what it lost is counted.
func TestNewCarrierDiesFirst(t *testing.T) {
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, 1, 0))
	r.Begin(2, 3, 0, 0)
	early(t, &r, 2, 3)
	early(t, &r, 2, 4)
	r.CarrierDead(2, 0) // with 5 on it
	r.Begin(3, 6, 4, 0)
	early(t, &r, 3, 6)
	require.Equal(t, Deliver, r.Accept(1, 2, 0))
	require.Equal(t, []any{uint64(3), uint64(4), uint64(6)}, pops(&r))
	require.EqualValues(t, 1, r.Lost())
}

// A flow may return to a carrier on which it was before.
func TestReturnToACarrier(t *testing.T) {
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, 1, 0))
	r.End(1, 1)
	r.Begin(2, 2, 0, 0)
	require.Equal(t, Deliver, r.Accept(2, 2, 0))
	r.Begin(1, 4, 0, 0)
	early(t, &r, 1, 4)
	require.Equal(t, Deliver, r.Accept(2, 3, 0))
	require.Equal(t, []any{uint64(4)}, pops(&r))
	require.Zero(t, r.Lost())
}

// While a held message waits to be popped nothing else is accepted: a caller
// that forgets would turn the order round.
func TestPopIsDue(t *testing.T) {
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, 1, 0))
	r.Begin(2, 3, 0, 0)
	early(t, &r, 2, 3)
	r.CarrierDead(1, 0)
	require.Equal(t, Refused, r.Accept(2, 4, 0))
	require.Equal(t, []any{uint64(3)}, pops(&r))
	require.Equal(t, Deliver, r.Accept(2, 4, 0))
}

// A hold is bounded in count and bytes; what did not fit is lost, and counted
// when its turn comes.
func TestHoldBounds(t *testing.T) {
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, 1, 0))
	r.Begin(2, 3, 0, 0)
	require.Equal(t, Held, r.Accept(2, 3, 0))
	require.False(t, r.Hold(3, MaxHeldBytes+1, nil))
	for i := range uint64(MaxHeld) {
		early(t, &r, 2, 4+i)
	}
	require.Equal(t, Held, r.Accept(2, 4+MaxHeld, 0))
	require.False(t, r.Hold(4+MaxHeld, 1, nil))
	require.Equal(t, Deliver, r.Accept(1, 2, 0))
	require.Len(t, pops(&r), MaxHeld)
	require.EqualValues(t, 2, r.Lost())
	require.Equal(t, Deliver, r.Accept(2, 5+MaxHeld, 0))
	require.Zero(t, r.held.bytes)
}

// A hold is bounded in time: a carrier that neither ends nor dies is given up.
func TestHoldTime(t *testing.T) {
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, 1, 0))
	r.Begin(2, 5, 0, 0)
	early(t, &r, 2, 5)
	r.Expire(overlay.Time(HoldFor) - 1)
	require.Empty(t, pops(&r))
	r.Expire(overlay.Time(HoldFor))
	require.Len(t, pops(&r), 1)
	require.EqualValues(t, 3, r.Lost())
	require.Equal(t, Duplicate, r.Accept(1, 2, 0), "too late")
}

// The number of open carriers is bounded: the oldest is given up.
func TestCarriersAreBounded(t *testing.T) {
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, 1, 0))
	for c := uint64(2); c <= 100; c++ {
		r.Begin(c, 10*c, 0, 0)
	}
	require.Len(t, r.legs, maxLegs)
	require.EqualValues(t, 970, r.Next(), "97 is the oldest that is open: it may bring what comes next")
}

// A receiver that knows nothing of a flow takes its Begin for the start, and
// counts only what the sender gave up.
func TestNewReceiver(t *testing.T) {
	var r Receiver
	r.Begin(7, 101, 3, 0)
	require.EqualValues(t, 3, r.Lost())
	require.Equal(t, Deliver, r.Accept(7, 101, 0))
}

// Numbers at the end of their range neither overflow nor stop a receiver.
func TestAbsurdNumbers(t *testing.T) {
	var r Receiver
	r.Begin(1, 1<<64-1, 1<<64-1, 0)
	require.EqualValues(t, maxNumber-1, r.Lost())
	u := r.Update(10)
	require.Equal(t, Update{Next: maxNumber, Credit: maxNumber + 9, Lost: maxNumber - 1}, u)
	r.Begin(2, 0, 0, 0)
	r.End(2, 0)
	r.End(1, 1<<64-1)
	require.EqualValues(t, maxNumber, r.Next())
}

// The window closes when nothing is confirmed and opens with credit; a peer's
// nonsense neither confirms what was not sent nor opens it without bound.
func TestWindow(t *testing.T) {
	var s Sender
	for range InitialWindow {
		require.True(t, s.Open())
		s.Take()
	}
	require.False(t, s.Open())
	progress, lost := s.Update(Update{Next: 1 << 60, Credit: 1 << 62, Lost: 1 << 61})
	require.EqualValues(t, InitialWindow, progress)
	require.EqualValues(t, InitialWindow, lost)
	require.True(t, s.Open())
	n := 0
	for s.Open() && n < 100*InitialWindow {
		s.Take()
		n++
	}
	require.LessOrEqual(t, n, 4*InitialWindow)
	s.Update(Update{Next: 3, Credit: 1})
	require.EqualValues(t, InitialWindow+1, s.Confirmed(), "time does not go back")
}

// The window is that of the last report: it closes as well as it opens.
func TestWindowCloses(t *testing.T) {
	var s Sender
	for range 100 {
		s.Take()
	}
	s.Update(Update{Next: 51, Credit: 60})
	require.False(t, s.Open(), "what was sent beyond it stays sent")
	s.Update(Update{Next: 61, Credit: 101})
	require.True(t, s.Open())
	s.Take()
	require.False(t, s.Open())
}

// One question is open at a time, or one more after AskEvery numbers.
func TestAsk(t *testing.T) {
	var s Sender
	var asked []uint64
	for range 2*AskEvery + 10 {
		if n := s.Take(); s.Ask() {
			asked = append(asked, n)
		}
	}
	require.Equal(t, []uint64{1, 1 + AskEvery, 1 + 2*AskEvery}, asked)
	s.Update(Update{Next: 2, Credit: 1 << 20})
	s.Take()
	require.False(t, s.Ask(), "the last question is open")
	s.Update(Update{Next: 2 + 2*AskEvery, Credit: 1 << 20})
	s.Take()
	require.True(t, s.Ask())
}

// What is lost beyond what is confirmed is told with what confirms it.
func TestLossesAheadOfTheReport(t *testing.T) {
	var s Sender
	for range 10 {
		s.Take()
	}
	_, lost := s.Update(Update{Next: 2, Lost: 4})
	require.EqualValues(t, 1, lost)
	_, lost = s.Update(Update{Next: 9, Lost: 4})
	require.EqualValues(t, 3, lost)
}

// A receiver that began anew counts its losses from zero: they are all news.
func TestLossesOfANewReceiver(t *testing.T) {
	var s Sender
	for range 100 {
		s.Take()
	}
	_, lost := s.Update(Update{Next: 50, Lost: 20})
	require.EqualValues(t, 20, lost)
	_, lost = s.Update(Update{Next: 60, Lost: 25})
	require.EqualValues(t, 5, lost)
	_, lost = s.Update(Update{Next: 80, Lost: 3})
	require.EqualValues(t, 3, lost)
}

// A flow whose start may still be on its way does not change carriers.
func TestChange(t *testing.T) {
	var s Sender
	s.Take()
	_, _, ok := s.Change(2)
	require.False(t, ok)
	s.Update(Update{Next: 2})
	s.Take()
	s.Take()
	end, base, ok := s.Change(3)
	require.True(t, ok)
	require.EqualValues(t, 2, end)
	require.EqualValues(t, 3, base)
}

// The common case does not allocate.
func TestAllocations(t *testing.T) {
	var s Sender
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, s.Take(), 0))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if r.Accept(1, s.Take(), 0) != Deliver {
			t.Fail()
		}
		s.Update(r.Update(InitialWindow))
	}))
}

func BenchmarkAccept(b *testing.B) {
	var r Receiver
	r.Accept(1, 1, 0)
	for i := uint64(2); b.Loop(); i++ {
		r.Accept(1, i, 0)
	}
}
