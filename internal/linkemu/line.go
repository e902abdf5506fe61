package linkemu

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Way is how one direction of a link behaves. The zero value passes everything
// at once; it still needs a Buffer.
type Way struct {
	Delay  time.Duration // from the end of the line's turn to the arrival
	Jitter time.Duration // at most so much more, evenly; nothing overtakes
	Loss   float64       // the part of the packets that is lost, 0 to 1, each by itself; they take their time on the line
	Rate   int64         // bytes a second; 0 without limit
	Buffer int           // bytes that wait for the line or are on it, at most; without a rate, bytes that are on their way. What comes on top is dropped
}

// Limits of a Way.
const (
	MaxDelay  = time.Minute
	MaxBuffer = 1 << 30
	MaxRate   = 1 << 40
)

// Validate says everything that is wrong with the way.
func (w Way) Validate() error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("linkemu: Way."+format, args...))
		}
	}
	need(w.Delay >= 0 && w.Delay <= MaxDelay, "Delay is %v: use 0 to %v", w.Delay, MaxDelay)
	need(w.Jitter >= 0 && w.Jitter <= MaxDelay, "Jitter is %v: use 0 to %v", w.Jitter, MaxDelay)
	need(w.Loss >= 0 && w.Loss <= 1, "Loss is %v: use 0 to 1", w.Loss)
	need(w.Rate >= 0 && w.Rate <= MaxRate, "Rate is %d bytes a second: use 0 (no limit) to %d", w.Rate, int64(MaxRate))
	need(w.Buffer > 0 && w.Buffer <= MaxBuffer, "Buffer is %d bytes: use 1 to %d", w.Buffer, MaxBuffer)
	return errors.Join(errs...)
}

// Counters are what has happened to packets, and their bytes.
type Counters struct {
	Packets, Bytes          uint64 // that came
	Arrived, ArrivedBytes   uint64
	Lost, LostBytes         uint64 // by chance
	Overflow, OverflowBytes uint64 // for want of room in the buffer
	MaxQueued               int    // bytes in the buffer at most
	OnTheWay                int    // packets in the line now
}

// Line is one direction of a link. It is not safe for concurrent use. Times are
// those since any one moment; they must not go back.
type Line struct {
	way    Way
	dice   *rand.Rand
	fifo   []item // by arrival; those before head have left
	head   int
	sent   int           // index of the first that has not left the line
	free   time.Duration // when the line has sent all
	rest   int64         // of free, in 1/Rate of a nanosecond
	last   time.Duration // the latest arrival
	queued int           // bytes in the buffer
	count  Counters
}

// item is a packet in the line.
type item struct {
	b    []byte
	size int
	sent time.Duration // when its last byte has left the line
	due  time.Duration // its arrival
	lost bool
}

// New makes a line. The seed decides jitter and loss.
func New(w Way, seed uint64) (*Line, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	return &Line{way: w, dice: rand.New(rand.NewPCG(seed, 0x6c696e6b))}, nil
}

// Set changes how the line behaves for packets that come from now on. What is
// on its way keeps its times, and nothing overtakes it.
func (l *Line) Set(w Way) error {
	if err := w.Validate(); err != nil {
		return err
	}
	if (w.Rate == 0) != (l.way.Rate == 0) { // the buffer is counted anew
		l.queued, l.sent = 0, len(l.fifo)
		if w.Rate == 0 {
			for i := l.head; i < len(l.fifo); i++ {
				l.queued += l.fifo[i].size
			}
		}
	}
	l.way, l.rest = w, 0
	return nil
}

// Way returns how the line behaves.
func (l *Line) Way() Way { return l.way }

// Put puts a packet of size bytes on the line. The line keeps b until Take
// returns it; size may differ from its length. False means that it was dropped
// and b is the caller's again.
func (l *Line) Put(now time.Duration, b []byte, size int) bool {
	c := &l.count
	c.Packets++
	c.Bytes += uint64(size)
	l.depart(now)
	if l.queued > 0 && l.queued+size > l.way.Buffer {
		c.Overflow++
		c.OverflowBytes += uint64(size)
		return false
	}
	l.queued += size
	c.MaxQueued = max(c.MaxQueued, l.queued)
	if l.free < now {
		l.free, l.rest = now, 0
	}
	if r := l.way.Rate; r > 0 {
		ns := int64(size)*int64(time.Second) + l.rest
		l.free += time.Duration(ns / r)
		l.rest = ns % r
	}
	it := item{b: b, size: size, sent: l.free, due: l.free + l.way.Delay}
	if l.way.Jitter > 0 {
		it.due += time.Duration(l.dice.Int64N(int64(l.way.Jitter) + 1))
	}
	it.due = max(it.due, l.last)
	it.lost = l.way.Loss > 0 && l.dice.Float64() < l.way.Loss
	l.last = it.due
	l.fifo = append(l.fifo, it)
	c.OnTheWay++
	return true
}

// depart gives the room back of what has left the line.
func (l *Line) depart(now time.Duration) {
	if l.way.Rate == 0 {
		return
	}
	for l.sent < len(l.fifo) && l.fifo[l.sent].sent <= now {
		l.queued -= l.fifo[l.sent].size
		l.sent++
	}
}

// Due returns when Take has something to do next; false if the line is empty.
func (l *Line) Due() (time.Duration, bool) {
	if l.head == len(l.fifo) {
		return 0, false
	}
	return l.fifo[l.head].due, true
}

// Take takes the next packet whose time has come off the line; ok is false if
// there is none. A packet that was lost comes with arrived false: its memory is
// the caller's, nothing else.
func (l *Line) Take(now time.Duration) (b []byte, arrived, ok bool) {
	l.depart(now)
	if l.head == len(l.fifo) || l.fifo[l.head].due > now {
		return nil, false, false
	}
	it := l.fifo[l.head]
	l.fifo[l.head] = item{}
	l.head++
	c := &l.count
	c.OnTheWay--
	if l.way.Rate == 0 {
		l.queued -= it.size
	}
	switch {
	case it.lost:
		c.Lost++
		c.LostBytes += uint64(it.size)
	default:
		c.Arrived++
		c.ArrivedBytes += uint64(it.size)
	}
	if l.head == len(l.fifo) {
		l.fifo, l.head, l.sent = l.fifo[:0], 0, 0
	} else if l.head >= 1024 && l.head*2 >= len(l.fifo) {
		n := copy(l.fifo, l.fifo[l.head:])
		clear(l.fifo[n:])
		l.fifo, l.sent, l.head = l.fifo[:n], max(l.sent-l.head, 0), 0
	}
	return it.b, !it.lost, true
}

// Counters returns what has happened so far.
func (l *Line) Counters() Counters { return l.count }
