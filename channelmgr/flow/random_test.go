package flow

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/overlay"
)

// step is what a carrier brings to the receiver.
type step struct {
	kind            byte // 'd' data, 'b' begin, 'e' end, 'x' the carrier's death
	seq             uint64
	base, abandoned uint64
}

// world is a sender and a receiver with carriers between them, and a twin: a
// list of numbers that came, too simple to be wrong.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	s        Sender
	r        Receiver
	now      overlay.Time
	queue    []uint64          // taken, not written
	pipes    map[uint64][]step // written, not received
	open     []uint64          // carriers that are not through, oldest first
	current  uint64            // the sender's; 0 none
	next     uint64
	came     []uint64 // data that reached the receiver
	got      []uint64 // delivered
	dup      int
	heard    uint64          // the youngest carrier that the receiver heard of
	late     map[uint64]bool // carriers it heard of after a younger one
	progress uint64
	lost     uint64
}

func (w *world) pop() {
	for {
		item, ok := w.r.Pop()
		if !ok {
			return
		}
		w.got = append(w.got, item.(uint64))
	}
}

// carrier opens another one, at the cost of the oldest if there are too many.
func (w *world) carrier() {
	for len(w.open) >= maxLegs {
		w.drain(w.open[0])
	}
	w.next++
	w.current = w.next
	w.open = append(w.open, w.current)
}

// drain brings all that is on a carrier, and its death if it is not the
// sender's.
func (w *world) drain(c uint64) {
	if c == w.current {
		w.die()
	}
	w.receive(c, len(w.pipes[c]))
	if i := slices.Index(w.open, c); i >= 0 { // it ended in order: now it closes
		w.pipes[c] = []step{{kind: 'x'}}
		w.receive(c, 1)
	}
}

func (w *world) receive(c uint64, n int) {
	for ; n > 0 && len(w.pipes[c]) > 0; n-- {
		st := w.pipes[c][0]
		w.pipes[c] = w.pipes[c][1:]
		if c < w.heard && w.r.leg(c) < 0 {
			w.late[c] = true
		}
		w.heard = max(w.heard, c)
		switch st.kind {
		case 'b':
			w.r.Begin(c, st.base, st.abandoned, w.now)
		case 'e':
			w.r.End(c, st.seq)
		case 'x':
			w.r.CarrierDead(c, w.now)
			w.open = slices.DeleteFunc(w.open, func(o uint64) bool { return o == c })
			delete(w.pipes, c)
		case 'd':
			w.came = append(w.came, st.seq)
			switch v := w.r.Accept(c, st.seq, w.now); v {
			case Deliver:
				w.got = append(w.got, st.seq)
			case Held:
				require.True(w.t, w.r.Hold(st.seq, 1, st.seq))
			case Duplicate:
				require.True(w.t, w.late[c], "%d on carrier %d, though it was announced in time", st.seq, c)
				w.dup++
			default:
				w.t.Fatalf("%d on carrier %d: %v", st.seq, c, v)
			}
		}
		w.pop()
	}
}

// die ends the sender's carrier: a part of what is on it arrives, then the
// receiver learns of it.
func (w *world) die() {
	c := w.current
	keep := w.rng.IntN(len(w.pipes[c]) + 1)
	w.pipes[c] = append(w.pipes[c][:keep], step{kind: 'x'})
	w.current = 0
}

func (w *world) unwritten() uint64 {
	if len(w.queue) > 0 {
		return w.queue[0]
	}
	return w.s.Next()
}

// attach gives the flow a carrier after it had none.
func (w *world) attach() {
	w.carrier()
	if w.s.Next() > 1 {
		base, abandoned := w.s.Begin(w.unwritten())
		w.pipes[w.current] = []step{{kind: 'b', base: base, abandoned: abandoned}}
	}
}

func (w *world) update() {
	p, l := w.s.Update(w.r.Update(InitialWindow))
	w.progress += p
	w.lost += l
}

func (w *world) step() {
	w.now++
	switch w.rng.IntN(9) {
	case 0, 1:
		w.queue = append(w.queue, w.s.Take())
	case 2, 3:
		if w.current != 0 {
			n := w.rng.IntN(len(w.queue) + 1)
			for _, seq := range w.queue[:n] {
				w.pipes[w.current] = append(w.pipes[w.current], step{kind: 'd', seq: seq})
			}
			w.queue = w.queue[n:]
		}
	case 4, 5:
		if len(w.open) > 0 {
			w.receive(w.open[w.rng.IntN(len(w.open))], w.rng.IntN(4))
		}
	case 6:
		w.update()
	case 7:
		if w.current == 0 {
			w.attach()
		} else if w.rng.IntN(2) == 0 {
			w.die()
		}
	case 8: // an orderly change
		if w.current == 0 {
			return
		}
		end, base, ok := w.s.Change(w.unwritten())
		if !ok {
			return
		}
		old := w.current
		w.pipes[old] = append(w.pipes[old], step{kind: 'e', seq: end})
		if w.rng.IntN(3) == 0 { // and later it dies, with or without its End
			w.die()
		}
		w.current = 0
		w.carrier()
		w.pipes[w.current] = []step{{kind: 'b', base: base}}
	}
}

