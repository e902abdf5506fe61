// Package circuit is a connection between two nodes over relays: one end of a
// byte stream over segments that relays may drop, and that overtake each other
// when a route changes. It is a pure state machine: the caller brings the time,
// carries the segments, and serializes the calls.
//
// Numbers, acknowledgements with what arrived beyond a gap, round trips and the
// congestion window are those of TCP (RFC 9293, 2018, 6298, 5681), with whole
// segments in the place of bytes: a segment is sent again as it was.
//
// Relays keep nothing of a circuit. Whatever is done about loss is done at its
// ends, so a node's links stay free of each other's traffic jams.
package circuit

import (
	"slices"
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// Bounds, our choice.
const (
	MaxBody       = 32 << 10      // of a segment
	fullBody      = MaxBody - 256 // of ours: with its frame's head it takes two TLS records, no third
	smallBody     = 1 << 10       // below, what is first in a queue gets less than a whole block
	sendBuffer    = 1 << 20       // taken by Write and not acknowledged
	receiveBuffer = 1 << 20       // not read yet
	roomFrom      = sendBuffer / 4
	firstWindow   = 256 << 10 // of congestion, and of the peer before it said
	leastWindow   = 2 * MaxBody
	mostWindow    = 4 << 20
	maxEarly      = 4096 // numbers beyond a gap
	maxOwed       = 32   // segments that one acknowledgement is for

	firstTimeout = 500 * time.Millisecond
	leastTimeout = 100 * time.Millisecond
	mostTimeout  = 4 * time.Second
	ackDelay     = 10 * time.Millisecond
	// DeadAfter ends a circuit that waits for acknowledgements and gets none.
	DeadAfter = 15 * time.Second
)

// Flags of a Segment.
const (
	Open  uint8 = 1 << iota // the dialer's first
	Fin                     // nothing follows
	Reset                   // there is no such circuit
)

// Segment is what travels.
type Segment struct {
	Flags  uint8
	Number uint64 // from 1; 0: only an acknowledgement
	Ack    uint64 // all lower numbers have arrived
	More   uint64 // bit i: Ack+1+i has arrived
	Window uint32 // bytes that the receiver has room for beyond Ack
	Body   []byte // a view: who keeps it copies it
}

// Memory is where an end keeps what is not sent, acknowledged or read. It is
// called with the end's calls.
type Memory interface {
	// Get returns an empty slice with a capacity of at least size bytes; size is
	// at most MaxBody.
	Get(size int) []byte
	// Put takes a slice of Get back, once; the end does not refer to it any more.
	Put(b []byte)
}

// sent is a segment that is not acknowledged.
type sent struct {
	number uint64
	flags  uint8
	body   []byte
	at     overlay.Time
	tries  int
	vain   int  // those since there is another way
	have   bool // the peer has it, beyond a gap
	lost   bool // to be sent again
}

// early is a segment beyond a gap.
type early struct {
	number uint64
	flags  uint8
	body   []byte
}

// End is one end of a circuit. Make it with New.
type End struct {
	memory Memory

	// Sending.
	next     uint64
	out      []sent
	flight   int      // bytes sent that the peer has not
	waiting  [][]byte // taken by Write, not sent
	wait     int
	opening  bool
	closing  bool // Fin is to follow what waits
	closed   bool // Fin was sent
	window   int  // the peer's
	cwnd     int
	thresh   int
	recover  uint64 // numbers below were sent before the last cut of cwnd
	measured bool   // a round trip was seen
	srtt     time.Duration
	rttvar   time.Duration
	timeout  time.Duration
	progress overlay.Time // of the last acknowledgement, or of the first send after
	lossy    bool         // some of out may be lost

	// Receiving.
	arrived uint64
	beyond  []early
	held    int // bytes beyond a gap
	ready   [][]byte
	at      int // read of the first
	unread  int
	fin     bool
	deaf    bool // nobody reads
	owed    int  // segments since the last acknowledgement
	owes    int  // their bytes
	due     overlay.Time
	told    int // the window as last told

	dead bool
}

// New makes an end. The dialer's first segment opens the circuit.
func New(dialer bool, memory Memory) *End {
	return &End{memory: memory, next: 1, opening: dialer, window: firstWindow, cwnd: firstWindow, thresh: mostWindow, timeout: firstTimeout, due: overlay.Never, told: firstWindow}
}

// Write takes bytes to be sent and returns how many: fewer than all when the
// buffer is full, none once the end is closed.
func (e *End) Write(p []byte) int {
	if e.closing || e.dead {
		return 0
	}
	n := min(len(p), max(sendBuffer-e.wait-e.flight, 0))
	e.waiting = e.put(e.waiting, p[:n], fullBody)
	e.wait += n
	return n
}

// put appends bytes to the last of some blocks, each of up to limit bytes, and to
// more.
func (e *End) put(blocks [][]byte, p []byte, limit int) [][]byte {
	for len(p) > 0 {
		k := len(blocks) - 1
		if k < 0 || len(blocks[k]) >= min(cap(blocks[k]), limit) {
			size := limit
			if k < 0 && len(p) < smallBody {
				size = 2 * len(p)
			}
			blocks = append(blocks, e.memory.Get(size))
			k++
		}
		n := min(len(p), min(cap(blocks[k]), limit)-len(blocks[k]))
		blocks[k] = append(blocks[k], p[:n]...)
		p = p[n:]
	}
	return blocks
}

// drop gives blocks back.
func (e *End) drop(blocks [][]byte) {
	for _, b := range blocks {
		e.memory.Put(b)
	}
}

// die ends the circuit. What has arrived can still be read.
func (e *End) die() {
	e.dead = true
	e.drop(e.waiting)
	for _, x := range e.out {
		if x.body != nil {
			e.memory.Put(x.body)
		}
	}
	e.waiting, e.wait, e.out, e.flight, e.beyond, e.held = nil, 0, nil, 0, nil, 0
}

// Room reports whether Write would take a good deal: it is worth to go on.
func (e *End) Room() bool { return e.wait+e.flight <= sendBuffer-roomFrom }

// Read moves bytes that have arrived in order to p. It reports the end of the
// stream once all before it was read.
func (e *End) Read(p []byte) (n int, end bool) {
	for n < len(p) && len(e.ready) > 0 {
		k := copy(p[n:], e.ready[0][e.at:])
		n += k
		if e.at += k; e.at == len(e.ready[0]) {
			e.memory.Put(e.ready[0])
			e.ready[0], e.at = nil, 0
			e.ready = e.ready[1:]
		}
	}
	e.unread -= n
	if len(e.ready) == 0 {
		e.ready = nil
	}
	if e.told < receiveBuffer/4 && e.free() > receiveBuffer/2 && !e.fin {
		e.owed, e.due = e.owed+1, 0 // the peer waits for room
	}
	return n, e.fin && len(e.ready) == 0 && n == 0
}

// Close ends our part of the stream after what was written.
func (e *End) Close() { e.closing = true }

// Deafen drops what has arrived and what will.
func (e *End) Deafen() {
	e.drop(e.ready)
	e.deaf, e.ready, e.at = true, nil, 0
	if e.unread > 0 {
		e.unread = 0
		e.owed, e.due = e.owed+1, 0
	}
}

// Flushed reports whether all that was written, and the end, has arrived.
func (e *End) Flushed() bool { return e.closed && len(e.out) == 0 || e.dead }

// Dead reports whether the circuit has ended without a word.
func (e *End) Dead() bool { return e.dead }

// Kill ends the circuit.
func (e *End) Kill() { e.die() }

func (e *End) free() int { return max(receiveBuffer-e.unread-e.held, 0) }

// Stuck reports whether something was sent three times in vain by the way that
// there is: perhaps it leads nowhere.
func (e *End) Stuck() bool {
	i := e.oldest()
	return i >= 0 && e.out[i].vain >= 3
}

// Again has all that is not acknowledged sent again: the way was none.
func (e *End) Again() {
	for i := range e.out {
		e.out[i].lost, e.out[i].vain = !e.out[i].have, 0
	}
	e.lossy = true
	e.timeout = e.rto()
}

// Receive takes a segment. It reports whether there may be something to read,
// room to write, or an end.
func (e *End) Receive(now overlay.Time, s Segment) (news bool) {
	if e.dead {
		return false
	}
	if s.Flags&Reset != 0 {
		e.die()
		return true
	}
	news = e.acknowledged(now, s)
	if s.Number == 0 || len(s.Body) > MaxBody {
		return news
	}
	e.owed++
	e.owes += len(s.Body)
	if e.due == overlay.Never {
		e.due = now.Add(ackDelay)
	}
	switch {
	case s.Number <= e.arrived:
		e.due = now // it was sent in vain: say so
		return news
	case s.Number > e.arrived+maxEarly || e.unread+e.held+len(s.Body) > 2*receiveBuffer:
		return news // no room: it comes again
	case s.Number > e.arrived+1:
		e.due = now // a gap
		i, have := slices.BinarySearchFunc(e.beyond, s.Number, func(x early, n uint64) int { return int(int64(x.number - n)) })
		if !have {
			e.beyond = slices.Insert(e.beyond, i, early{s.Number, s.Flags, append([]byte(nil), s.Body...)})
			e.held += len(s.Body)
		}
		return news
	}
	e.take(s.Flags, s.Body)
	for len(e.beyond) > 0 && e.beyond[0].number == e.arrived+1 {
		x := e.beyond[0]
		e.beyond = slices.Delete(e.beyond, 0, 1)
		e.held -= len(x.body)
		e.take(x.flags, x.body)
	}
	if e.owes > 3*fullBody || e.owed >= maxOwed {
		e.due = now
	}
	return true
}

// take is the next segment.
func (e *End) take(flags uint8, body []byte) {
	e.arrived++
	if len(body) > 0 && !e.fin && !e.deaf {
		e.ready = e.put(e.ready, body, MaxBody)
		e.unread += len(body)
	}
	e.fin = e.fin || flags&Fin != 0
}

// acknowledged takes what a segment says of ours.
func (e *End) acknowledged(now overlay.Time, s Segment) (news bool) {
	if s.Ack > e.next || s.Ack == 0 {
		return false
	}
	e.window = int(min(s.Window, mostWindow))
	var got int
	var highest uint64
	rest := e.out[:0]
	for _, x := range e.out {
		beyond := x.number > s.Ack && x.number-s.Ack-1 < 64 && s.More&(1<<(x.number-s.Ack-1)) != 0
		if (x.number < s.Ack || beyond) && !x.have {
			x.have = true
			got += max(len(x.body), 1)
			e.flight -= len(x.body)
			if x.tries == 1 {
				e.measure(now.Sub(x.at))
			}
		}
		if x.have {
			highest = max(highest, x.number)
		}
		switch {
		case x.number >= s.Ack:
			rest = append(rest, x)
		case x.body != nil:
			e.memory.Put(x.body)
		}
	}
	clear(e.out[len(rest):])
	e.out = rest
	if got == 0 {
		return false
	}
	e.progress = now
	if e.measured {
		e.timeout = e.rto()
	} else { // what was sent again says nothing of the round trip
		e.timeout = max(e.timeout/2, firstTimeout)
	}
	if e.cwnd < e.thresh {
		e.cwnd += got
	} else {
		e.cwnd += max(got*MaxBody/e.cwnd, 1)
	}
	e.cwnd = min(e.cwnd, mostWindow)
	// What three later ones have overtaken is lost, if it was not just sent again.
	for i := range e.out {
		x := &e.out[i]
		if !x.have && !x.lost && x.number+3 <= highest && now.Sub(x.at) >= e.srtt {
			x.lost, e.lossy = true, true
			if x.number >= e.recover {
				e.recover = e.next
				e.thresh = max(e.cwnd/2, leastWindow)
				e.cwnd = e.thresh
			}
		}
	}
	return true
}

func (e *End) measure(rtt time.Duration) {
	if !e.measured {
		e.measured, e.srtt, e.rttvar = true, rtt, rtt/2
		return
	}
	e.rttvar += ((rtt - e.srtt).Abs() - e.rttvar) / 4
	e.srtt += (rtt - e.srtt) / 8
}

// Timeout is how long it is waited for an acknowledgement now, by the round trips
// that were seen.
func (e *End) Timeout() time.Duration { return e.rto() }

func (e *End) rto() time.Duration {
	if !e.measured {
		return firstTimeout
	}
	return min(max(e.srtt+4*e.rttvar, leastTimeout), mostTimeout)
}

// Take hands out all segments that are to be sent now.
func (e *End) Take(now overlay.Time, emit func(Segment)) {
	if e.dead {
		return
	}
	if i := e.oldest(); i >= 0 {
		x := &e.out[i]
		if now.Sub(e.progress) >= DeadAfter {
			e.die()
			return
		}
		if now.Sub(x.at) >= e.timeout && !x.lost {
			x.lost, e.lossy = true, true
			e.timeout = min(2*e.timeout, mostTimeout)
			e.thresh = max(e.cwnd/2, leastWindow)
			e.cwnd, e.recover = leastWindow, e.next
		}
	}
	for i := 0; e.lossy && i < len(e.out); i++ {
		if x := &e.out[i]; x.lost {
			x.lost, x.at = false, now
			x.tries++
			x.vain++
			e.emit(Segment{Flags: x.flags, Number: x.number, Body: x.body}, emit)
		}
	}
	e.lossy = false
	for (len(e.waiting) > 0 || e.opening) && (e.flight == 0 || e.flight+MaxBody <= min(e.cwnd, e.window)) {
		var body []byte
		if len(e.waiting) > 0 {
			body = e.waiting[0]
			e.waiting[0] = nil
			e.waiting = e.waiting[1:]
			e.wait -= len(body)
		}
		var flags uint8
		if e.opening {
			flags, e.opening = Open, false
		}
		e.send(now, flags, body, emit)
	}
	if len(e.waiting) == 0 {
		e.waiting = nil
		if e.closing && !e.closed {
			e.closed = true
			e.send(now, Fin, nil, emit)
		}
	}
	if e.owed > 0 && now >= e.due {
		e.emit(Segment{}, emit)
	}
}

// oldest is the place of the first segment that the peer lacks, or -1.
func (e *End) oldest() int {
	for i := range e.out {
		if !e.out[i].have {
			return i
		}
	}
	return -1
}

func (e *End) send(now overlay.Time, flags uint8, body []byte, emit func(Segment)) {
	if len(e.out) == 0 {
		e.progress = now
	}
	e.out = append(e.out, sent{number: e.next, flags: flags, body: body, at: now, tries: 1, vain: 1})
	e.flight += len(body)
	e.emit(Segment{Flags: flags, Number: e.next, Body: body}, emit)
	e.next++
}

func (e *End) emit(s Segment, emit func(Segment)) {
	s.Ack = e.arrived + 1
	for _, x := range e.beyond {
		if d := x.number - s.Ack - 1; d < 64 {
			s.More |= 1 << d
		}
	}
	e.told = e.free()
	s.Window = uint32(e.told)
	e.owed, e.owes, e.due = 0, 0, overlay.Never
	emit(s)
}

// Due is when Take has something to do by itself.
func (e *End) Due() overlay.Time {
	due := overlay.Never
	if e.dead {
		return due
	}
	if e.owed > 0 {
		due = e.due
	}
	if i := e.oldest(); i >= 0 {
		due = min(due, e.out[i].at.Add(e.timeout), e.progress.Add(DeadAfter))
	}
	return due
}
