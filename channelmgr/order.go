package channelmgr

import (
	"sync"

	"github.com/maquis-go/maquis/channelmgr/causal"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// orderKey names a causal order: a label's slot of a channel, as the channel is
// called on the wire. It is one order over all nodes.
type orderKey struct {
	channel string
	slot    uint8
}

// outOrder is the sending side of a causal order at this node. Its lock is
// taken after a pipe's.
type outOrder struct {
	key orderKey
	mu  sync.Mutex
	tx  causal.Sender[*Session]
}

// order returns what waits of a causal order at this node.
func (r *Registry) order(k orderKey) *inbox {
	if in, ok := r.orders.Load(k); ok {
		return in.(*inbox)
	}
	in, _ := r.orders.LoadOrStore(k, new(inbox))
	return in.(*inbox)
}

func (r *Registry) outOrder(k orderKey) *outOrder {
	if o, ok := r.outgoing.Load(k); ok {
		return o.(*outOrder)
	}
	o, _ := r.outgoing.LoadOrStore(k, &outOrder{key: k})
	return o.(*outOrder)
}

// putInOrder queues a message of a causal order. The pipe's lock is held, and
// meanwhile the order's: between what a message waits for and its own place comes
// no other.
func (ln *lane) putInOrder(slot uint8, typ *messages.Type, o *Outgoing, size int, large *body) error {
	if ln.orders == nil {
		ln.orders = new([Slots]*outOrder)
	}
	if ln.order = ln.orders[slot]; ln.order == nil {
		ln.order = ln.pipe.s.r.outOrder(orderKey{ln.channel, slot})
		ln.orders[slot] = ln.order
	}
	ln.order.mu.Lock()
	defer ln.order.mu.Unlock()
	ln.after = ln.order.tx.After(ln.pipe.s)
	if large != nil {
		return ln.putLarge(slot, typ, o, large)
	}
	return ln.put(slot, typ, o, size)
}

// word is what a peer is told to be stable.
type word struct {
	to     *Session
	stable uint64
}

// words collects what is to be told. o.mu is held.
func (o *outOrder) words() (list []word) {
	o.tx.Tell(func(to *Session, stable uint64) { list = append(list, word{to, stable}) })
	return list
}

// tell tells peers what is stable, without a lock held. What finds no room is
// told again with the next tick.
func (o *outOrder) tell(list []word) {
	for _, w := range list {
		ctl := w.to.ctl
		if !ctl.frames(func(dst []byte) []byte {
			id, defs, ok := ctl.dict.channel(o.key.channel, ctl.defs)
			ctl.defs = defs
			if !ok {
				return dst
			}
			return frame.AppendStable(dst, frame.Stable{Channel: id, Slot: o.key.slot, Count: w.stable})
		}) {
			w.to.retell.Store(true)
		}
	}
}

// arrivedThere takes a peer's report that all below a number have arrived there.
func (r *Registry) arrivedThere(s *Session, k orderKey, next uint64) {
	o := r.outOrder(k)
	o.mu.Lock()
	var list []word
	if o.tx.Arrived(s, next) {
		list = o.words()
	}
	o.mu.Unlock()
	o.tell(list)
}

// tellAgain tells a peer anew what is stable: words may be lost with a control
// link.
func (r *Registry) tellAgain(s *Session) {
	r.outgoing.Range(func(_, v any) bool {
		o := v.(*outOrder)
		o.mu.Lock()
		o.tx.Again(s)
		list := o.words()
		o.mu.Unlock()
		o.tell(list)
		return true
	})
}

// SetOnRelease sets who is told when the end of a session has released messages
// of a causal order.
func (r *Registry) SetOnRelease(f func(Release)) { r.onRelease.Store(&f) }

func (r *Registry) released(rel Release) {
	if f := r.onRelease.Load(); f != nil {
		(*f)(rel)
	}
}

// partOrders ends a peer's part in all orders: what was sent to it holds nothing
// up any more, what came from it waits for nothing.
func (r *Registry) partOrders(s *Session) {
	r.outgoing.Range(func(_, v any) bool {
		o := v.(*outOrder)
		o.mu.Lock()
		open, news := o.tx.Gone(s)
		var list []word
		if news {
			list = o.words()
		}
		o.mu.Unlock()
		if open > 0 {
			r.count("causal_given_up")
			r.released(Release{Session: s, Channel: baseName(o.key.channel), GivenUp: int(open)})
		}
		o.tell(list)
		return true
	})
	r.orders.Range(func(k, v any) bool {
		in := v.(*inbox)
		in.mu.Lock()
		released := in.q.Release(s)
		in.start(r)
		in.mu.Unlock()
		for range released {
			r.count("causal_released")
		}
		if released > 0 {
			r.released(Release{Session: s, Channel: baseName(k.(orderKey).channel), Waited: released})
		}
		return true
	})
}

// onStable takes a peer's word of what is stable.
func (l *link) onStable(st frame.Stable) {
	c := l.in.channel(st.Channel)
	if c == nil {
		return
	}
	in := l.s.r.order(orderKey{c.name, st.Slot})
	in.mu.Lock()
	defer in.mu.Unlock()
	in.q.Stable(l.s, st.Count)
	in.start(l.s.r)
}
