package causal

// Queue is the receiving side of an order at a node: what has arrived and was
// not handed over, in the order of arrival. O names an origin. Its zero value is
// ready; callers serialize access.
type Queue[O comparable, T any] struct {
	first, last *block[O, T]
	free        []*block[O, T]
	n           int
	stable      map[O]uint64
}

// A queue is a chain of blocks, so that it grows without copying. When it has become
// empty it keeps so many spare ones.
const (
	blockLen  = 16
	maxSpares = 64
)

type block[O comparable, T any] struct {
	list       [blockLen]entry[O, T]
	head, tail int // those in [head, tail) wait
	next       *block[O, T]
}

type entry[O comparable, T any] struct {
	from  O
	after uint64
	item  T
}

// Push queues what has arrived, with what its sender said that it waits for.
func (q *Queue[O, T]) Push(from O, after uint64, item T) {
	b := q.last
	if b == nil || b.tail == blockLen {
		if n := len(q.free); n > 0 {
			b, q.free = q.free[n-1], q.free[:n-1]
		} else {
			b = new(block[O, T])
		}
		if q.last == nil {
			q.first = b
		} else {
			q.last.next = b
		}
		q.last = b
	}
	e := &b.list[b.tail]
	e.from, e.after, e.item = from, after, item
	b.tail++
	q.n++
}

// Len returns how many wait.
func (q *Queue[O, T]) Len() int { return q.n }

// Ripe reports whether a message of an origin that waits for a count need wait
// for it no longer.
func (q *Queue[O, T]) Ripe(from O, after uint64) bool { return after <= q.stable[from] }

// Ready reports whether Take has something to give.
func (q *Queue[O, T]) Ready() bool {
	if q.n == 0 {
		return false
	}
	e := &q.first.list[q.first.head]
	return q.Ripe(e.from, e.after)
}

// Take moves the first messages, as far as their turn has come, to a list, as many
// as fit, and returns how many.
func (q *Queue[O, T]) Take(list []T) (n int) {
	for n < len(list) && q.Ready() {
		b := q.first
		e := &b.list[b.head]
		list[n] = e.item
		*e = entry[O, T]{}
		n++
		q.n--
		if b.head++; b.head < b.tail {
			continue
		}
		if b.head, b.tail = 0, 0; b.next == nil {
			break // the only one, and empty
		}
		q.first, b.next = b.next, nil
		q.free = append(q.free, b)
	}
	if q.n == 0 && len(q.free) > maxSpares {
		q.free = append([]*block[O, T](nil), q.free[:maxSpares]...)
	}
	return n
}

// Stable takes the word of an origin that all that it sent up to a count have
// arrived.
func (q *Queue[O, T]) Stable(from O, count uint64) {
	if count <= q.stable[from] {
		return
	}
	if q.stable == nil {
		q.stable = make(map[O]uint64)
	}
	q.stable[from] = count
}

// Release ends the waiting of what an origin sent that is gone, and forgets it.
// It returns how many waited.
func (q *Queue[O, T]) Release(from O) (waited int) {
	for b := q.first; b != nil; b = b.next {
		for i := b.head; i < b.tail; i++ {
			if e := &b.list[i]; e.from == from {
				if !q.Ripe(from, e.after) {
					waited++
				}
				e.after = 0
			}
		}
	}
	delete(q.stable, from)
	return waited
}
