package channelmgr

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/channelmgr/frame"
)

// keeper drives kept as a lane and its writer do, without a link.
type keeper struct {
	t     *testing.T
	rng   *rand.Rand
	k     kept
	q     segments
	flows [Slots]flow.Sender
	lent  []segment // with the writer
	queue int       // messages in q
}

// put queues a message of a size, in one frame or in pieces.
func (w *keeper) put(slot uint8, size int) {
	seq := w.flows[slot].Take()
	w.k.enter(slot, seq, &w.flows[slot], &Outgoing{})
	w.queue++
	d := frame.Data{Slot: slot, Channel: 1, Seq: seq, TypeRef: 1, TargetRef: 1}
	body := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		binary.BigEndian.PutUint64(body[i:], seq)
	}
	if size <= inPlace {
		seg := w.q.room(size + 256)
		start := len(seg.b)
		b := append(frame.AppendData(seg.b, &d), body...)
		frame.Finish(b, start)
		w.q.set(seg, b)
		seg.frames++
		return
	}
	rest := body
	for i := 0; len(rest) > 0; i++ {
		n := min(len(rest), frame.MaxPiece)
		head := make([]byte, 0, 96)
		if i == 0 {
			d.Fragment, d.Total = size > frame.MaxPiece, uint32(size)
			head = frame.AppendData(head, &d)
		} else {
			head = frame.AppendPiece(head, 1, slot, seq)
		}
		binary.BigEndian.PutUint32(head, uint32(len(head)-4+n))
		w.q.list = append(w.q.list, segment{b: head, frames: map[bool]int{true: 1}[i == 0]})
		w.q.bytes += len(head)
		w.q.refer(rest[:n], nil)
		rest = rest[n:]
	}
}

// take has the writer take a batch; what it had before has landed.
func (w *keeper) take() {
	w.k.landed()
	w.lent = w.q.take(w.lent[:0], 1+w.rng.IntN(128<<10))
	w.k.lend(w.lent)
	for _, s := range w.lent {
		w.queue -= s.frames
	}
}

// holds lists what is kept that is not confirmed, and checks the bodies.
func (w *keeper) holds() map[[2]uint64]bool {
	all := make(map[[2]uint64]bool)
	segs := segments{list: w.k.list}
	memory, messages := 0, 0
	for i := range w.k.list {
		memory += w.k.list[i].memory()
	}
	segs.walk(func(f queued) {
		slot, seq := frame.SlotSeq(f.raw)
		body := f.body
		if body == nil {
			var d frame.Data
			require.NoError(w.t, frame.ParseData(f.raw, &d))
			body = d.Body
		}
		for i := 0; i+8 <= len(body); i += 8 {
			if binary.BigEndian.Uint64(body[i:]) != seq {
				w.t.Fatal("a kept message was overwritten")
			}
		}
		if frame.Kind(f.raw[4]) == frame.KindData {
			messages++
			if seq >= w.flows[slot].Confirmed() {
				all[[2]uint64{uint64(slot), seq}] = true
			}
		}
	})
	require.Equal(w.t, memory, w.k.bytes)
	require.GreaterOrEqual(w.t, messages, w.k.frames)
	return all
}

// Whatever is written and confirmed in whatever order: what is not confirmed is
// kept, whole and in order, and memory follows it.
func TestKeptRandom(t *testing.T) {
	for seed := range uint64(200) {
		w := &keeper{t: t, rng: rand.New(rand.NewPCG(seed, 7))}
		slots := 1 + w.rng.IntN(5)
		stuck := uint8(w.rng.IntN(slots + 1)) // a slot that confirms nothing, if it is one of them
		for range 200 {
			switch w.rng.IntN(4) {
			case 0:
				for range w.rng.IntN(60) {
					size := w.rng.IntN(400)
					if w.rng.IntN(60) == 0 {
						size = w.rng.IntN(300 << 10)
					}
					slot := uint8(w.rng.IntN(slots))
					if slot == stuck && w.rng.IntN(20) > 0 {
						continue
					}
					w.put(slot, size)
				}
			case 1:
				w.take()
			default:
				slot := uint8(w.rng.IntN(slots))
				first, next := w.flows[slot].Confirmed(), w.flows[slot].Next()
				if slot == stuck || first == next {
					continue
				}
				to := first + w.rng.Uint64N(next-first+1)
				progress, _ := w.flows[slot].Update(flow.Update{Next: to, Credit: 1 << 40})
				w.k.open -= int(progress)
				w.k.confirm(&w.flows, w.queue)
			}
			if w.rng.IntN(50) == 0 {
				w.holds()
			}
		}
		for len(w.q.list) > 0 {
			w.take()
		}
		w.k.landed()
		w.k.confirm(&w.flows, w.queue)
		want := 0
		for slot := range slots {
			from, to := w.flows[slot].Unconfirmed()
			want += int(to - from)
		}
		require.Len(t, w.holds(), want, "seed %d", seed)
		require.Equal(t, want, w.k.open, "seed %d", seed)

		flows := w.flows
		w.k.compact(&flows) // as for another link
		require.Equal(t, want, w.k.frames, "seed %d", seed)
		last := make(map[uint8]uint64)
		segs := segments{list: w.k.list}
		segs.walk(func(f queued) {
			if frame.Kind(f.raw[4]) == frame.KindData {
				slot, seq := frame.SlotSeq(f.raw)
				if last[slot] == 0 {
					last[slot] = flows[slot].Confirmed() - 1
				}
				require.Equal(t, last[slot]+1, seq, "seed %d: a gap", seed)
				last[slot] = seq
			}
		})
		for slot := range slots {
			w.flows[slot].Update(flow.Update{Next: w.flows[slot].Next()})
		}
		w.k.confirm(&w.flows, 0)
		require.Zero(t, w.k.bytes, "seed %d", seed)
		require.Empty(t, w.k.list, "seed %d", seed)
	}
}

// A flow that confirms nothing does not keep the memory of the others.
func TestKeptBehindAStuckFlow(t *testing.T) {
	w := &keeper{t: t, rng: rand.New(rand.NewPCG(1, 7))}
	for round := range 2000 {
		if round%20 == 0 {
			w.put(1, 64) // never confirmed
		}
		for range 100 {
			w.put(0, 64)
		}
		for len(w.q.list) > 0 {
			w.take()
		}
		progress, _ := w.flows[0].Update(flow.Update{Next: w.flows[0].Next(), Credit: 1 << 40})
		w.k.open -= int(progress)
		w.k.confirm(&w.flows, 0)
		require.Less(t, w.k.bytes, 3<<20)
	}
	require.Equal(t, 100, w.k.open)
}

// A flow that travels on another lane is under another lock, and is not looked
// at here: it moved because all of it is confirmed.
func TestKeptOfAMovedFlow(t *testing.T) {
	w := &keeper{t: t, rng: rand.New(rand.NewPCG(1, 7))}
	w.put(1, 64) // never confirmed
	for range 10 {
		w.put(0, 64)
	}
	for len(w.q.list) > 0 {
		w.take()
	}
	w.k.landed()
	progress, _ := w.flows[0].Update(flow.Update{Next: w.flows[0].Next(), Credit: 1 << 40})
	w.k.open -= int(progress)
	w.k.move(0, true)
	w.flows[0] = flow.Sender{} // whatever stands there
	w.k.compact(&w.flows)
	require.Equal(t, 1, w.k.frames)
	w.k.move(0, false)
	w.put(0, 64)
	for len(w.q.list) > 0 {
		w.take()
	}
	w.k.landed()
	w.k.compact(&w.flows)
	require.Equal(t, 2, w.k.frames)
}
