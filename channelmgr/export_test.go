package channelmgr

import (
	"fmt"
	"runtime"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Debug describes the flows of which something is not confirmed.
func (s *Session) Debug() (out string) {
	for _, p := range s.allPipes() {
		p.mu.Lock()
		for _, ln := range p.lanes {
			for _, slot := range ln.slots {
				if fl := &ln.flows[slot]; fl.Confirmed() != fl.Next() {
					out += fmt.Sprintf("%s slot %d: confirmed below %d, next %d, open %v, %d queued, link %v; ", ln.channel, slot, fl.Confirmed(), fl.Next(), fl.Open(), ln.queued, p.link != nil)
				}
			}
		}
		p.mu.Unlock()
	}
	return out
}

// Report takes a report as if the peer had made it.
func (s *Session) Report(channel string, slot uint8, u frame.FlowUpdate) { s.update(channel, slot, u) }

// FailUnattached ends the data link of an index before it is given its pipe, as far
// as the pipe can tell: what ends it may be quicker.
func (s *Session) FailUnattached(index uint8) {
	l, p := s.linkAt(false, index), s.pipeAt(index)
	l.fail(messages.ReasonReset, nil)
	for gone := false; !gone; runtime.Gosched() {
		p.mu.Lock()
		gone = p.link != l
		p.mu.Unlock()
	}
	p.attach(l)
}

// DialFor sends for the first time while a dial of the data link of an index is in
// progress; it brings a link that ends at once, of which the manager hears first.
func (s *Session) DialFor(index uint8, send func()) {
	_, _ = s.outbound(DataChannel)
	p := s.pipeAt(index)
	p.mu.Lock()
	p.dialing = 1
	p.mu.Unlock()
	send()
	s.r.tell(&messages.LinkEnded{Peer: nodeRef(s.peer), Index: uint32(index), Reason: string(messages.ReasonReset)})
	s.r.tell(&messages.LinkEstablished{Peer: nodeRef(s.peer), Index: uint32(index)})
}

func (s *Session) pipeAt(index uint8) *pipe {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pipes[index]
}

// PassOnRelayed queues a frame to be passed on, as if the link to the peer had
// just become a circuit. It returns a function that tells how many bytes wait.
func (s *Session) PassOnRelayed(raw []byte) (waits func() int) {
	s.direct.Store(false)
	s.pass(false, len(raw), func(dst []byte) []byte { return append(dst, raw...) })
	s.mu.Lock()
	p := s.pipe(relayIndex)
	s.mu.Unlock()
	return func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.relays.q.bytes
	}
}

// CheckBounds reports what is held beyond its bound.
func (r *Registry) CheckBounds() error {
	for _, s := range r.allSessions() {
		if n := s.parked.Load(); n < 0 || n > 2*parkedBytes {
			return fmt.Errorf("%d bytes are parked", n)
		}
		if n := s.assembling.Load(); n < 0 || n > int64(r.limits().MaxAssembly) {
			return fmt.Errorf("%d bytes are assembled", n)
		}
		for _, p := range s.allPipes() {
			if err := p.checkBounds(); err != nil {
				return err
			}
		}
	}
	r.circuits.mu.Lock()
	defer r.circuits.mu.Unlock()
	if n := len(r.circuits.m); n > 100 {
		return fmt.Errorf("%d circuits", n)
	}
	return nil
}

func (p *pipe) checkBounds() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ln := range p.lanes {
		switch count, bytes := ln.held(); {
		case ln.q.bytes < 0 || ln.queued < 0 || count < 0 || bytes < 0:
			return fmt.Errorf("channel %q: %d messages, %d bytes, of which %d, %d queued", ln.channel, count, bytes, ln.queued, ln.q.bytes)
		case ln == p.relays && ln.q.bytes > relayQueue:
			return fmt.Errorf("%d bytes wait to be passed on", ln.q.bytes)
		case ln.c == nil:
		case count > ln.spec.MaxQueueLen:
			return fmt.Errorf("channel %q holds %d messages", ln.channel, count)
		case bytes > ln.spec.MaxQueueBytes+2*blockSize && count > 1: // what is kept lies in blocks, perhaps not full
			return fmt.Errorf("channel %q holds %d messages of %d bytes", ln.channel, count, bytes)
		}
	}
	return nil
}

// Parted returns how many channels of ended lives are kept as they were, and in
// how many bytes the numbers of all others.
func (r *Registry) Parted() (asTheyWere, packed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.parted.m {
		asTheyWere += len(f.in)
		for _, b := range f.rest {
			packed += len(b)
		}
	}
	return asTheyWere, packed
}

// Opening returns how many sessions are being opened over relays.
func (r *Registry) Opening() int {
	r.circuits.mu.Lock()
	defer r.circuits.mu.Unlock()
	return len(r.circuits.opening)
}

// Dialing returns how many links are being dialed, or wait for that.
func (r *Registry) Dialing() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.attempts)
}

// Parked returns how many bytes from the peer wait here to be posted.
func (s *Session) Parked() int64 { return s.parked.Load() }

// Passed is how many frames were passed to hosts.
func (r *Registry) Passed() uint64 {
	r.holds.mu.Lock()
	defer r.holds.mu.Unlock()
	return r.holds.passed
}

// Held reports whether an owner has a hold on a session, or waits for it.
func (r *Registry) Held(p overlay.Peer) bool { return r.holds.held(p) }
