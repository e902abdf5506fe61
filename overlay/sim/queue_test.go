package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/overlay"
)

// Events come by time, node and order of scheduling, whichever way they went in
// and whenever: a wave may be added to while it is taken, and may be overtaken.
func TestQueue(t *testing.T) {
	for seed := range uint64(200) {
		dice := rand.New(rand.NewPCG(seed, 0))
		var q queue
		var want []entry // what is in the queue, seq being the number of the push
		now, seq := overlay.Time(0), uint32(0)
		take := func() {
			least := slices.MinFunc(want, func(a, b entry) int {
				return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.life, b.life), cmp.Compare(a.seq, b.seq))
			})
			next, ok := q.next()
			require.True(t, ok)
			at, e := q.pop()
			require.Equal(t, at, next)
			require.Equal(t, least, entry{at: at, life: e.life, seq: uint64(e.stamp)}, "seed %d", seed)
			want = slices.DeleteFunc(want, func(x entry) bool { return x == least })
			now = at
		}
		for range 2000 {
			if len(want) > 0 && dice.IntN(100) < 45 {
				take()
				continue
			}
			seq++
			at, e := now, event{life: int32(dice.IntN(5)), stamp: seq}
			if dice.IntN(3) > 0 {
				at += overlay.Time(3 * dice.IntN(2)) // as latencies, or none at all
				q.follow(at, e)
			} else {
				at += overlay.Time(dice.IntN(10))
				q.push(at, e)
			}
			want = append(want, entry{at: at, life: e.life, seq: uint64(seq)})
		}
		for len(want) > 0 {
			take()
		}
		_, ok := q.next()
		require.False(t, ok)
		require.Len(t, q.free, len(q.slab), "every place is free again")
	}
}
