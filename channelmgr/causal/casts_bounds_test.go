package causal_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/causal"
)

// old is long after a node has begun.
const old = time.Hour

func after(count uint64, marks ...causal.Mark) causal.Stamp {
	return causal.Stamp{Count: count, After: marks}
}

func popped(c *causal.Casts[string], now time.Duration) (list []string) {
	for {
		s, ok := c.Pop(true, now)
		if !ok {
			return list
		}
		list = append(list, s)
	}
}

// B answers A, C answers B: however they come, they are handed over in that
// order, and a broadcast of now names the last alone.
func TestCastsAnswers(t *testing.T) {
	c := causal.NewCasts[string](9, 0)
	require.True(t, c.Arrive(3, after(1, causal.Mark{Origin: 2, Count: 1}), 1, "c1", old))
	require.Empty(t, popped(c, old))
	require.True(t, c.Arrive(2, after(1, causal.Mark{Origin: 1, Count: 1}), 1, "b1", old))
	require.Empty(t, popped(c, old))
	require.True(t, c.Arrive(1, after(1), 1, "a1", old))
	require.Equal(t, []string{"a1", "b1", "c1"}, popped(c, old))
	st := c.Stamp(old)
	require.Equal(t, after(1, causal.Mark{Origin: 3, Count: 1}), st)
	require.Equal(t, after(2, causal.Mark{Origin: 3, Count: 1}), c.Stamp(old), "the first has not left")
	c.Sent(st)
	require.Equal(t, after(3), c.Stamp(old))
	require.False(t, c.Arrive(1, after(1), 1, "a1", old), "twice")
}

// What is not here is given up in time; what is here goes before what comes after
// it even then, and who comes late comes still.
func TestCastsGivenUp(t *testing.T) {
	c := causal.NewCasts[string](9, 0)
	now := old
	require.True(t, c.Arrive(3, after(1, causal.Mark{Origin: 2, Count: 2}), 1, "c1", now))
	now += causal.HoldFor - time.Second // it waits for less long
	require.True(t, c.Arrive(2, after(1, causal.Mark{Origin: 1, Count: 7}), 1, "b1", now))
	require.True(t, c.Arrive(2, after(2), 1, "b2", now))
	c.Expire(now)
	require.Empty(t, popped(c, now))
	now += time.Second
	c.Expire(now)
	require.Equal(t, []string{"b1", "b2", "c1"}, popped(c, now))
	require.EqualValues(t, 1, c.GivenUp)
	require.True(t, c.Arrive(1, after(7), 1, "a7", now))
	require.Equal(t, []string{"a7"}, popped(c, now))
	require.EqualValues(t, 1, c.Late)
	require.EqualValues(t, 2, c.Waited, "and one behind its origin's")
}

// Of several that do not come all are given up at once, also of origins that nothing
// else has been heard of, and what is here keeps its order.
func TestCastsGivenUpAllAtOnce(t *testing.T) {
	c := causal.NewCasts[string](9, 0)
	require.True(t, c.Arrive(4, after(1, causal.Mark{Origin: 3, Count: 1}), 1, "d1", old))
	require.True(t, c.Arrive(3, after(1, causal.Mark{Origin: 1, Count: 1}, causal.Mark{Origin: 2, Count: 1}), 1, "c1", old))
	require.Empty(t, popped(c, old))
	c.Expire(old + causal.HoldFor)
	require.Equal(t, []string{"c1", "d1"}, popped(c, old+causal.HoldFor))
	require.EqualValues(t, 2, c.GivenUp)
}

// A node that has just begun does not wait for long for those whom it never heard.
func TestCastsOfANewNode(t *testing.T) {
	c := causal.NewCasts[string](9, old)
	require.True(t, c.Arrive(1, after(5), 1, "a5", old))
	require.True(t, c.Arrive(2, after(1, causal.Mark{Origin: 3, Count: 40}, causal.Mark{Origin: 1, Count: 6}), 1, "b1", old))
	require.Equal(t, []string{"a5"}, popped(c, old))
	c.Expire(old + causal.HoldNew)
	require.Empty(t, popped(c, old+causal.HoldNew), "1 was heard")
	require.True(t, c.Arrive(1, after(6), 1, "a6", old+causal.HoldNew))
	require.Equal(t, []string{"a6", "b1"}, popped(c, old+causal.HoldNew))
}

