package channelmgr

import (
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

const (
	// writeBatch bounds what one flush takes from one lane, so that lanes
	// that share a link take turns.
	writeBatch = 256 << 10
	// inlineBytes and inlineQuiet say when a sender writes to the socket
	// itself instead of waking a writer: little to write, and the pipe was
	// quiet. Writing every reply inline costs a third of the throughput at
	// many outstanding requests, since nothing is batched any more.
	inlineBytes = 8 << 10
	inlineQuiet = 20 * time.Microsecond
)

// pipe is the outbound side of one link index of a session. It outlives its
// links: what is queued when a link dies is written to the next one.
//
// A writer exists only while there is something to write: the sender itself
// (inline) or a goroutine that ends when the queues are empty.
type pipe struct {
	s       *Session
	index   uint8
	control bool

	mu      sync.Mutex
	lanes   []*lane // High before Medium before Low
	relays  *lane   // among them: what is passed on for others
	defs    []byte  // definitions and Begin frames: written before anything queued
	dict    dictionary
	link    *link // the carrier; nil while there is none
	busy    *link // the link that is being written to, if any
	carried bool  // there was a carrier before
	keeping bool  // some lanes keep what they have written
	opening bool  // the manager was asked for a link
	dialing int   // the manager's: 1 while a dial of ours is in progress; two would break each other's links
	ended   messages.Reason
	roomy   chan struct{} // closed when room appears; nil when nobody waits
	last    time.Duration // end of the last write
	turn    int
	writing int              // bytes that were taken last
	packs   Compression      // of the lane that was taken from last
	stats   *channelCounters // its channel's
	head    frame.Data       // scratch for encoding
}

// wait returns a channel that is closed when room appears. mu is held.
func (p *pipe) wait() <-chan struct{} {
	if p.roomy == nil {
		p.roomy = make(chan struct{})
	}
	return p.roomy
}

// wake tells all that wait for room to look again. mu is held.
func (p *pipe) wake() {
	if p.roomy != nil {
		close(p.roomy)
		p.roomy = nil
	}
}

// empty reports whether nothing is to be written; without a link, what was
// written and is not confirmed counts as well: it is written again, or the
// peer tells whether it has arrived. mu is held.
func (p *pipe) empty() bool {
	if len(p.defs) > 0 {
		return false
	}
	for _, ln := range p.lanes {
		if ln.pending() || p.link == nil && ln.unconfirmed() {
			return false
		}
	}
	return true
}

// quiet reports whether nothing is to be written, and of what was written all is
// confirmed. mu is held.
func (p *pipe) quiet() bool {
	for _, ln := range p.lanes {
		if ln.unconfirmed() {
			return false
		}
	}
	return p.empty()
}

// settled reports whether nothing is to be written and nothing waits to be
// confirmed. mu is held.
func (p *pipe) settled() bool {
	for _, ln := range p.lanes {
		if ln.keeps() {
			return false
		}
	}
	return p.empty()
}

// kick gets what was queued on its way. mu is held; kick releases it. With
// inline, the caller may write to the socket itself, without ever blocking.
func (p *pipe) kick(inline bool) {
	l := p.link
	if l == nil {
		ask := !p.opening && p.ended == ""
		p.opening = p.opening || ask
		p.mu.Unlock()
		if ask {
			p.s.r.askLink(p.s, p.index, p.control)
		}
		return
	}
	if p.busy == l {
		p.mu.Unlock()
		return
	}
	p.busy = l
	if inline && p.s.r.now()-p.last >= inlineQuiet {
		l.writers.Add(1)
		l.segs = p.take(l.segs[:0], inlineBytes)
		c, st := p.packs, p.stats
		p.mu.Unlock()
		if c != None {
			l.pack(c, st)
		}
		p.writeInline(l)
		return
	}
	l.writers.Add(1)
	p.mu.Unlock()
	go p.write(l)
}

// kickPending gets what a lane holds back on its way, if it may go now. mu is
// held; kickPending releases it.
func (p *pipe) kickPending(ln *lane) {
	if ln.pending() {
		p.kick(false)
		return
	}
	p.mu.Unlock()
}

// take moves what is to be written next to dst: first the definitions, then
// frames of the lanes, the more important first; lanes of one priority take
// turns, and every eighth time the order is turned round so that nobody
// starves. mu is held.
func (p *pipe) take(dst []segment, limit int) []segment {
	p.landed()
	if len(p.defs) > 0 {
		dst = append(dst, segment{b: p.defs, foreign: true})
		p.defs = nil
	}
	p.packs = None
	n := len(p.lanes)
	p.turn++
	for i := range n {
		k := i
		if p.turn%8 == 0 {
			k = n - 1 - i
		}
		at := len(dst)
		if dst = p.lanes[k].take(dst, limit); len(dst) == at {
			continue
		}
		p.packs, p.stats = p.lanes[k].spec.Compression, p.lanes[k].stats
		// A message of higher priority that comes now waits for one batch.
		break
	}
	p.writing = 0
	for i := range dst {
		p.writing += len(dst[i].b)
	}
	if len(dst) > 0 {
		p.wake()
	}
	return dst
}

// landed tells the lanes that the writer of the link has written all that was
// taken for it. mu is held.
func (p *pipe) landed() {
	if !p.keeping {
		return
	}
	for _, ln := range p.lanes {
		if ln.kept != nil {
			ln.kept.landed()
		}
	}
}

// writeInline writes l.segs without blocking. What the socket does not take
// is left to a writer.
func (p *pipe) writeInline(l *link) {
	defer l.writers.Done()
	pending := 0
	for i := range l.segs {
		n, err := l.stream.TryWrite(l.segs[i].b)
		if err != nil {
			l.releaseSegs()
			l.fail(reasonOf(err), err)
			return
		}
		pending = n
	}
	l.wrote()
	l.releaseSegs()
	p.mu.Lock()
	if p.busy != l {
		p.mu.Unlock()
		return
	}
	p.last = p.s.r.now()
	p.landed()
	if pending == 0 && p.empty() {
		p.busy = nil
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	l.writers.Add(1)
	go p.write(l)
}

// write is the writer: it flushes many frames per call until nothing is left.
func (p *pipe) write(l *link) {
	defer l.writers.Done()
	for {
		if l.stream.Pending() > 0 {
			l.armWrite()
			if err := l.stream.Flush(); err != nil {
				l.fail(reasonOf(err), err)
				return
			}
		}
		// Let the senders that are ready run first: fewer, larger writes. At 256
		// outstanding requests this is worth half the throughput again.
		runtime.Gosched()
		p.mu.Lock()
		if p.busy != l {
			p.mu.Unlock()
			return
		}
		l.segs = p.take(l.segs[:0], writeBatch)
		if len(l.segs) == 0 {
			p.busy = nil
			p.last = p.s.r.now()
			p.mu.Unlock()
			return
		}
		c, st := p.packs, p.stats
		p.mu.Unlock()
		if c != None {
			l.pack(c, st)
		}
		l.bufs = l.bufs[:0]
		for i := range l.segs {
			l.bufs = append(l.bufs, l.segs[i].b)
		}
		l.armWrite()
		vec := net.Buffers(l.bufs)
		_, err := l.stream.WriteBuffers(vec)
		clear(l.bufs)
		l.releaseSegs()
		if err != nil {
			l.fail(reasonOf(err), err)
			return
		}
		l.wrote()
	}
}

// attach makes l the carrier, unless it has failed: then detach may have been
// called already, and nobody would take it away. Flows that had another carrier
// before begin anew on it: what was written and not confirmed is abandoned, what is
// queued follows in order.
func (p *pipe) attach(l *link) {
	p.mu.Lock()
	if l.dialed {
		p.dialing = 0
	}
	if p.ended != "" || l.failed.Load() {
		p.mu.Unlock()
		return
	}
	if p.link != l {
		p.link, p.busy, p.opening = l, nil, false
		p.defs = append(p.greeting(), p.dict.replay(nil)...)
		if p.carried {
			for _, ln := range p.lanes {
				p.defs = ln.begin(p.defs)
			}
		}
		p.carried = true
	}
	// Who dialed speaks first, be it to greet only: until then the peer does not
	// write on the link.
	if p.empty() && (!l.dialed || len(p.defs) == 0) {
		p.mu.Unlock()
		return
	}
	p.kick(false)
}

// greeting is how a data link begins: with the number of our session.
func (p *pipe) greeting() []byte {
	if p.control {
		return nil
	}
	return frame.AppendSession(nil, frame.Session{Epoch: p.s.epoch})
}

// detach takes the carrier away if it is l. It reports whether something
// waits for another.
func (p *pipe) detach(l *link) (waits bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lose(l)
}

// lose is detach with mu held.
func (p *pipe) lose(l *link) (waits bool) {
	if p.busy == l {
		p.busy = nil
	}
	if p.link != l {
		return false
	}
	p.link, p.opening = nil, false
	if p.control {
		// Control frames are of the moment: another link starts afresh.
		for _, ln := range p.lanes {
			ln.q.drop()
			ln.queued = 0
		}
		p.defs = nil
		p.wake()
		return false
	}
	waits = p.ended == "" && !p.empty()
	p.opening = waits
	return waits
}

// end closes the pipe for good and hands back what was queued.
func (p *pipe) end(why messages.Reason) {
	p.mu.Lock()
	if p.ended != "" {
		p.mu.Unlock()
		return
	}
	p.ended = why
	p.wake()
	p.link, p.busy = nil, nil
	lanes := p.lanes
	p.mu.Unlock()
	for _, ln := range lanes {
		ln.returnQueued(why)
	}
}

// frames queues frames made by enc on the pipe's only lane. It never blocks:
// beyond the bound it reports false. Used for control frames.
func (p *pipe) frames(enc func(dst []byte) []byte) bool {
	p.mu.Lock()
	if p.ended != "" || p.link == nil {
		p.mu.Unlock()
		return false
	}
	ln := p.lanes[0]
	if ln.queued >= p.s.r.limits().ControlBacklog || ln.q.bytes > 4*frame.MaxControl+DefaultMaxQueueBytes {
		p.mu.Unlock()
		p.s.r.count("control_overflow")
		return false
	}
	seg := ln.q.room(512)
	b := enc(seg.b)
	ln.q.set(seg, b)
	seg.frames++
	ln.queued++
	p.kick(false)
	return true
}
