package flow

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/overlay"
)

// On one carrier messages are delivered in order, once.
func TestOneCarrier(t *testing.T) {
	var s Sender
	var r Receiver
	for range 5 {
		require.Equal(t, Deliver, r.Accept(1, s.Take(), 0))
	}
	require.Equal(t, Duplicate, r.Accept(1, 3, 0))
	require.Equal(t, Refused, r.Accept(1, 9, 0), "a gap on one carrier is no loss: it cannot happen")
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
	require.Equal(t, Deliver, r.Accept(2, 8, 0))
	progress, lost := s.Update(r.Update(100))
	require.EqualValues(t, 8, progress)
	require.EqualValues(t, 3, lost)
}

// In an orderly change what comes early is held until the old carrier has
// brought its last.
func TestOrderlyChange(t *testing.T) {
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, 1, 0))
	r.Begin(2, 3, 0, 0)
	require.Equal(t, Held, r.Accept(2, 3, 0))
	require.True(t, r.Hold(3, 1, "three"))
	_, ok := r.Pop()
	require.False(t, ok)
	r.End(1, 2)
	require.Equal(t, Deliver, r.Accept(1, 2, 0))
	item, ok := r.Pop()
	require.True(t, ok)
	require.Equal(t, "three", item)
	require.Equal(t, Deliver, r.Accept(2, 4, 0))
	require.Zero(t, r.Lost())
}

// A hold is bounded in count, bytes and time.
func TestHoldBounds(t *testing.T) {
	var r Receiver
	require.Equal(t, Deliver, r.Accept(1, 1, 0))
	r.Begin(2, 5, 0, 0)
	require.False(t, r.Hold(5, MaxHeldBytes+1, nil))
	for i := range uint64(MaxHeld) {
		require.True(t, r.Hold(5+i, 1, nil))
	}
	require.False(t, r.Hold(5+MaxHeld, 1, nil))
	r.Expire(overlay.Time(HoldFor) - 1)
	_, ok := r.Pop()
	require.False(t, ok)
	r.Expire(overlay.Time(HoldFor))
	_, ok = r.Pop()
	require.True(t, ok, "the old carrier had its time")
	require.EqualValues(t, 3, r.Lost())
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
	s.Update(Update{Next: 1 << 60, Credit: 1 << 62, Lost: 1 << 61})
	require.EqualValues(t, InitialWindow+1, s.Confirmed())
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

// twin is a receiver too simple to be wrong: it knows all that was delivered.
type twin struct{ got []uint64 }

// Random lives of a flow: carriers die and lose their tail, or are changed in
// order. Whatever happens, numbers are delivered in order and once, and what
// is missing at the end is what the receiver counted as lost.
func TestRandomLives(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var s Sender
		var r Receiver
		var tw twin
		carrier, now := uint64(1), overlay.Time(0)
		var queue []uint64 // taken, not written
		var pipe []uint64  // written to the carrier, not received
		receive := func(n int) {
			for ; n > 0 && len(pipe) > 0; n-- {
				if r.Accept(carrier, pipe[0], now) == Deliver {
					tw.got = append(tw.got, pipe[0])
				} else {
					t.Fatalf("seed %d: %d was not delivered", seed, pipe[0])
				}
				pipe = pipe[1:]
			}
		}
		for range 60 {
			now++
			switch rng.IntN(6) {
			case 0, 1:
				queue = append(queue, s.Take())
			case 2:
				pipe, queue = append(pipe, queue...), nil
			case 3:
				receive(rng.IntN(4))
			case 4:
				s.Update(r.Update(InitialWindow))
			case 5: // the carrier dies with what is in it
				pipe = nil
				r.CarrierDead(carrier, now)
				carrier++
				first := s.Next()
				if len(queue) > 0 {
					first = queue[0]
				}
				if s.Next() > 1 {
					base, abandoned := s.Begin(first)
					r.Begin(carrier, base, abandoned, now)
				}
			}
		}
		pipe, queue = append(pipe, queue...), nil
		receive(len(pipe))
		for i := 1; i < len(tw.got); i++ {
			require.Less(t, tw.got[i-1], tw.got[i], "seed %d", seed)
		}
		require.EqualValues(t, s.Next()-1, uint64(len(tw.got))+r.Lost()+(s.Next()-r.Next()), "seed %d: every number is delivered, lost or still to come", seed)
	}
}

// FuzzReceiver feeds arbitrary calls: no panic, and numbers only grow.
func FuzzReceiver(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 2, 5, 0, 2, 5, 3, 1, 4})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var r Receiver
		last := r.Next()
		for i := 0; i+2 < len(ops); i += 3 {
			c, n, now := uint64(ops[i+1]%4), uint64(ops[i+2]), overlay.Time(i)
			switch ops[i] % 7 {
			case 0:
				if r.Accept(c, n, now) == Held {
					r.Hold(n, int(n), n)
				}
			case 1:
				r.Begin(c, max(n, 1), 0, now)
			case 2:
				r.End(c, n)
			case 3:
				r.CarrierDead(c, now)
			case 4:
				r.Expire(now + overlay.Time(n)*overlay.Time(HoldFor))
			case 5:
				r.Update(n)
			case 6:
				for _, ok := r.Pop(); ok; _, ok = r.Pop() {
				}
			}
			if r.Next() < last || r.heldSize < 0 || len(r.held) > MaxHeld {
				t.Fatalf("next %d after %d, %d held of %d bytes", r.Next(), last, len(r.held), r.heldSize)
			}
			last = r.Next()
		}
	})
}