// Origins that say that they come after each other wait for a bounded time, and
// hold nobody else up for longer.
func TestCastsInCircles(t *testing.T) {
	c := causal.NewCasts[string](9, 0)
	require.True(t, c.Arrive(1, after(1, causal.Mark{Origin: 2, Count: 1}), 1, "a1", old))
	require.True(t, c.Arrive(2, after(1, causal.Mark{Origin: 1, Count: 1}), 1, "b1", old))
	require.True(t, c.Arrive(3, after(1, causal.Mark{Origin: 1, Count: 1}), 1, "c1", old))
	require.Empty(t, popped(c, old))
	for now := old; now <= old+2*causal.HoldFor; now += time.Second {
		c.Expire(now)
	}
	require.ElementsMatch(t, []string{"a1", "b1", "c1"}, popped(c, old+2*causal.HoldFor))
}

// What waits is bounded in count and bytes, whatever comes, and so is what is kept
// of origins; those that were not heard for long are forgotten.
func TestCastsBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	c := causal.NewCasts[string](9, 0)
	most, bytes, size := 0, 0, 0
	now := old
	sizes := map[string]int{}
	for i := range 40_000 {
		now += time.Duration(rng.Int64N(int64(time.Millisecond)))
		from := rng.Uint64N(50)
		var marks []causal.Mark
		for range rng.IntN(4) {
			marks = append(marks, causal.Mark{Origin: rng.Uint64N(10_000), Count: 1 + rng.Uint64N(1000)})
		}
		s := fmt.Sprint(i)
		size = rng.IntN(10_000)
		sizes[s] = size
		require.True(t, c.Arrive(from, after(uint64(i+1), marks...), size, s, now))
		bytes += size
		for _, s := range popped(c, now) {
			bytes -= sizes[s]
		}
		most = max(most, bytes)
	}
	require.LessOrEqual(t, c.Waiting(), 2*4096)
	require.LessOrEqual(t, most, 33<<20)
	require.LessOrEqual(t, len(c.Stamp(now).After), causal.MaxMarks)
	require.Empty(t, c.Stamp(now+2*time.Minute).After, "what was handed over long ago is not named")
}

func FuzzStamp(f *testing.F) {
	f.Add(causal.AppendStamp(nil, after(1)))
	f.Add(causal.AppendStamp(nil, after(300, causal.Mark{Origin: 1 << 60, Count: 7}, causal.Mark{Origin: 2, Count: 1 << 40})))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := causal.ParseStamp(b)
		if err != nil {
			return
		}
		if len(st.After) > causal.MaxMarks || st.Count == 0 {
			t.Fatalf("%d marks, count %d", len(st.After), st.Count)
		}
		again, err := causal.ParseStamp(causal.AppendStamp(nil, st))
		if err != nil || again.Count != st.Count || len(again.After) != len(st.After) {
			t.Fatalf("%v %v", again, err)
		}
		if !bytes.Equal(causal.AppendStamp(nil, again), causal.AppendStamp(nil, st)) {
			t.Fatal("it is not the same twice")
		}
		c := causal.NewCasts[int](1, 0)
		c.Arrive(1, st, len(b), 0, time.Minute)
		c.Arrive(2, st, len(b), 1, time.Minute)
		for now := time.Minute; now < 2*time.Minute; now += time.Second {
			c.Expire(now)
			for ok := true; ok; {
				_, ok = c.Pop(true, now)
			}
		}
		if c.Waiting() != 0 {
			t.Fatalf("%d wait for ever", c.Waiting())
		}
	})
}

// No stamp is larger than a message of a cluster of thousands can be.
func TestStampSize(t *testing.T) {
	st := after(1 << 40)
	for i := range causal.MaxMarks {
		st.After = append(st.After, causal.Mark{Origin: uint64(i) << 40, Count: uint64(i) + 1})
	}
	b := causal.AppendStamp(nil, st)
	require.Less(t, len(b), 44<<10)
	got, err := causal.ParseStamp(b)
	require.NoError(t, err)
	require.Equal(t, st, got)
	_, err = causal.ParseStamp(append(b, make([]byte, 9)...))
	require.Error(t, err)
}

// What a node pays for a broadcast in causal order that comes in its turn, after
// one of another origin.
func BenchmarkCasts(b *testing.B) {
	c := causal.NewCasts[int](9, 0)
	b.ReportAllocs()
	for i := range b.N {
		from, other := uint64(i%2), uint64(1-i%2)
		st := causal.Stamp{Count: uint64(i/2 + 1)}
		if i > 0 {
			st.After = []causal.Mark{{Origin: other, Count: uint64((i + 1) / 2)}}
		}
		c.Arrive(from, st, 100, i, old)
		if _, ok := c.Pop(true, old); !ok {
			b.Fatal("it waits")
		}
	}
}
