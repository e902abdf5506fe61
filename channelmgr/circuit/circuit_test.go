package circuit_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/circuit"
	"github.com/maquis-go/maquis/overlay"
)

// path carries segments between two ends with a delay, in virtual time.
type path struct {
	now   overlay.Time
	ends  [2]*circuit.End
	queue []packet
	fate  func(from int) (drop, twice bool, after time.Duration)
	sent  int

	memory *memory
}

type packet struct {
	at  overlay.Time
	to  int
	seg circuit.Segment
}

func newPath(fate func(int) (bool, bool, time.Duration)) *path {
	m := newMemory()
	return &path{ends: [2]*circuit.End{circuit.New(true, m), circuit.New(false, m)}, fate: fate, memory: m}
}

func (p *path) pump(i int) {
	p.ends[i].Take(p.now, func(s circuit.Segment) {
		p.sent++
		s.Body = slices.Clone(s.Body) // it is a view
		drop, twice, after := p.fate(i)
		n := 1
		if drop {
			n = 0
		} else if twice {
			n = 2
		}
		for range n {
			p.queue = append(p.queue, packet{p.now.Add(after), 1 - i, s})
		}
	})
}

// step brings the next packet or timer. It reports false when there is none.
func (p *path) step() bool {
	slices.SortStableFunc(p.queue, func(a, b packet) int { return int(a.at - b.at) })
	next := min(p.ends[0].Due(), p.ends[1].Due())
	if len(p.queue) > 0 && p.queue[0].at <= next {
		x := p.queue[0]
		p.queue = p.queue[1:]
		p.now = max(p.now, x.at)
		p.ends[x.to].Receive(p.now, x.seg)
		p.pump(x.to)
		return true
	}
	if next == overlay.Never {
		return false
	}
	p.now = max(p.now, next)
	p.pump(0)
	p.pump(1)
	return true
}

// transfer writes to both ends and reads at both, until all is there.
func (p *path) transfer(t *testing.T, size int, rng *rand.Rand) {
	var want, got [2][]byte
	left := [2][]byte{}
	for i := range want {
		want[i] = make([]byte, size)
		for j := 0; j+8 <= size; j += 8 {
			binary.BigEndian.PutUint64(want[i][j:], rng.Uint64())
		}
		left[i] = want[i]
	}
	buf := make([]byte, 50_000)
	ended := [2]bool{}
	for steps := 0; !(ended[0] && ended[1]); steps++ {
		require.Less(t, steps, 2_000_000)
		for i := range p.ends {
			if len(left[i]) > 0 {
				left[i] = left[i][p.ends[i].Write(left[i][:min(len(left[i]), 1+rng.IntN(100_000))]):]
				if len(left[i]) == 0 {
					p.ends[i].Close()
				}
			}
			for !ended[i] {
				n, end := p.ends[i].Read(buf[:1+rng.IntN(len(buf)-1)])
				got[i] = append(got[i], buf[:n]...)
				ended[i] = end
				if n == 0 {
					break
				}
			}
			p.pump(i)
		}
		if !p.step() && !(ended[0] && ended[1]) {
			require.Zero(t, len(left[0])+len(left[1]), "nothing moves")
		}
		require.False(t, p.ends[0].Dead() || p.ends[1].Dead())
	}
	require.True(t, bytes.Equal(want[0], got[1]) && bytes.Equal(want[1], got[0]))
}

// Whatever a path drops, doubles and delays, all bytes arrive, in order.
func TestTransfer(t *testing.T) {
	for _, loss := range []float64{0, 0.01, 0.1, 0.3} {
		for seed := range uint64(10) {
			rng := rand.New(rand.NewPCG(seed, 1))
			p := newPath(func(int) (bool, bool, time.Duration) {
				return rng.Float64() < loss, rng.Float64() < 0.05, time.Duration(1+rng.IntN(4)) * time.Millisecond
			})
			p.transfer(t, 1_000_000, rng)
		}
	}
}

// Without loss nothing is sent twice, and acknowledgements ride along.
func TestNothingIsSentTwice(t *testing.T) {
	p := newPath(func(int) (bool, bool, time.Duration) { return false, false, time.Millisecond })
	p.transfer(t, 4<<20, rand.New(rand.NewPCG(1, 1)))
	require.Less(t, p.sent, 2*(4<<20/circuit.MaxBody)*2)
}

