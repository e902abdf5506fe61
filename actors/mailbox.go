package actors

import (
	"reflect"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/asynkron/protoactor-go/actor"
)

// Mailbox returns a producer of mailboxes in which at most so many messages from
// other nodes wait (1 if limit is lower). It slows down those who send: a full
// mailbox holds up the flows of its messages, whose windows close, and nothing
// else; they open as the actor takes messages out. Use it in place of actor.Bounded,
// whose posters spin. Local senders are not held up: what they post is admitted
// beyond the limit.
//
//	actor.PropsFromProducer(newWorker, actor.WithMailbox(maquis.Mailbox(1000)))
func Mailbox(limit int) actor.MailboxProducer {
	return func() actor.Mailbox {
		m := &mailbox{limit: max(limit, 1)}
		m.Mailbox = actor.Unbounded((*drain)(m))()
		return m
	}
}

// mailbox is protoactor's unbounded one with a limit for those who ask.
type mailbox struct {
	actor.Mailbox
	limit   int
	waiting atomic.Bool

	mu   sync.Mutex
	room chan struct{} // closed when there is room; nil when nobody waits
}

// post posts a message if there is room. With wait it waits for that, and posts
// in any case when done is closed. It reports whether the message was posted.
func (m *mailbox) post(msg any, wait bool, done <-chan struct{}) bool {
	for {
		m.mu.Lock()
		if m.UserMessageCount() < m.limit {
			m.PostUserMessage(msg)
			m.mu.Unlock()
			return true
		}
		if !wait {
			m.mu.Unlock()
			return false
		}
		if m.room == nil {
			m.room = make(chan struct{})
		}
		room := m.room
		m.waiting.Store(true)
		enough := m.enough() // since it was full
		m.mu.Unlock()
		if enough {
			continue
		}
		select {
		case <-room:
		case <-done:
			m.PostUserMessage(msg)
			return true
		}
	}
}

// enough reports whether those who wait should look again: not for each message
// that leaves.
func (m *mailbox) enough() bool { return m.UserMessageCount() <= m.limit/2 }

// drain watches messages leave a mailbox. It implements
// actor.MailboxMiddleware.
type drain mailbox

// MailboxStarted implements actor.MailboxMiddleware.
func (*drain) MailboxStarted() {}

// MessagePosted implements actor.MailboxMiddleware.
func (*drain) MessagePosted(any) {}

// MailboxEmpty implements actor.MailboxMiddleware.
func (*drain) MailboxEmpty() {}

// MessageReceived implements actor.MailboxMiddleware.
func (d *drain) MessageReceived(any) {
	m := (*mailbox)(d)
	if !m.waiting.Load() || !m.enough() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting.Store(false)
	if m.room != nil {
		close(m.room)
		m.room = nil
	}
}

// mailboxAt is where an ActorProcess keeps its mailbox; protoactor exports no
// way to it. Where the field is missing, any actor is taken for one whose mailbox
// may block.
var mailboxAt, hasMailbox = func() (uintptr, bool) {
	f, ok := reflect.TypeFor[actor.ActorProcess]().FieldByName("mailbox")
	return f.Offset, ok && f.Type == reflect.TypeFor[actor.Mailbox]()
}()

// roomOf returns a process's mailbox if it is of Mailbox, and whether posting to
// the process may block. Futures do not; of actors those with protoactor's
// unbounded mailboxes do not; of what else there is, routers say, nobody knows.
func roomOf(p actor.Process, id string) (box *mailbox, waits bool) {
	ap, ok := p.(*actor.ActorProcess)
	switch {
	case !ok:
		return nil, !isTransient(id)
	case !hasMailbox:
		return nil, true
	}
	mb := *(*actor.Mailbox)(unsafe.Add(unsafe.Pointer(ap), mailboxAt))
	if box, ok = mb.(*mailbox); ok {
		return box, false
	}
	v := reflect.ValueOf(mb)
	if v.Type() != plainMailbox {
		return nil, true // the application's own
	}
	q := v.Elem().FieldByName("userMailbox")
	if !q.IsValid() || q.Kind() != reflect.Interface {
		return nil, true
	}
	if q = q.Elem(); q.Kind() == reflect.Pointer && q.Type() == boundedQueue {
		dropping := q.Elem().FieldByName("dropping")
		return nil, !dropping.IsValid() || !dropping.Bool()
	}
	return nil, false
}

// The types of protoactor's mailboxes and of their bounded queue.
var (
	plainMailbox = reflect.TypeOf(actor.Unbounded()())
	boundedQueue = func() reflect.Type {
		q := reflect.ValueOf(actor.Bounded(1)()).Elem().FieldByName("userMailbox")
		if !q.IsValid() || q.Kind() != reflect.Interface {
			return nil
		}
		return q.Elem().Type()
	}()
)
