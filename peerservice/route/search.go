package route

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// maxTargets bounds those of one message.
const maxTargets = 64

// search is a target for which messages wait.
type search struct {
	to    overlay.Peer
	tries int
	queue []*messages.RouteData
}

func unfit(t *messages.RouteTarget) bool {
	return t.GetName() == "" || len(t.GetName()) > overlay.MaxName
}

// want tells the way that is known, or searches one. One that has failed stays
// for others until there is another or none is found: it may have been slow.
func (f *Finder) want(w Want, out *overlay.Effects) {
	to := w.To
	if to.Name == f.cfg.Self.Name || f.neighbors.Has(to) {
		return
	}
	if h := f.hops[to.Name]; h != nil && h.to.Same(to) && h.via.Name != "" && !h.via.Same(w.Not) {
		h.used = f.now
		out.Notify(Way{to, h.via})
		return
	}
	x := f.searches[to.Name]
	switch {
	case x != nil && x.to.Same(to):
	case x != nil || len(f.searches) >= f.cfg.QueueAll:
		out.Notify(Nowhere{to})
	default:
		x = &search{to: to}
		f.searches[to.Name] = x
		f.find(x, out)
	}
}

// find has a search published, or gives up. One by itself leaves at once; those
// that follow wait for each other: a broadcast costs some of every node's time,
// and shows everybody the way to its origin, however many targets it names.
func (f *Finder) find(x *search, out *overlay.Effects) {
	if x.tries == f.cfg.Tries {
		f.drop(x, out)
		return
	}
	f.due = append(f.due, x)
	if f.gathering {
		return
	}
	wait := f.cfg.Gather << f.busy
	if since := f.now.Sub(f.asked); f.asked != 0 && since < wait {
		f.gathering = true
		out.SetTimer(overlay.Timer{Kind: timerGather}, wait-since)
		return
	}
	f.publish(out)
}

// publish publishes the searches that are due.
func (f *Finder) publish(out *overlay.Effects) {
	due := slices.DeleteFunc(f.due, func(x *search) bool { return f.searches[x.to.Name] != x }) // found meanwhile
	f.due = nil
	if len(due) == 0 {
		return
	}
	if f.asked != 0 && f.now.Sub(f.asked) < 2*f.cfg.Gather<<f.busy {
		f.busy = min(f.busy+1, 5)
	} else {
		f.busy = 0
	}
	f.asked = max(f.now, 1)
	for some := range slices.Chunk(due, maxTargets) {
		m := &messages.RouteFind{}
		for _, x := range some {
			m.Targets = append(m.Targets, &messages.RouteTarget{Name: x.to.Name, Incarnation: uint64(x.to.Incarnation)})
			out.SetTimer(overlay.Timer{Kind: timerFind, Peer: x.to.Name}, f.cfg.Wait<<x.tries)
			x.tries++
			f.Finds++
		}
		b, err := proto.Marshal(m)
		if err != nil { // they are tried again
			continue
		}
		out.Notify(overlay.Publish{Subject: Subject, Payload: b})
	}
}

// drop ends a search without success.
func (f *Finder) drop(x *search, out *overlay.Effects) {
	delete(f.searches, x.to.Name)
	f.queued -= len(x.queue)
	for _, m := range x.queue {
		out.Notify(Undeliverable{x.to, m.GetId(), messages.ReasonUnreachable})
	}
	if h := f.hops[x.to.Name]; h != nil && h.to.Same(x.to) {
		f.lose(h, out)
	}
	out.Notify(Nowhere{x.to})
}

// release sends what waited for a node.
func (f *Finder) release(to overlay.Peer, out *overlay.Effects) {
	x := f.searches[to.Name]
	if x == nil || !x.to.Same(to) {
		return
	}
	via, _, ok := f.Next(to)
	if !ok {
		return
	}
	delete(f.searches, to.Name)
	f.queued -= len(x.queue)
	out.CancelTimer(overlay.Timer{Kind: timerFind, Peer: to.Name})
	for _, m := range x.queue {
		out.Send(via, m)
	}
}
