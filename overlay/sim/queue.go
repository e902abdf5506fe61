package sim

import (
	"slices"

	"github.com/maquis-go/maquis/overlay"
)

// eventKind says what an event does when its time has come.
type eventKind uint8

const (
	eventMessage eventKind = iota // a message arrives
	eventTimer                    // a timer fires, unless its stamp is of the past
	eventFeed                     // a machine is fed an event
	eventDialed                   // a dial is answered
	eventDown                     // one end of a session learns that it is dead
	eventClosed                   // a session without holds ends
	eventIdle                     // a session that nobody holds may have idled out
	eventCall                     // a function of the driver runs
)

// event is flat and small: none is allocated, and millions of them pass.
type event struct {
	kind  eventKind
	busy  bool // counts as work in progress
	side  uint8
	life  int32 // to whom it happens
	link  int32 // the session
	stamp uint32
	what  any // the message, the overlay.Event or the function
}

// entry orders an event in the heap: by time, then by node, then by the order of
// scheduling. What happens at one moment happens node by node since most of a
// step's time goes into fetching the node's memory.
type entry struct {
	at   overlay.Time
	seq  uint64
	life int32
	idx  int32
}

func (a entry) before(b entry) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	if a.life != b.life {
		return a.life < b.life
	}
	return a.seq < b.seq
}

// queue is a heap with four children to a node, over a slab of events, beside
// the waves of messages that all take the same time.
type queue struct {
	heap  []entry
	slab  []event
	free  []int32
	waves []*wave // by time; the first may be half taken
	blank []*wave // for reuse
	seq   uint64
}

// wave is what arrives at one moment. It is sorted once, when its moment has
// come, which costs less than to pass each event through the heap.
type wave struct {
	at     overlay.Time
	events []event
	seqs   []uint64
	order  []uint64 // life and index, once sorted
	taken  int      // of the order
	sorted bool
}

// sort puts the events into the order of entry.before.
func (v *wave) sort() {
	for i := range v.events {
		v.order = append(v.order, uint64(v.events[i].life)<<32|uint64(i))
	}
	slices.Sort(v.order)
	v.sorted = true
}

// follow schedules an event that comes no earlier than all that came by follow
// before it; one that does is pushed.
func (q *queue) follow(at overlay.Time, e event) {
	n := len(q.waves)
	if n > 0 && (q.waves[n-1].at > at || q.waves[n-1].at == at && q.waves[n-1].sorted) {
		q.push(at, e)
		return
	}
	if n == 0 || q.waves[n-1].at < at {
		v := &wave{}
		if b := len(q.blank); b > 0 {
			v, q.blank = q.blank[b-1], q.blank[:b-1]
		}
		v.at = at
		q.waves = append(q.waves, v)
		n++
	}
	v := q.waves[n-1]
	q.seq++
	v.events, v.seqs = append(v.events, e), append(v.seqs, q.seq)
}

// next is when the earliest event happens; false if there is none.
func (q *queue) next() (overlay.Time, bool) {
	switch {
	case len(q.waves) == 0 && len(q.heap) == 0:
		return 0, false
	case len(q.waves) == 0 || len(q.heap) > 0 && q.heap[0].at < q.waves[0].at:
		return q.heap[0].at, true
	}
	return q.waves[0].at, true
}

// pop takes the earliest event; the queue must not be empty.
func (q *queue) pop() (overlay.Time, event) {
	if len(q.waves) == 0 {
		return q.rise()
	}
	v := q.waves[0]
	if len(q.heap) > 0 && q.heap[0].at < v.at {
		return q.rise()
	}
	if !v.sorted {
		v.sort()
	}
	i := uint32(v.order[v.taken])
	if len(q.heap) > 0 && q.heap[0].before(entry{v.at, v.seqs[i], v.events[i].life, 0}) {
		return q.rise()
	}
	at, e := v.at, v.events[i]
	if v.taken++; v.taken == len(v.order) {
		clear(v.events) // lets go of the messages
		*v = wave{events: v.events[:0], seqs: v.seqs[:0], order: v.order[:0]}
		q.waves, q.blank = slices.Delete(q.waves, 0, 1), append(q.blank, v)
	}
	return at, e
}

// push schedules an event.
func (q *queue) push(at overlay.Time, e event) {
	var i int32
	if n := len(q.free); n > 0 {
		i = q.free[n-1]
		q.free = q.free[:n-1]
		q.slab[i] = e
	} else {
		i = int32(len(q.slab))
		q.slab = append(q.slab, e)
	}
	q.seq++
	x := entry{at, q.seq, e.life, i}
	q.heap = append(q.heap, x)
	at4 := len(q.heap) - 1
	for at4 > 0 {
		up := (at4 - 1) / 4
		if !x.before(q.heap[up]) {
			break
		}
		q.heap[at4] = q.heap[up]
		at4 = up
	}
	q.heap[at4] = x
}

// rise takes the earliest event of the heap, which must not be empty.
func (q *queue) rise() (overlay.Time, event) {
	top := q.heap[0]
	n := len(q.heap) - 1
	x := q.heap[n]
	q.heap = q.heap[:n]
	i := 0
	for {
		least, child := i, 4*i+1
		if child >= n {
			break
		}
		least = child
		for c := child + 1; c < min(child+4, n); c++ {
			if q.heap[c].before(q.heap[least]) {
				least = c
			}
		}
		if !q.heap[least].before(x) {
			break
		}
		q.heap[i] = q.heap[least]
		i = least
	}
	if n > 0 {
		q.heap[i] = x
	}
	e := q.slab[top.idx]
	q.slab[top.idx] = event{}
	q.free = append(q.free, top.idx)
	return top.at, e
}
