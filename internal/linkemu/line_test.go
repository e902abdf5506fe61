package linkemu

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// arrival is a packet that came out of a line.
type arrival struct {
	id byte
	at time.Duration
}

// drain takes everything off a line, each packet when it is due.
func drain(l *Line) (list []arrival) {
	for {
		due, ok := l.Due()
		if !ok {
			return list
		}
		if b, _, early := l.Take(due - 1); early {
			panic(b)
		}
		b, arrived, ok := l.Take(due)
		if !ok {
			panic("nothing at its due time")
		}
		if arrived {
			list = append(list, arrival{b[0], due})
		}
	}
}

func line(t *testing.T, w Way, seed uint64) *Line {
	t.Helper()
	l, err := New(w, seed)
	require.NoError(t, err)
	return l
}

func TestTimes(t *testing.T) {
	const dropped = -1
	type put struct {
		at   time.Duration
		size int
	}
	for _, c := range []struct {
		name string
		way  Way
		puts []put
		want []time.Duration // of arrival
	}{
		{"nothing", Way{Buffer: 1e6}, []put{{0, 100}, {3 * ms, 100}}, []time.Duration{0, 3 * ms}},
		{"delay", Way{Delay: 10 * ms, Buffer: 1e6}, []put{{0, 100}, {3 * ms, 100}}, []time.Duration{10 * ms, 13 * ms}},
		{"rate", Way{Rate: 1000, Buffer: 1e6}, []put{{0, 5}, {0, 1}, {100 * ms, 2}}, []time.Duration{5 * ms, 6 * ms, 102 * ms}},
		{"rate and delay", Way{Rate: 1000, Delay: 10 * ms, Buffer: 1e6}, []put{{0, 5}, {1 * ms, 5}}, []time.Duration{15 * ms, 20 * ms}},
		{"a rate that does not divide", Way{Rate: 3e9, Buffer: 1e6}, []put{{0, 1}, {0, 1}, {0, 1}, {0, 9}}, []time.Duration{0, 0, 1, 4}},
		{"full", Way{Rate: 1000, Buffer: 10}, []put{{0, 5}, {0, 5}, {0, 1}, {5 * ms, 5}, {5 * ms, 1}}, []time.Duration{5 * ms, 10 * ms, dropped, 15 * ms, dropped}},
		{"one that is larger than the buffer", Way{Rate: 1000, Buffer: 10}, []put{{0, 20}, {0, 1}, {20 * ms, 1}}, []time.Duration{20 * ms, dropped, 21 * ms}},
		{"full without a rate", Way{Delay: 10 * ms, Buffer: 10}, []put{{0, 5}, {0, 5}, {9 * ms, 1}}, []time.Duration{10 * ms, 10 * ms, dropped}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := line(t, c.way, 1)
			var want []arrival
			var over uint64
			for i, p := range c.puts {
				ok := l.Put(p.at, []byte{byte(i)}, p.size)
				require.Equal(t, c.want[i] != dropped, ok, "packet %d", i)
				if ok {
					want = append(want, arrival{byte(i), c.want[i]})
				} else {
					over++
				}
			}
			require.Equal(t, want, drain(l))
			n := l.Counters()
			require.Equal(t, Counters{Packets: uint64(len(c.puts)), Bytes: n.Bytes, Arrived: uint64(len(want)), ArrivedBytes: n.ArrivedBytes,
				Overflow: over, OverflowBytes: n.Bytes - n.ArrivedBytes, MaxQueued: n.MaxQueued}, n)
		})
	}
}

// What goes in faster than the rate comes out at the rate, to the nanosecond.
func TestRateOverLong(t *testing.T) {
	const rate, size, count = 123_456_789, 1500, 100_000
	l := line(t, Way{Rate: rate, Buffer: 1 << 30}, 1)
	for range count {
		require.True(t, l.Put(0, []byte{0}, size))
	}
	list := drain(l)
	exact := float64(count) * size / rate * 1e9
	require.InDelta(t, exact, float64(list[count-1].at), 2)
	require.Len(t, list, count)
}

