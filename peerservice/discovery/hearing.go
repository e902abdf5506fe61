package discovery

import (
	"slices"
	"time"
)

// Bounds of what is heard. Our choice.
const (
	clockSkew  = 30 * time.Second // between nodes
	maxSenders = 4096
)

// hearing is what was heard of others: a table without a clock of its own. A
// sender's number only rises within a run, and what is older than clockSkew is
// refused: so a packet counts once, as long as its sender is remembered, and
// is too old when it is not.
type hearing struct {
	run     uint64 // our own
	senders map[uint64]*sender
}

type sender struct {
	packet
	heard time.Time
	until time.Time // believed as a candidate
	bye   bool
}

func newHearing(run uint64) *hearing { return &hearing{run: run, senders: map[uint64]*sender{}} }

// hear takes an authentic packet. news tells that the candidates changed,
// stranger that the sender was not known; drop why it is ignored, "own" for
// our own.
func (h *hearing) hear(now time.Time, p packet) (news, stranger bool, drop string) {
	if p.run == h.run {
		return false, false, "own"
	}
	if d := now.Sub(p.at); d > clockSkew || d < -clockSkew {
		return false, false, DropClock
	}
	s := h.senders[p.run]
	switch {
	case s == nil && len(h.senders) >= maxSenders:
		h.expire(now)
		if len(h.senders) >= maxSenders {
			return false, false, DropLimit
		}
		fallthrough
	case s == nil:
		s, stranger = &sender{}, true
		h.senders[p.run] = s
	case p.seq == s.seq:
		return false, false, "again" // by another interface or group
	case p.seq < s.seq:
		return false, false, DropReplay
	}
	bye := p.kind == packetBye
	news = stranger || bye != s.bye || !slices.Equal(p.addrs, s.addrs) || p.name != s.name || p.zone != s.zone || now.After(s.until)
	*s = sender{packet: p, heard: now, until: now.Add(p.valid), bye: bye}
	return news, stranger, ""
}

// expire forgets senders that are neither believed any more nor needed to
// detect a replay, and reports whether a candidate went since last.
func (h *hearing) expire(now time.Time) (news bool) {
	for run, s := range h.senders {
		if !s.bye && now.After(s.until) {
			s.bye, news = true, true
		}
		if s.bye && now.Sub(s.heard) > 2*clockSkew {
			delete(h.senders, run)
		}
	}
	return news
}

// candidates are the senders that are believed, the one heard first ahead.
func (h *hearing) candidates() []Candidate {
	var runs []uint64
	for run, s := range h.senders {
		if !s.bye {
			runs = append(runs, run)
		}
	}
	slices.Sort(runs)
	var list []Candidate
	for _, run := range runs {
		s := h.senders[run]
		for _, a := range s.addrs {
			list = append(list, Candidate{Addr: a, Name: s.name, Zone: s.zone})
		}
	}
	return list
}

func (h *hearing) count() int {
	n := 0
	for _, s := range h.senders {
		if !s.bye {
			n++
		}
	}
	return n
}
