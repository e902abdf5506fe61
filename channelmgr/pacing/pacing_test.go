package pacing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// line is a line with a queue, as a fluid: what connections send beyond its rate
// waits, and what finds the buffer full is lost. Without a limit a connection sends
// what fills the buffer, as loss-based congestion control does.
type line struct {
	rate, buffer float64 // bytes a second, bytes
	base         time.Duration
	jitter       time.Duration // of what is measured, one way
	others       float64       // bytes a second of others, while the buffer is not full
	queue        float64
	dice         *rand.Rand
}

// pass lets an interval pass, and returns the rate that got through and the round
// trip at its end.
func (l *line) pass(limit float64, conns int, wish float64, d time.Duration) (rate float64, trip time.Duration) {
	const steps = 50
	dt := d.Seconds() / steps
	through := 0.0
	for range steps {
		mine := min(1.2*l.rate, wish)
		if limit > 0 {
			mine = min(mine, limit*float64(conns))
		}
		all := mine + l.others
		l.queue = min(max(l.queue+(all-l.rate)*dt, 0), l.buffer)
		served := min(all, l.rate)
		if l.queue > 0 {
			served = l.rate
		}
		through += served * mine / all * dt
	}
	trip = l.base + time.Duration(l.queue/l.rate*float64(time.Second))
	if l.jitter > 0 {
		trip += time.Duration(l.dice.Int64N(int64(l.jitter)))
	}
	return through / d.Seconds(), trip
}

// run is a minute of bulk on a line: mean rate and queue of the second half.
func run(l *line, wish float64, conns func(step int) int) (rate float64, queue time.Duration) {
	l.dice = rand.New(rand.NewPCG(1, 2))
	var g Governor
	limit, n := 0.0, 0
	d := max(Interval, 3*l.base)
	for now, i := time.Duration(0), 0; now < time.Minute; now, i = now+d, i+1 {
		k := conns(i)
		r, trip := l.pass(limit, k, wish, d)
		limit = g.Step(Sample{Now: now, Rate: r, Conns: k, Trip: trip, Base: l.base})
		if now > 30*time.Second {
			rate += r
			queue += time.Duration(l.queue / l.rate * float64(time.Second))
			n++
		}
	}
	return rate / float64(n), queue / time.Duration(n)
}

func steady(n int) func(int) int { return func(int) int { return n } }

// Alone on a line bulk keeps most of its rate, and the queue is about as long as the
// target, whatever the buffer.
func TestShortQueue(t *testing.T) {
	for _, rate := range []float64{1.25e6, 125e6, 1.25e9} {
		for _, base := range []time.Duration{200 * time.Microsecond, time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond} {
			for _, buffer := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond} {
				for _, conns := range []int{1, 16} {
					t.Run(fmt.Sprint(rate, base, buffer, conns), func(t *testing.T) {
						buffer := max(buffer, 2*Target(base))
						l := &line{rate: rate, base: base, buffer: rate * buffer.Seconds()}
						got, queue := run(l, math.Inf(1), steady(conns))
						require.Greater(t, got, 0.9*rate)
						require.Less(t, queue, 2*Target(base), "of %v", buffer)
					})
				}
			}
		}
	}
}

// A queue of seconds is drained, too, which takes a while.
func TestBloat(t *testing.T) {
	l := &line{rate: 1.25e6, base: 10 * time.Millisecond, buffer: 3 * 1.25e6}
	got, queue := run(l, math.Inf(1), steady(4))
	require.Greater(t, got, 0.85*l.rate)
	require.Less(t, queue, 2*Target(l.base), "of three seconds")
}

// Connections come and go: the limit follows.
func TestConnectionsComeAndGo(t *testing.T) {
	l := &line{rate: 125e6, base: time.Millisecond, buffer: 2.5e6}
	got, queue := run(l, math.Inf(1), func(i int) int { return []int{1, 16, 4}[i/100%3] })
	require.Greater(t, got, 0.85*l.rate)
	require.Less(t, queue, 8*time.Millisecond, "of 20")
}

// A queue that is another's is given up: bulk keeps its share.
func TestOthersQueue(t *testing.T) {
	free := &line{rate: 125e6, base: time.Millisecond, buffer: 2.5e6, others: 125e6}
	alone, _ := free.pass(0, 1, math.Inf(1), time.Minute)
	l := &line{rate: 125e6, base: time.Millisecond, buffer: 2.5e6, others: 125e6}
	got, _ := run(l, math.Inf(1), steady(1))
	require.Greater(t, got, 0.95*alone)
}

// Round trips that tremble, as those of busy machines and wireless lines do, cost
// little.
func TestJitter(t *testing.T) {
	l := &line{rate: 125e6, base: 5 * time.Millisecond, buffer: 10e6, jitter: 30 * time.Millisecond}
	got, _ := run(l, 100e6, steady(4))
	require.Greater(t, got, 0.93*100e6)
}

// A limit that does harm, since those who send take turns and none may use what the
// others leave, is given up, and seldom tried again.
func TestHarm(t *testing.T) {
	for _, left := range []float64{0.3, 0.6, 0.8} {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			dice := rand.New(rand.NewPCG(3, 4))
			var g Governor
			limit, got, n := 0.0, 0.0, 0
			for now := time.Duration(0); now < 2*time.Minute; now += Interval {
				r := 100e6 * (0.8 + 0.4*dice.Float64())
				if limit > 0 {
					r *= left
				}
				limit = g.Step(Sample{Now: now, Rate: r, Conns: 8, Trip: 6 * time.Millisecond, Base: time.Millisecond})
				got += r
				n++
			}
			require.Greater(t, got/float64(n), 0.96*100e6)
		})
	}
}

// Who sends less than the line carries is not held up.
func TestNotLimited(t *testing.T) {
	l := &line{rate: 125e6, base: time.Millisecond, buffer: 2.5e6}
	got, queue := run(l, 60e6, steady(2))
	require.InDelta(t, 60e6, got, 1e5)
	require.Zero(t, queue)
}

// Any samples: the limit is never negative, never without an end, and each time that
// it stands the rate is bounded from below or it is given up.
func FuzzGovernor(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		rng := rand.New(rand.NewPCG(a, b))
		var g Governor
		now := time.Duration(0)
		for range 1000 {
			now += time.Duration(rng.Int64N(int64(time.Second)))
			s := Sample{Now: now, Rate: rng.Float64() * 1e9, Conns: rng.IntN(20) - 1, Trip: time.Duration(rng.Int64N(int64(time.Second))), Base: time.Duration(rng.Int64N(int64(time.Second)))}
			if s.Conns < 0 {
				s.Conns = 0
			}
			limit := g.Step(s)
			require.False(t, limit < 0 || math.IsNaN(limit) || math.IsInf(limit, 0), "%v", limit)
			require.True(t, s.Conns > 0 || limit == 0)
		}
	})
}
