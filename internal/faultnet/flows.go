//go:build linux

package faultnet

import (
	"cmp"
	"encoding/binary"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr"
)

// flows are the numbered messages from this node and to it.
type flows struct {
	n     *node
	ready chan struct{} // closed when there is a ledger

	mu   sync.Mutex
	ways map[string]*flow // by node
}

// flow sends numbered messages to one node.
type flow struct {
	mu   sync.Mutex // held while it sends
	next uint64
	stop chan struct{} // nil while it does not run
}

func (f *flows) init(n *node) { f.n, f.ready, f.ways = n, make(chan struct{}), make(map[string]*flow) }

// numbered makes a message: who sent it, in which life, and its number.
func (f *flows) numbered(number uint64, size int) *wrapperspb.BytesValue {
	b := make([]byte, max(size, 17+maxName))
	binary.LittleEndian.PutUint64(b, f.n.life)
	binary.LittleEndian.PutUint64(b[8:], number)
	b[16] = byte(copy(b[17:17+maxName], f.n.cfg.Name))
	return wrapperspb.Bytes(b)
}

// parseNumbered takes one apart; ok is false for another message.
func parseNumbered(msg any) (from string, life, number uint64, ok bool) {
	if env, is := msg.(*actor.MessageEnvelope); is {
		msg = env.Message
	}
	m, is := msg.(*wrapperspb.BytesValue)
	if !is || len(m.Value) < 17+maxName || m.Value[16] > maxName {
		return "", 0, 0, false
	}
	b := m.Value
	return string(b[17 : 17+b[16]]), binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), true
}

// run begins or ends a flow. Its answer says that nothing more is sent.
func (f *flows) run(o Order) {
	f.mu.Lock()
	w := f.ways[o.Node]
	if w == nil {
		w = &flow{}
		f.ways[o.Node] = w
	}
	f.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop != nil {
		close(w.stop)
		w.stop = nil
	}
	if o.Rate > 0 {
		w.stop = make(chan struct{})
		go f.send(w, w.stop, o)
	}
}

// send sends at a rate. What was not sent in time, because the process stood
// still or a send waited, is not caught up with for more than a tenth of a
// second.
func (f *flows) send(w *flow, stop chan struct{}, o Order) {
	pid := f.n.PID(o.Node, cmp.Or(o.Actor, "sink"), maquis.WithChannel(flowChannel))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last, due := time.Now(), 0.0
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		due = min(due+now.Sub(last).Seconds()*o.Rate, max(o.Rate/10, 1))
		for last = now; due >= 1; due-- {
			w.mu.Lock()
			if w.stop != stop {
				w.mu.Unlock()
				return
			}
			f.n.book.add(entrySent, o.Node, 0, w.next, w.next+1)
			m := f.numbered(w.next, o.Size)
			w.next++
			f.n.system.Root.Send(pid, m)
			w.mu.Unlock()
		}
	}
}

// posted books messages when they come into the sink's mailbox, which is before
// they are acknowledged.
type posted struct{ f *flows }

func (posted) MailboxStarted()     {}
func (posted) MessageReceived(any) {}
func (posted) MailboxEmpty()       {}
func (p posted) MessagePosted(m any) {
	if from, life, number, ok := parseNumbered(m); ok {
		p.f.n.book.got(from, life, number)
	}
}

// sink is the actor that numbered messages are for.
func (f *flows) sink() *actor.Props {
	return actor.PropsFromFunc(func(actor.Context) {}, actor.WithMailbox(actor.Unbounded(posted{f})))
}

// slowness is how long the slow actor takes for a message.
const slowness = 2 * time.Millisecond

// slow is an actor that takes its time, behind a mailbox with few places.
func (f *flows) slow() *actor.Props {
	return actor.PropsFromFunc(func(c actor.Context) {
		if from, life, number, ok := parseNumbered(c.Message()); ok {
			f.n.book.got(from, life, number)
			time.Sleep(slowness)
		}
	}, actor.WithMailbox(maquis.Mailbox(16)))
}

// spec is the channel.
func (c FlowChannel) spec() maquis.ChannelSpec {
	s := maquis.ChannelSpec{Name: flowChannel, MaxQueueLen: c.QueueLen}
	if c.Acked {
		s.Delivery = maquis.AtLeastOnce
	}
	return s
}

// event books dead letters and losses.
func (f *flows) event(e any) {
	switch e := e.(type) {
	case *actor.DeadLetterEvent:
		from, life, number, ok := parseNumbered(e.Message)
		if !ok {
			return
		}
		<-f.ready
		if from == f.n.cfg.Name && life == f.n.life {
			to, _ := channelmgr.ParsePIDAddress(e.PID.Address)
			f.n.book.add(entryRefused, to.Name, 0, number, number+1)
		} else {
			f.n.book.add(entryReturned, from, life, number, number+1)
		}
	case *maquis.PossiblyLost:
		if e.Channel == flowChannel {
			<-f.ready
			f.n.book.add(entryLost, e.Node, 0, e.From, e.To)
		}
	}
}
