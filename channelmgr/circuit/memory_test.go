package circuit_test

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/channelmgr/circuit"
)

// memory lends blocks, the one that came back last first. It spoils what comes back,
// so that whoever still refers to it reads rubbish, and knows what is out.
type memory struct {
	out   map[*byte]int // the capacity of each
	free  [][]byte
	wrong string // what was done wrong, if anything
}

func newMemory() *memory { return &memory{out: map[*byte]int{}} }

func (m *memory) Get(size int) (b []byte) {
	if k := len(m.free) - 1; size > 2<<10 && k >= 0 {
		b, m.free = m.free[k], m.free[:k]
		for _, x := range b {
			if x != 0xdb {
				m.wrong = "written after it was given back"
			}
		}
	} else if size > 2<<10 {
		b = make([]byte, circuit.MaxBody)
	} else {
		b = make([]byte, size)
	}
	m.out[unsafe.SliceData(b)] = cap(b)
	return b[:0]
}

func (m *memory) Put(b []byte) {
	at := unsafe.SliceData(b)
	if m.out[at] != cap(b) || cap(b) == 0 {
		m.wrong = "given back what was not lent, or twice"
		return
	}
	delete(m.out, at)
	b = b[:cap(b)]
	for i := range b {
		b[i] = 0xdb
	}
	if len(b) == circuit.MaxBody {
		m.free = append(m.free, b)
	}
}

// Blocks are given back once, when nobody refers to them, and none is forgotten:
// over a path that drops, doubles and delays, with ends that are closed, deafened,
// killed and reset at any time, what is read is what was written.
func TestMemory(t *testing.T) {
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 7))
		loss := []float64{0, 0.02, 0.2}[seed%3]
		p := newPath(func(int) (bool, bool, time.Duration) {
			return rng.Float64() < loss, rng.Float64() < 0.1, time.Duration(rng.IntN(5000)) * time.Microsecond
		})
		// A stream that tells its own place: byte i of it, and of what is read.
		var wrote, read [2]int
		value := func(end, i int) byte { return byte(i*7 + i>>8*3 + end*101) }
		stop := 200 + rng.IntN(1000)
		buf := make([]byte, 100_000)
		for step := 0; step < 6000 && p.memory.wrong == ""; step++ {
			i := rng.IntN(2)
			e := p.ends[i]
			if step < stop {
				w := buf[:1+rng.IntN([]int{10, 3000, 3000, 100_000}[rng.IntN(4)])]
				for k := range w {
					w[k] = value(i, wrote[i]+k)
				}
				wrote[i] += e.Write(w)
			}
			if rng.IntN(3) > 0 {
				n, _ := e.Read(buf[:1+rng.IntN(len(buf)-1)])
				for k, b := range buf[:n] {
					if b != value(1-i, read[i]+k) {
						t.Fatalf("seed %d: byte %d of end %d is %d", seed, read[i]+k, i, b)
					}
				}
				read[i] += n
			}
			switch {
			case step == stop && seed%4 == 0:
				e.Kill()
			case step == stop && seed%4 == 1:
				e.Receive(p.now, circuit.Segment{Flags: circuit.Reset})
			case step >= stop:
				e.Close()
				if step > stop+rng.IntN(1000) {
					e.Deafen()
				}
			case rng.IntN(200) == 0:
				e.Again()
			}
			p.pump(i)
			if !p.step() && step > stop+1000 {
				break
			}
		}
		require.Empty(t, p.memory.wrong, "seed %d", seed)
		for i, e := range p.ends {
			e.Deafen()
			if !e.Flushed() {
				e.Kill()
			}
			if loss == 0 && seed%4 > 1 {
				require.True(t, e.Flushed() && !e.Dead(), "seed %d, end %d", seed, i)
			}
		}
		require.Empty(t, p.memory.out, "seed %d: not given back", seed)
		require.Empty(t, p.memory.wrong, "seed %d", seed)
	}
}

// An end that nobody writes to or reads from holds nothing.
func TestMemoryAtRest(t *testing.T) {
	p := newPath(func(int) (bool, bool, time.Duration) { return false, false, time.Millisecond })
	for _, size := range []int{1, 100, 5000, 300_000} {
		p.ends[0].Write(make([]byte, size))
		p.pump(0)
		got, buf := 0, make([]byte, 10_000)
		for p.step() || got < size {
			n, _ := p.ends[1].Read(buf)
			got += n
			p.pump(1)
		}
		require.Equal(t, size, got)
		require.Empty(t, p.memory.out)
	}
	require.LessOrEqual(t, len(p.memory.free), 20)
	require.Empty(t, p.memory.wrong)
}