func TestJitterKeepsOrder(t *testing.T) {
	l := line(t, Way{Delay: 5 * ms, Jitter: 20 * ms, Buffer: 1 << 20}, 7)
	const count = 200
	for i := range count {
		require.True(t, l.Put(time.Duration(i)*ms, []byte{byte(i)}, 1))
	}
	spread := map[time.Duration]bool{}
	last := time.Duration(0)
	for i, a := range drain(l) {
		require.Equal(t, byte(i), a.id)
		require.GreaterOrEqual(t, a.at, last)
		after := a.at - time.Duration(i)*ms
		require.True(t, after >= 5*ms && after <= 25*ms, "%v", after)
		spread[after/ms] = true
		last = a.at
	}
	require.Greater(t, len(spread), 8)
}

// The share that is lost is that which was asked for, and the same seed loses the same.
func TestLoss(t *testing.T) {
	const count = 20_000
	lost := func(share float64, seed uint64) (ids []int) {
		l := line(t, Way{Loss: share, Buffer: 1 << 20}, seed)
		for i := range count {
			require.True(t, l.Put(0, []byte{0}, 10))
			if _, arrived, ok := l.Take(0); !arrived {
				require.True(t, ok)
				ids = append(ids, i)
			}
		}
		n := l.Counters()
		require.Equal(t, uint64(len(ids)), n.Lost)
		require.Equal(t, uint64(count), n.Lost+n.Arrived)
		return ids
	}
	for seed := range uint64(20) {
		for _, share := range []float64{0, 0.01, 0.05, 0.5, 1} {
			n := float64(len(lost(share, seed)))
			require.InDelta(t, share*count, n, 5*math.Sqrt(count*share*(1-share)), "seed %d, %v", seed, share)
		}
	}
	require.Equal(t, lost(0.05, 3), lost(0.05, 3))
	require.NotEqual(t, lost(0.05, 3), lost(0.05, 4))
}

// A change of settings counts the buffer anew, keeps the order, and gives back all room.
func TestSet(t *testing.T) {
	l := line(t, Way{Delay: 50 * ms, Buffer: 10}, 1)
	require.True(t, l.Put(0, []byte{0}, 10))
	require.False(t, l.Put(0, []byte{1}, 1))
	require.NoError(t, l.Set(Way{Rate: 1000, Buffer: 10}))
	require.True(t, l.Put(1*ms, []byte{2}, 10)) // the line itself is free
	require.False(t, l.Put(1*ms, []byte{3}, 1))
	require.NoError(t, l.Set(Way{Delay: 1 * ms, Buffer: 21}))
	require.True(t, l.Put(2*ms, []byte{4}, 1))
	require.False(t, l.Put(2*ms, []byte{5}, 1))
	require.Equal(t, []arrival{{0, 50 * ms}, {2, 50 * ms}, {4, 50 * ms}}, drain(l))
	require.True(t, l.Put(60*ms, []byte{6}, 21))
	require.Error(t, l.Set(Way{}))
}

// The line's memory does not grow with what has passed.
func TestMemory(t *testing.T) {
	for _, rate := range []int64{0, 1e9} {
		l := line(t, Way{Delay: 10 * ms, Rate: rate, Buffer: 1 << 20}, 1)
		now := time.Duration(0)
		for i := range 300_000 {
			now += 10 * time.Microsecond
			require.True(t, l.Put(now, []byte{byte(i)}, 100))
			for {
				if _, _, ok := l.Take(now); !ok {
					break
				}
			}
		}
		require.Less(t, cap(l.fifo), 8192)
		require.InDelta(t, 1000, l.Counters().OnTheWay, 20)
	}
}

func TestValidate(t *testing.T) {
	require.NoError(t, Way{Buffer: 1}.Validate())
	for want, w := range map[string]Way{
		"linkemu: Way.Buffer is 0 bytes: use 1 to 1073741824":                       {},
		"linkemu: Way.Delay is -1ns: use 0 to 1m0s":                                 {Delay: -1, Buffer: 1},
		"linkemu: Way.Jitter is 2m0s: use 0 to 1m0s":                                {Jitter: 2 * time.Minute, Buffer: 1},
		"linkemu: Way.Loss is 2: use 0 to 1":                                        {Loss: 2, Buffer: 1},
		"linkemu: Way.Rate is -1 bytes a second: use 0 (no limit) to 1099511627776": {Rate: -1, Buffer: 1},
	} {
		require.EqualError(t, w.Validate(), want)
		_, err := New(w, 1)
		require.Error(t, err)
	}
	require.ErrorContains(t, Way{Loss: math.NaN(), Buffer: 1}.Validate(), "Loss is NaN")
	require.Len(t, Way{Delay: -1, Jitter: -1}.Validate().(interface{ Unwrap() []error }).Unwrap(), 3)
}
