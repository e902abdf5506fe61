package causal

import (
	"slices"
	"time"
)

// Bounds of an order of broadcasts at a node. Our choice.
const (
	// HoldFor is how long a broadcast waits for one that it comes after. The
	// carrier waits ten seconds for what it misses itself.
	HoldFor = 15 * time.Second
	// HoldNew is how long it waits for an origin that was never heard, on a node
	// that has just begun: what was sent before does not come.
	HoldNew = 2 * time.Second
	young   = time.Minute

	// keepFor is how long after it was handed over a broadcast is named by those
	// that come after it. Who has not got it by then does not get it any more: the
	// carrier keeps broadcasts for a minute.
	keepFor = 75 * time.Second
	// forgetAfter is how long an origin is remembered that is not heard of.
	forgetAfter = 5 * time.Minute

	maxOrigins      = 4096
	maxWaiting      = 4096
	maxWaitingBytes = 16 << 20
	leastSwept      = 64
)

// Casts is an order of broadcasts at a node, both its ends. It takes what a
// carrier brings in the order of each origin, each at most once, and gives it out
// in causal order: after all that its origin had been handed, or had broadcast,
// before it broadcast this.
//
// A broadcast names what it comes after only as far as nothing else that it comes
// after implies that: what was under way at the same time, whatever the number of
// nodes. See Stamp.
//
// What does not come is waited for for HoldFor; then it is given up. What has
// come and waits goes first even then. When an origin's broadcast is lost, what
// that came after need not come before the origin's next.
//
// Callers serialize access, and call Pop until it reports false after Arrive and
// Expire.
type Casts[T any] struct {
	Waited  uint64 // broadcasts that had to wait for another origin
	GivenUp uint64 // marks that were waited for in vain
	Late    uint64 // broadcasts that came after they, or later ones of their origin, were given up

	self    uint64
	began   time.Duration
	count   uint64 // of our own
	seen    []*caster[T]
	origins map[uint64]*caster[T]
	all     []*caster[T] // in the order in which they were first heard of
	sweepAt int
	ready   []*caster[T] // whose first may have its turn
	waiting int
	bytes   int
}

// caster is what is known of an origin.
type caster[T any] struct {
	id      uint64
	last    uint64 // the highest count that has come
	given   uint64 // counts up to this have come or are given up
	used    time.Duration
	queue   []*cast[T]
	checked bool         // it is in ready
	waits   *caster[T]   // for which its first waits
	waiters []*caster[T] // whose first waits for this one

	seen   uint64 // a broadcast of now comes after this one, and nothing implies that; 0: none
	at     time.Duration
	listed bool // it is in Casts.seen
}

// cast is a broadcast that has come.
type cast[T any] struct {
	stamp Stamp
	have  int // so many of the marks are there
	since time.Duration
	size  int
	item  T

	waited bool
	due    bool // what is not here is waited for no more
}

// NewCasts makes the order of a node that has begun at a time.
func NewCasts[T any](self uint64, began time.Duration) *Casts[T] {
	return &Casts[T]{self: self, began: began, origins: make(map[uint64]*caster[T]), sweepAt: leastSwept}
}

// Waiting returns how many broadcasts wait.
func (c *Casts[T]) Waiting() int { return c.waiting }

// Stamp returns the stamp of a broadcast that is made now. If it leaves, Sent is
// to be called before Stamp is called again.
func (c *Casts[T]) Stamp(now time.Duration) Stamp {
	c.count++
	st := Stamp{Count: c.count}
	rest := c.seen[:0]
	for _, o := range c.seen {
		if o.seen == 0 || now-o.at > keepFor {
			o.seen, o.listed = 0, false
			continue
		}
		rest = append(rest, o)
		st.After = append(st.After, Mark{o.id, o.seen})
	}
	clear(c.seen[len(rest):])
	c.seen = rest
	return st
}

// Sent tells that the broadcast with that stamp has left: the next come after it.
func (c *Casts[T]) Sent(st Stamp) { c.imply(st) }