// A way that is gone for a while is no end; one that stays so is.
func TestSilence(t *testing.T) {
	cut := false
	p := newPath(func(int) (bool, bool, time.Duration) { return cut, false, time.Millisecond })
	p.ends[0].Write([]byte("one"))
	p.pump(0)
	for p.step() {
	}
	buf := make([]byte, 10)
	n, end := p.ends[1].Read(buf)
	require.Equal(t, "one", string(buf[:n]))
	require.False(t, end)
	cut = true
	p.ends[0].Write([]byte("two"))
	p.pump(0)
	for p.now < overlay.Time(3*time.Second) {
		p.step()
	}
	cut = false
	p.ends[0].Again()
	p.pump(0)
	for p.step() {
	}
	n, _ = p.ends[1].Read(buf)
	require.Equal(t, "two", string(buf[:n]))
	cut = true
	p.ends[0].Write([]byte("three"))
	p.pump(0)
	began := p.now
	for p.step() {
	}
	require.True(t, p.ends[0].Dead())
	require.InDelta(t, circuit.DeadAfter.Seconds(), p.now.Sub(began).Seconds(), 1)
}

// A reader that does not read stops its writer, at a bound, and lets it go on.
func TestBackPressure(t *testing.T) {
	p := newPath(func(int) (bool, bool, time.Duration) { return false, false, time.Millisecond })
	total := 0
	for range 100 {
		total += p.ends[0].Write(make([]byte, 100_000))
		p.pump(0)
		for p.now < overlay.Time(2*time.Second) && p.step() {
		}
	}
	require.Less(t, total, 4<<20)
	buf := make([]byte, 1<<20)
	read := 0
	for steps := 0; read < total; steps++ {
		require.Less(t, steps, 100_000)
		n, _ := p.ends[1].Read(buf)
		read += n
		p.pump(1)
		p.step()
	}
}

// Until a round trip was seen, who asks how long to wait hears what the timer waits;
// one that took no time is one.
func TestTimeout(t *testing.T) {
	e := circuit.New(true, newMemory())
	first := e.Timeout()
	e.Write([]byte("x"))
	e.Take(1, func(circuit.Segment) {})
	require.Equal(t, overlay.Time(1).Add(first), e.Due())
	e.Receive(1, circuit.Segment{Ack: 2})
	require.Less(t, e.Timeout(), first)
	e.Write([]byte("y"))
	e.Take(2, func(circuit.Segment) {})
	require.Equal(t, overlay.Time(2).Add(e.Timeout()), e.Due())
}

func TestReset(t *testing.T) {
	e := circuit.New(true, newMemory())
	require.True(t, e.Receive(0, circuit.Segment{Flags: circuit.Reset}))
	require.True(t, e.Dead() && e.Flushed())
	require.Zero(t, e.Write([]byte("x")))
	e.Take(0, func(circuit.Segment) { t.Fatal("a dead circuit speaks") })
}

// FuzzReceive feeds any segments: memory stays bounded, nothing panics.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Fuzz(func(t *testing.T, data []byte) {
		e := circuit.New(false, newMemory())
		e.Write(make([]byte, 100_000))
		var now overlay.Time
		for len(data) >= 6 {
			now = now.Add(time.Duration(data[0]) * time.Millisecond)
			s := circuit.Segment{Flags: data[1] & 3, Number: uint64(data[2]), Ack: uint64(data[3]), More: uint64(data[4]) << (data[4] % 57), Window: uint32(data[5]) << 12, Body: make([]byte, int(data[5])*200)}
			if data[0] == 255 {
				s.Number, s.Ack = s.Number<<56, s.Ack<<56
			}
			e.Receive(now, s)
			e.Take(now, func(circuit.Segment) {})
			if data[1]&4 != 0 {
				e.Read(make([]byte, 1000))
			}
			require.GreaterOrEqual(t, e.Due(), overlay.Time(0))
			data = data[6:]
		}
	})
}

// While no round trip was measured the wait does not become short: over a slow
// way each segment would be sent many times.
func TestASlowWayFromTheStart(t *testing.T) {
	p := newPath(func(int) (bool, bool, time.Duration) { return false, false, time.Second })
	buf := make([]byte, 10)
	for range 8 {
		p.ends[0].Write([]byte("one"))
		p.pump(0)
		for n := 0; n == 0; n, _ = p.ends[1].Read(buf) {
			p.step()
		}
	}
	require.Less(t, p.sent, 40)
}

// What was sent in vain by one way says nothing of another.
func TestAnotherWayIsTrusted(t *testing.T) {
	cut := true
	p := newPath(func(int) (bool, bool, time.Duration) { return cut, false, time.Millisecond })
	p.ends[0].Write([]byte("one"))
	p.pump(0)
	for !p.ends[0].Stuck() {
		p.step()
	}
	p.ends[0].Again()
	p.pump(0)
	require.False(t, p.ends[0].Stuck())
	p.step()
	p.step()
	require.True(t, p.ends[0].Stuck(), "nor does this one lead anywhere")
}
