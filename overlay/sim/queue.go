package sim

import "github.com/maquis-go/maquis/overlay"

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

// queue is a heap with four children to a node, over a slab of events.
type queue struct {
	heap []entry
	slab []event
	free []int32
	seq  uint64
}

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

// pop takes the earliest event; the queue must not be empty.
func (q *queue) pop() (overlay.Time, event) {
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
