package plumtree

// seen remembers which messages were delivered, in bounded memory: by origin, a
// window that moves with its numbers. A number far from the window is
// remembered by itself, so that a forged one does not block the origin's real
// ones; when many in a row are far, the window moves there.
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
	base  uint64                  // all below were delivered, or are too late
	bits  [windowSize / 64]uint64 // of base, base+1, ...
	apart []uint64                // far ones, oldest first
	lost  int32                   // far ones in a row
	used  bool                    // since the hand passed
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
		w.move(seq)
		s.origins[origin] = w
	} else {
		w.used = true
	}
	delivered, in := w.find(seq)
	if delivered {
		return false
	}
	if !in {
		if w.lost++; w.lost < far {
			if len(w.apart) == far {
				w.apart = append(w.apart[:0], w.apart[1:]...)
			}
			w.apart = append(w.apart, seq)
			return true
		}
		w.move(seq)
	}
	w.lost = 0
	i := seq - w.base
	w.bits[i/64] |= 1 << (i % 64)
	for i >= windowSize-64 { // keep some room above
		copy(w.bits[:], w.bits[1:])
		w.bits[len(w.bits)-1] = 0
		w.base += 64
		i -= 64
	}
	return true
}

// move puts the window around a number, with room for some that come late.
func (w *window) move(seq uint64) {
	w.base = seq - min(seq, windowSize/2)
	clear(w.bits[:])
}

func (w *window) find(seq uint64) (delivered, in bool) {
	switch {
	case seq-w.base < windowSize: // also false below the base: it wraps around
		i := seq - w.base
		if w.bits[i/64]&(1<<(i%64)) != 0 {
			return true, true
		}
		in = true
	case seq < w.base && w.base-seq < oldest:
		return true, false
	}
	for _, x := range w.apart {
		if x == seq {
			return true, in
		}
	}
	return false, in
}