// imply forgets to name what a stamp names.
func (c *Casts[T]) imply(st Stamp) {
	for _, m := range st.After {
		if o := c.origins[m.Origin]; o != nil && o.seen <= m.Count {
			o.seen = 0
		}
	}
}

// Arrive takes a broadcast of an origin. It reports false if that cannot be one
// that comes now: it is dropped.
func (c *Casts[T]) Arrive(from uint64, st Stamp, size int, item T, now time.Duration) bool {
	o := c.origin(from, now)
	if o == nil || st.Count <= o.last {
		return false
	}
	if st.Count <= o.given {
		c.Late++
	}
	o.used, o.last = now, st.Count
	o.queue = append(o.queue, &cast[T]{stamp: st, since: now, size: size, item: item})
	c.waiting++
	c.bytes += size
	if len(o.queue) == 1 {
		c.check(o)
		c.wake(o) // what it skips does not come any more
	}
	if c.waiting > maxWaiting || c.bytes > maxWaitingBytes {
		c.overflow(o, now)
	}
	return true
}

// overflow gives up what the broadcast waits for that has waited for longest.
// What an origin says in circles is let go as it is.
func (c *Casts[T]) overflow(from *caster[T], now time.Duration) {
	var oldest *caster[T]
	for _, o := range c.all {
		if len(o.queue) > 0 && !o.queue[0].due && (oldest == nil || o.queue[0].since < oldest.queue[0].since) {
			oldest = o
		}
	}
	if oldest != nil {
		c.giveUp(oldest.queue[0], false, now)
	}
	if c.waiting > 2*maxWaiting || c.bytes > 2*maxWaitingBytes {
		c.letGo(from)
	}
}

// Pop returns the next broadcast whose turn has come. seen tells whether somebody
// here is handed it: then what is broadcast here from now on comes after it.
func (c *Casts[T]) Pop(seen bool, now time.Duration) (item T, ok bool) {
	for len(c.ready) > 0 {
		o := c.ready[0]
		c.ready[0] = nil
		if c.ready = c.ready[1:]; len(c.ready) == 0 {
			c.ready = nil
		}
		o.checked, o.waits = false, nil
		if len(o.queue) == 0 {
			continue
		}
		m := o.queue[0]
		if w := c.lacks(m, now); w != nil {
			if !m.waited {
				m.waited = true
				c.Waited++
			}
			o.waits = w
			w.waiters = append(w.waiters, o)
			continue
		}
		o.queue[0] = nil
		if o.queue = o.queue[1:]; len(o.queue) == 0 {
			o.queue = nil
		} else {
			c.check(o)
		}
		c.waiting--
		c.bytes -= m.size
		c.wake(o)
		if seen {
			c.note(o, m.stamp, now)
		}
		return m.item, true
	}
	return item, false
}

// note has the broadcasts of this node come after one that is handed over here.
func (c *Casts[T]) note(o *caster[T], st Stamp, now time.Duration) {
	c.imply(st)
	if o.id == c.self { // its own follow it anyway
		return
	}
	o.seen, o.at = max(o.seen, st.Count), now
	if !o.listed {
		o.listed = true
		c.seen = append(c.seen, o)
	}
}

// lacks returns the origin of the first broadcast that one comes after and that
// can still come, or is here and waits itself; nil: it lacks none.
func (c *Casts[T]) lacks(m *cast[T], now time.Duration) *caster[T] {
	for ; m.have < len(m.stamp.After); m.have++ {
		mark := m.stamp.After[m.have]
		if o := c.origin(mark.Origin, now); o != nil && o.done() < mark.Count {
			return o
		}
	}
	return nil
}

// done is the count up to which all of an origin's were handed over, or do not
// come any more.
func (o *caster[T]) done() uint64 {
	if len(o.queue) > 0 {
		return o.queue[0].stamp.Count - 1
	}
	return max(o.last, o.given)
}

