package plumtree

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// entry is a message that is kept for those who ask.
type entry struct {
	key    key
	prev   uint64               // number of the one before it with the same hash, plus 1
	on     *messages.PlumGossip // as it goes to the next hop
	at     overlay.Time
	parent int16 // the slot of the tree's link that brought it, or -1
	hops   int32 // that it took; -1 if its origin is not the root of its tree
	asked  bool  // it came when it was asked for, and by no other way yet
}

// store keeps messages in the order in which they came, in a ring.
type store struct {
	ring  []entry
	first uint64 // number of the oldest; an entry's place is its number mod len(ring)
	next  uint64
	bytes int
	heads []uint64 // by hash, the number of the latest, plus 1; what is below first is gone
}

func (s *store) len() int { return int(s.next - s.first) }

func (s *store) find(k key) (*entry, bool) {
	if len(s.heads) == 0 {
		return nil, false
	}
	for n := s.heads[s.hash(k)]; n > s.first; {
		e := &s.ring[(n-1)%uint64(len(s.ring))]
		if e.key == k {
			return e, true
		}
		n = e.prev
	}
	return nil, false
}

func (s *store) hash(k key) uint64 {
	return (k.incarnation + k.seq*0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9 >> 32 & uint64(len(s.heads)-1)
}

// link enters the message of a number by its hash.
func (s *store) link(n uint64) {
	e := &s.ring[n%uint64(len(s.ring))]
	h := s.hash(e.key)
	e.prev, s.heads[h] = s.heads[h], n+1
}

// add keeps a message; the oldest make room for it.
func (s *store) add(e entry, most, bytes int) {
	n := len(e.on.GetPayload())
	for s.len() > 0 && (s.len() >= most || s.bytes+n > bytes) {
		s.drop()
	}
	if s.len() == len(s.ring) {
		s.grow(min(max(2*len(s.ring), 8), most))
	}
	e.key = key{e.on.GetIncarnation(), e.on.GetSeq()}
	s.ring[s.next%uint64(len(s.ring))] = e
	s.link(s.next)
	s.next++
	s.bytes += n
}

// grow makes the ring larger. Numbers begin anew.
func (s *store) grow(size int) {
	ring := make([]entry, size)
	n := s.len()
	for i := range n {
		ring[i] = s.ring[(s.first+uint64(i))%uint64(len(s.ring))]
	}
	s.ring, s.first, s.next = ring, 0, uint64(n)
	s.heads = make([]uint64, 1<<bits.Len(uint(size)))
	for i := range s.next {
		s.link(i)
	}
}

// drop forgets the oldest.
func (s *store) drop() {
	e := &s.ring[s.first%uint64(len(s.ring))]
	s.bytes -= len(e.on.GetPayload())
	*e = entry{}
	s.first++
}

// expire forgets what came before a moment.
func (s *store) expire(before overlay.Time) {
	for s.len() > 0 && s.ring[s.first%uint64(len(s.ring))].at < before {
		s.drop()
	}
}

// orphan forgets that a link brought messages.
func (s *store) orphan(slot int) {
	for i := s.first; i != s.next; i++ {
		if e := &s.ring[i%uint64(len(s.ring))]; int(e.parent) == slot {
			e.parent = -1
		}
	}
}

// age is how old a message is now, on the wire.
func (e *entry) age(now overlay.Time) uint32 {
	return uint32(min(int64(e.on.GetAgeMs())+int64(now.Sub(e.at)/time.Millisecond), math.MaxUint32))
}

// ids names what is kept, oldest first.
func (s *store) ids(now overlay.Time) []*messages.PlumID {
	ids := make([]*messages.PlumID, 0, s.len())
	for i := s.first; i != s.next; i++ {
		e := &s.ring[i%uint64(len(s.ring))]
		on := e.on
		ids = append(ids, &messages.PlumID{Origin: on.GetOrigin(), Incarnation: on.GetIncarnation(), Seq: on.GetSeq(), Hops: on.GetHops(), AgeMs: e.age(now)})
	}
	return ids
}

func (s *store) check(most, bytes int) error {
	if s.len() > most || s.bytes > bytes && s.len() > 1 {
		return fmt.Errorf("plumtree: %d messages of %d bytes are kept, with room for %d of %d", s.len(), s.bytes, most, bytes)
	}
	for i := s.first; i != s.next; i++ {
		if e := &s.ring[i%uint64(len(s.ring))]; e.on == nil {
			return fmt.Errorf("plumtree: message %d is kept and gone", i)
		} else if found, ok := s.find(e.key); !ok || found != e {
			return fmt.Errorf("plumtree: %s/%d is kept and not found", e.on.GetOrigin(), e.on.GetSeq())
		}
	}
	return nil
}
