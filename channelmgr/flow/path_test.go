package flow_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/overlay"
)

// take accepts a message and returns what is delivered by that.
func take(p *flow.Path, seq uint64, now overlay.Time) []uint64 {
	var got []uint64
	switch p.Accept(seq, now) {
	case flow.Deliver:
		got = append(got, seq)
	case flow.Held:
		p.Hold(seq, 1, seq)
	}
	for {
		item, ok := p.Pop()
		if !ok {
			return got
		}
		got = append(got, item.(uint64))
	}
}

func TestPathDeliversInOrder(t *testing.T) {
	var p flow.Path
	require.Equal(t, []uint64{1}, take(&p, 1, 0))
	require.Empty(t, take(&p, 3, 0))
	require.Empty(t, take(&p, 3, 0), "twice")
	require.Empty(t, take(&p, 4, 0))
	require.Equal(t, []uint64{2, 3, 4}, take(&p, 2, 0))
	require.Equal(t, flow.Duplicate, p.Accept(2, 0))
	require.Equal(t, flow.Refused, p.Accept(0, 0))
	require.Equal(t, flow.Refused, p.Accept(1<<63, 0))
}

// What is missing is given up after a time, and counted; when it comes after
// all it is dropped.
func TestPathGivesUp(t *testing.T) {
	var p flow.Path
	take(&p, 1, 0)
	take(&p, 5, overlay.Time(time.Second))
	until, ok := p.Waits()
	require.True(t, ok)
	require.Equal(t, overlay.Time(2*time.Second), until)
	p.Expire(until - 1)
	require.EqualValues(t, 2, p.Next())
	p.Expire(until)
	item, ok := p.Pop()
	require.True(t, ok)
	require.EqualValues(t, 5, item)
	require.EqualValues(t, 3, p.Lost())
	require.Equal(t, flow.Duplicate, p.Accept(3, until))
	require.Equal(t, flow.Update{Next: 6, Credit: 5 + 100, Lost: 3}, p.Update(100))
}

// Whatever is lost, repeated and reordered: each message is delivered at most
// once, in order, and what is not delivered below the last is counted.
func TestPathAccounts(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var p flow.Path
		var delivered, last uint64
		now := overlay.Time(0)
		check := func(list []uint64) {
			for _, seq := range list {
				require.Greater(t, seq, last)
				last = seq
				delivered++
			}
		}
		for seq := uint64(1); seq < 500; seq++ {
			now = now.Add(time.Duration(rng.IntN(100)) * time.Millisecond)
			at := max(1, int64(seq)-rng.Int64N(8))
			if rng.IntN(10) > 0 {
				check(take(&p, uint64(at), now))
			}
			check(take(&p, seq+uint64(rng.IntN(3)), now))
			p.Expire(now)
			for {
				item, ok := p.Pop()
				if !ok {
					break
				}
				check([]uint64{item.(uint64)})
			}
		}
		require.Equal(t, p.Next()-1, delivered+p.Lost())
	}
}