// check has Pop look at an origin's first.
func (c *Casts[T]) check(o *caster[T]) {
	if !o.checked {
		o.checked = true
		c.ready = append(c.ready, o)
	}
}

// wake has Pop look at those that wait for an origin.
func (c *Casts[T]) wake(o *caster[T]) {
	for i, w := range o.waiters {
		o.waiters[i] = nil
		if w.waits == o {
			c.check(w)
		}
	}
	o.waiters = o.waiters[:0]
}

// Expire gives up what is waited for for too long.
func (c *Casts[T]) Expire(now time.Duration) {
	for _, o := range c.all {
		if len(o.queue) == 0 {
			continue
		}
		switch m := o.queue[0]; {
		case now-m.since >= 2*HoldFor: // origins that say that they come after each other
			c.letGo(o)
		case m.due:
		case now-m.since >= HoldFor:
			c.giveUp(m, false, now)
		case now-m.since >= HoldNew && now-c.began < young:
			c.giveUp(m, true, now)
		}
	}
}

// giveUp waits for nothing any more that a broadcast comes after and that is not
// here, nor for what those come after that are here; with unheard, only for
// nothing of origins that were never heard.
func (c *Casts[T]) giveUp(m *cast[T], unheard bool, now time.Duration) {
	m.due = !unheard
	for _, mark := range m.stamp.After[m.have:] {
		o := c.origins[mark.Origin]
		if o == nil && len(c.all) < maxOrigins { // not met before: no sweep, c.all is being walked
			o = c.meet(mark.Origin, now)
		}
		if o == nil || unheard && o.last > 0 {
			continue
		}
		for _, e := range o.queue {
			if e.stamp.Count <= mark.Count && !e.due {
				c.giveUp(e, false, now)
			}
		}
		if max(o.last, o.given) < mark.Count {
			c.GivenUp++
			o.given = mark.Count
			c.wake(o)
		}
	}
}

// letGo hands over all that is here of an origin.
func (c *Casts[T]) letGo(o *caster[T]) {
	for _, e := range o.queue {
		e.have = len(e.stamp.After)
	}
	c.check(o)
}

// origin returns what is known of an origin; nil if there is no room for another.
func (c *Casts[T]) origin(id uint64, now time.Duration) *caster[T] {
	o := c.origins[id]
	if o != nil {
		return o
	}
	if len(c.all) >= c.sweepAt {
		c.sweep(now)
	}
	if len(c.all) >= maxOrigins {
		return nil
	}
	return c.meet(id, now)
}

func (c *Casts[T]) meet(id uint64, now time.Duration) *caster[T] {
	o := &caster[T]{id: id, used: now}
	c.origins[id] = o
	c.all = append(c.all, o)
	return o
}

// sweep forgets origins that were not heard for long, and if there is no room
// else, the one that was not heard for longest. Nothing may wait for them.
func (c *Casts[T]) sweep(now time.Duration) {
	idle := func(o *caster[T]) bool {
		if now-o.at > keepFor {
			o.seen = 0
		}
		return o.id != c.self && len(o.queue) == 0 && len(o.waiters) == 0 && o.seen == 0 && !o.checked
	}
	var oldest *caster[T]
	gone := func(o *caster[T]) bool { return o == oldest || idle(o) && now-o.used > forgetAfter }
	c.remove(gone)
	if len(c.all) >= maxOrigins {
		for _, o := range c.all {
			if idle(o) && (oldest == nil || o.used < oldest.used) {
				oldest = o
			}
		}
		c.remove(gone)
	}
	c.sweepAt = min(max(2*len(c.all), leastSwept), maxOrigins)
}

func (c *Casts[T]) remove(gone func(*caster[T]) bool) {
	c.seen = slices.DeleteFunc(c.seen, gone)
	c.all = slices.DeleteFunc(c.all, func(o *caster[T]) bool {
		if !gone(o) {
			return false
		}
		delete(c.origins, o.id)
		return true
	})
}