// Random lives of a flow: carriers die and lose their tail, or are changed in
// order, several are open at once, and the receiver hears them in any order.
// Whatever happens: numbers are delivered in order and once; what was not
// delivered is lost and counted exactly, at both ends; and all that came is
// delivered, but for a carrier of which the receiver heard only after a
// younger one, when what it brings had been given up.
func TestRandomLives(t *testing.T) {
	for seed := range uint64(4000) {
		w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), pipes: make(map[uint64][]step), late: make(map[uint64]bool)}
		for range 120 {
			w.step()
		}
		if w.current != 0 {
			w.die()
		}
		w.attach() // the last Begin settles what went down before
		for len(w.open) > 1 {
			w.drain(w.open[w.rng.IntN(len(w.open)-1)])
		}
		for _, seq := range w.queue {
			w.pipes[w.current] = append(w.pipes[w.current], step{kind: 'd', seq: seq})
		}
		w.receive(w.current, len(w.pipes[w.current]))
		w.update()

		all := w.s.Next() - 1
		require.True(t, slices.IsSorted(w.got), "seed %d: %v", seed, w.got)
		require.Len(t, slices.Compact(slices.Clone(w.got)), len(w.got), "seed %d: twice", seed)
		require.Equal(t, all, w.r.Next()-1, "seed %d: nothing is pending", seed)
		require.EqualValues(t, all, uint64(len(w.got))+w.r.Lost(), "seed %d: delivered or lost", seed)
		require.Equal(t, w.r.Lost(), w.lost, "seed %d: the sender heard of every loss", seed)
		require.Equal(t, all, w.progress, "seed %d", seed)
		require.Empty(t, w.r.held.items, "seed %d", seed)
		require.Equal(t, len(w.came)-w.dup, len(w.got), "seed %d: what came was delivered", seed)
	}
}

// FuzzReceiver feeds arbitrary calls: no panic, numbers only grow, and what is
// held stays within its bounds.
func FuzzReceiver(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 2, 5, 0, 2, 5, 3, 1, 4})
	f.Add([]byte{0, 1, 1, 1, 2, 3, 0, 2, 3, 2, 1, 2, 0, 1, 2, 6, 0, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var r Receiver
		last, lost := r.Next(), uint64(0)
		for i := 0; i+2 < len(ops); i += 3 {
			c, n, now := uint64(ops[i+1]%8), uint64(ops[i+2]), overlay.Time(i)
			switch ops[i] % 7 {
			case 0:
				if r.Accept(c, n, now) == Held {
					r.Hold(n, int(n), n)
				}
			case 1:
				r.Begin(c, n, n/2, now)
			case 2:
				r.End(c, n)
			case 3:
				r.CarrierDead(c, now)
			case 4:
				r.Expire(now + overlay.Time(n)*overlay.Time(HoldFor))
			case 5:
				r.Update(n)
			case 6:
				want := r.Next()
				for item, ok := r.Pop(); ok; item, ok = r.Pop() {
					if item.(uint64) < want {
						t.Fatalf("%d after %d", item, want)
					}
					want = item.(uint64) + 1
				}
			}
			if r.Next() < last || r.Lost() < lost || r.Lost() > r.Next()-1 || len(r.held.items) > MaxHeld || r.held.first() < r.Next() || len(r.legs) > maxLegs {
				t.Fatalf("next %d after %d, lost %d, %d held, %d open", r.Next(), last, r.Lost(), len(r.held.items), len(r.legs))
			}
			last, lost = r.Next(), r.Lost()
		}
	})
}

// FuzzSender feeds arbitrary reports: nothing is confirmed that was not sent,
// and the window stays within its bound.
func FuzzSender(f *testing.F) {
	f.Add(uint64(3), uint64(4), uint64(5), uint64(6))
	f.Add(^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0))
	f.Fuzz(func(t *testing.T, next, credit, lost, unwritten uint64) {
		var s Sender
		for range 10 {
			s.Take()
		}
		for range 2 {
			p, l := s.Update(Update{Next: next, Credit: credit, Lost: lost})
			if p > 10 || l > p || s.Confirmed() > s.Next() || s.credit > s.confirmed+4*InitialWindow {
				t.Fatalf("%d confirmed, %d lost: %+v", p, l, s)
			}
		}
		base, abandoned := s.Begin(unwritten)
		if base < s.Confirmed() || base > s.Next() || base-abandoned != s.Confirmed() {
			t.Fatalf("Begin %d, %d: %+v", base, abandoned, s)
		}
	})
}
