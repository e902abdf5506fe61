package actors

import (
	"sync"
	"time"

	"github.com/maquis-go/maquis/channelmgr/causal"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// castOrderTick is how often it is looked whether broadcasts wait for too long,
// while some wait. Our choice.
const castOrderTick = 250 * time.Millisecond

// castOrder keeps the broadcasts on a channel in causal order.
type castOrder struct {
	d       *Distribution
	channel string

	sending sync.Mutex // over a stamp and its broadcast: they leave in the order of their counts
	posting sync.Mutex // over the handing on, which may block as a subscriber's mailbox does

	mu      sync.Mutex // taken last
	casts   *causal.Casts[*messages.Broadcast]
	ticking bool
	counted [3]uint64 // Waited, GivenUp and Late of casts, as they were counted last
}

// castOrder returns the order of a channel's broadcasts, made on first use.
func (d *Distribution) castOrder(channel string) *castOrder {
	if o, ok := d.castOrders.Load(channel); ok {
		return o.(*castOrder)
	}
	o, _ := d.castOrders.LoadOrStore(channel, &castOrder{d: d, channel: channel,
		casts: causal.NewCasts[*messages.Broadcast](uint64(d.registry.Self().Incarnation), 0)})
	return o.(*castOrder)
}

// now is the time since the node was started.
func (o *castOrder) now() time.Duration { return time.Since(o.d.began) }

// cast broadcasts a message after all that was handed to subscribers here.
func (o *castOrder) cast(overlay string, m *messages.Broadcast, wait time.Duration) error {
	o.sending.Lock()
	defer o.sending.Unlock()
	o.mu.Lock()
	stamp := o.casts.Stamp(o.now())
	o.mu.Unlock()
	m.Order = causal.AppendStamp(nil, stamp)
	if err := o.d.cast(overlay, m, wait); err != nil {
		return err
	}
	o.mu.Lock()
	o.casts.Sent(stamp)
	o.mu.Unlock()
	return nil
}

// inOrder takes a broadcast that has its place in a causal order. The spec of its
// sender governs, but a channel that is not known here has no subscribers.
func (d *Distribution) inOrder(origin overlay.Peer, m *messages.Broadcast, size int) {
	if _, err := d.registry.Channel(m.GetChannel()); err != nil {
		return
	}
	stamp, err := causal.ParseStamp(m.GetOrder())
	if err != nil {
		d.counts.add("broadcast_malformed")
		return
	}
	o := d.castOrder(m.GetChannel())
	o.mu.Lock()
	ok := o.casts.Arrive(uint64(origin.Incarnation), stamp, size, m, o.now())
	o.mu.Unlock()
	if !ok {
		d.counts.add("broadcast_dropped")
		return
	}
	o.posting.Lock()
	defer o.posting.Unlock()
	o.post()
}

// post hands on what has its turn. posting is held.
func (o *castOrder) post() {
	for {
		list := o.d.subs.of(o.channel)
		o.mu.Lock()
		m, ok := o.casts.Pop(len(list) > 0, o.now())
		if !ok {
			o.count()
			o.tick()
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		o.d.toSubscribers(list, m)
	}
}

// tick comes back while broadcasts wait. mu is held.
func (o *castOrder) tick() {
	if o.ticking || o.casts.Waiting() == 0 || o.d.stopped.Load() {
		return
	}
	o.ticking = true
	time.AfterFunc(castOrderTick, o.ticked)
}

func (o *castOrder) ticked() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ticking = false
	o.casts.Expire(o.now())
	if !o.posting.TryLock() { // who hands on now looks again
		o.tick()
		return
	}
	o.mu.Unlock()
	o.post()
	o.posting.Unlock()
	o.mu.Lock()
}

// count adds what has happened since to the node's counters. mu is held.
func (o *castOrder) count() {
	now := [3]uint64{o.casts.Waited, o.casts.GivenUp, o.casts.Late}
	for i, name := range [...]string{"broadcast_causal_waited", "broadcast_causal_given_up", "broadcast_causal_late"} {
		if n := now[i] - o.counted[i]; n > 0 {
			o.d.counts.addN(name, n)
		}
	}
	o.counted = now
}
