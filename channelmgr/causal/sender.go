package causal

// Sender is the sending side of an order at a node. K names a destination. Its
// zero value is ready; callers serialize access.
type Sender[K comparable] struct {
	count  uint64 // messages sent, to anyone
	stable uint64 // all up to this have arrived
	dests  map[K]*dest
	last   mark[K] // the last message
	other  mark[K] // the last one to another destination than that
}

// mark is a message's count and destination.
type mark[K comparable] struct {
	to    K
	count uint64
}

// dest is what is open towards a destination.
type dest struct {
	open  []run // sent, not arrived, in order; those before head are gone
	head  int
	waits uint64 // the highest count that a message to it waits for
	told  uint64 // what it was told to be stable
}

// spareRuns bounds the memory that is kept for a destination towards which nothing is
// open, in runs.
const spareRuns = 1024

// run are messages whose flow numbers follow one another, and whose counts do by
// the same step: as many as there are destinations, when a node sends to them in
// turn.
type run struct{ count, step, seq, n uint64 }

// After returns what the next message to a destination has to wait for: the
// receiver hands it over when all with that count or a lower one have arrived.
// Zero: nothing.
func (s *Sender[K]) After(to K) uint64 {
	m := s.last
	if m.count > 0 && m.to == to {
		m = s.other
	}
	if m.count <= s.stable {
		return 0
	}
	return m.count
}

// Sent counts a message to a destination, with its number in their flow and
// what After returned for it. Numbers of a flow follow one another.
func (s *Sender[K]) Sent(to K, seq, after uint64) {
	s.count++
	if s.last.count > 0 && s.last.to != to {
		s.other = s.last
	}
	s.last = mark[K]{to, s.count}
	d := s.dest(to)
	d.waits = max(d.waits, after)
	if n := len(d.open); n > d.head {
		r := &d.open[n-1]
		if r.n == 1 {
			r.step = s.count - r.count
		}
		if r.count+r.n*r.step == s.count && r.seq+r.n == seq {
			r.n++
			return
		}
	}
	if d.head > 0 && len(d.open) == cap(d.open) && d.head >= len(d.open)/2 { // close up rather than grow
		d.open, d.head = d.open[:copy(d.open, d.open[d.head:])], 0
	}
	d.open = append(d.open, run{count: s.count, seq: seq, n: 1})
}

// Arrived takes the report of a destination that all numbers below next have
// arrived there. It reports whether Tell has something to say.
func (s *Sender[K]) Arrived(from K, next uint64) bool {
	d := s.dests[from]
	if d == nil {
		return false
	}
	for d.head < len(d.open) {
		r := &d.open[d.head]
		if r.seq+r.n > next {
			if next > r.seq {
				k := next - r.seq
				r.count, r.seq, r.n = r.count+k*r.step, r.seq+k, r.n-k
			}
			break
		}
		d.head++
	}
	switch {
	case d.head < len(d.open):
	case cap(d.open) > spareRuns:
		d.open, d.head = nil, 0
	default:
		d.open, d.head = d.open[:0], 0
	}
	return s.settle()
}

// Gone forgets a destination: what was sent to it holds nothing up. It reports
// how many messages were open, and whether Tell has something to say.
func (s *Sender[K]) Gone(to K) (open uint64, tell bool) {
	d := s.dests[to]
	if d == nil {
		return 0, false
	}
	for _, r := range d.open[d.head:] {
		open += r.n
	}
	delete(s.dests, to)
	return open, s.settle()
}

// settle finds out up to where all have arrived.
func (s *Sender[K]) settle() bool {
	stable := s.count
	for _, d := range s.dests {
		if d.head < len(d.open) {
			stable = min(stable, d.open[d.head].count-1)
		}
	}
	grown := stable > s.stable
	s.stable = stable
	return grown
}

// Tell calls f for each destination at which a message may wait for what has
// become stable since it was told last. The order is that of no rule: f must
// not depend on it.
func (s *Sender[K]) Tell(f func(to K, stable uint64)) {
	for to, d := range s.dests {
		if d.waits > d.told && s.stable > d.told {
			d.told = s.stable
			f(to, s.stable)
		}
	}
}

// Again has Tell tell a destination anew, as far as all that was sent by now: what
// it was told may be lost, or it may wait for what was told before it was gone
// here.
func (s *Sender[K]) Again(to K) {
	if s.count == 0 {
		return
	}
	d := s.dest(to)
	d.told, d.waits = 0, s.count
}

func (s *Sender[K]) dest(to K) *dest {
	if s.dests == nil {
		s.dests = make(map[K]*dest)
	}
	d := s.dests[to]
	if d == nil {
		d = new(dest)
		s.dests[to] = d
	}
	return d
}
