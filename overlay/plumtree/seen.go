package plumtree

// seen remembers which messages were delivered, in bounded memory: by origin, a
// window that moves with its numbers. A number far from the window is
// remembered by itself, so that a forged one does not block the origin's real
// ones; when many in a row are far, a second window opens there, in place of
// the one of two that was used less recently.
type seen struct {
	origins map[uint64]*window
	order   []uint64 // the origins, as a ring: who makes room next is at hand
	hand    int
}

const (
	windowSize = 1024 // as many as are kept for those who ask
	// oldest: numbers that are below the window by less than this were
	// delivered or are too late.
	oldest = 1 << 16
	far    = 16
)

type window struct {
	spans [2]span
	last  int      // the span used last
	apart []uint64 // far ones, oldest first
	lost  int32    // far ones in a row
	used  bool     // since the hand passed
}

// span is a range of numbers; it is unused without a number delivered.
type span struct {
	base uint64                  // all below were delivered, or are too late
	bits [windowSize / 64]uint64 // of base, base+1, ...
	used bool
}

// has reports whether a message was delivered.
func (s *seen) has(origin, seq uint64) bool {
	w := s.origins[origin]
	if w == nil {
		return false
	}
	delivered, _ := w.find(seq)
	return delivered
}

// first notes a message and reports whether it is new. An origin of which
// nothing was heard lately makes room for a new one.
func (s *seen) first(origin, seq uint64, most int) bool {
	w := s.origins[origin]
	if w == nil {
		if len(s.order) < most {
			s.order = append(s.order, origin)
		} else {
			for s.origins[s.order[s.hand]].used {
				s.origins[s.order[s.hand]].used = false
				s.hand = (s.hand + 1) % most
			}
			w = s.origins[s.order[s.hand]]
			delete(s.origins, s.order[s.hand])
			s.order[s.hand] = origin
			s.hand = (s.hand + 1) % most
		}
		if w == nil {
			w = &window{}
		}
		*w = window{apart: w.apart[:0]}
		w.open(seq)
		s.origins[origin] = w
	} else {
		w.used = true
	}
	delivered, at := w.find(seq)
	if delivered {
		return false
	}
	if at < 0 {
		if w.lost++; w.lost < far {
			if len(w.apart) == far {
				w.apart = append(w.apart[:0], w.apart[1:]...)
			}
			w.apart = append(w.apart, seq)
			return true
		}
		at = w.open(seq)
	}
	w.lost, w.last = 0, at
	r := &w.spans[at]
	i := seq - r.base
	r.bits[i/64] |= 1 << (i % 64)
	for i >= windowSize-64 { // keep some room above
		copy(r.bits[:], r.bits[1:])
		r.bits[len(r.bits)-1] = 0
		r.base += 64
		i -= 64
	}
	return true
}

// open puts the span that was not used last around a number, with room for some
// that come late.
func (w *window) open(seq uint64) int {
	at := 1 - w.last
	if !w.spans[w.last].used {
		at = w.last
	}
	w.spans[at] = span{base: seq - min(seq, windowSize/2), used: true}
	return at
}

// find reports whether a number was delivered, and if not the span that it is
// in, or -1.
func (w *window) find(seq uint64) (delivered bool, at int) {
	old := false
	at = -1
	for i := range w.spans {
		switch r := &w.spans[i]; {
		case !r.used:
		case seq-r.base < windowSize: // also false below the base: it wraps around
			n := seq - r.base
			if r.bits[n/64]&(1<<(n%64)) != 0 {
				return true, i
			}
			at = i
		case seq < r.base && r.base-seq < oldest:
			old = true
		}
	}
	for _, x := range w.apart {
		if x == seq {
			return true, at
		}
	}
	return old && at < 0, at
}
