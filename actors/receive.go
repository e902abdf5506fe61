package actors

import (
	"reflect"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
)

// receiver takes what links bring.
type receiver struct{ d *Distribution }

var _ channelmgr.Patient = receiver{}

// target is what a link's reader keeps for an actor's id.
type target struct {
	proc      actor.Process
	ap        *actor.ActorProcess // proc, if it is an actor
	pid       *actor.PID
	box       *mailbox // proc's, if it is of Mailbox
	waits     bool     // posting to it may block
	forbidden bool
}

// deadAt is where an ActorProcess keeps that its actor has stopped. protoactor
// checks it on every use of a PID, but exports no way to: where the field is
// missing, every message looks its target up anew.
var deadAt, hasDead = func() (uintptr, bool) {
	f, ok := reflect.TypeFor[actor.ActorProcess]().FieldByName("dead")
	return f.Offset, ok && f.Type.Kind() == reflect.Int32
}()

// dead reports whether an actor has stopped.
func dead(p *actor.ActorProcess) bool {
	return !hasDead || atomic.LoadInt32((*int32)(unsafe.Add(unsafe.Pointer(p), deadAt))) != 0
}

// forbidden reports whether other nodes may not address an id: a user message
// panics a guardian's caller, and runtime actors are nobody else's.
func forbidden(id string) bool {
	return id == "maquis" || id == "eventstream" || id == "deadletter" ||
		strings.HasPrefix(id, "maquis/") || strings.HasPrefix(id, "guardian")
}

// find returns the target of a message, from the link's cache if it lives.
func (r receiver) find(t *channelmgr.Target) *target {
	if c := t.Cache.Load(); c != nil {
		if e := (*c).(*target); e.ap != nil && !dead(e.ap) {
			return e
		}
	}
	e := &target{forbidden: forbidden(t.ID)}
	if !e.forbidden {
		if p, ok := r.d.system.ProcessRegistry.GetLocal(t.ID); ok {
			e.proc = p
			e.ap, _ = p.(*actor.ActorProcess)
			e.box, e.waits = roomOf(p, t.ID)
		}
		e.pid = &actor.PID{Address: r.d.address, Id: t.ID}
	}
	var c any = e
	t.Cache.Store(&c)
	return e
}

// Receive implements channelmgr.Receiver. It waits for a target that has no room.
func (r receiver) Receive(m *channelmgr.Incoming) Reason {
	why, _ := r.receive(m, true)
	return why
}

// TryReceive implements channelmgr.Patient.
func (r receiver) TryReceive(m *channelmgr.Incoming) (why Reason, ok bool) {
	return r.receive(m, false)
}

// receive posts a message. Without wait it reports false, and has done nothing,
// if the target may have no room.
func (r receiver) receive(m *channelmgr.Incoming, wait bool) (why Reason, ok bool) {
	if strings.HasPrefix(m.Target.ID, "call$") {
		r.d.calls.answer(m.Target.ID, m.Msg)
		return "", true
	}
	if strings.HasPrefix(m.Target.ID, "future$") {
		r.d.pending.done(m.Session.Peer(), m.Target.ID)
	}
	e := r.find(m.Target)
	if e.forbidden && m.Target.ID == "eventstream" && !m.System && r.d.allowsEvent(m.Msg) {
		r.d.system.EventStream.Publish(m.Msg)
		return "", true
	}
	if e.forbidden {
		r.d.counts.add("forbidden")
		return messages.ReasonForbidden, true
	}
	pid := e.pid
	if m.TargetRequest != 0 {
		pid = &actor.PID{Address: pid.Address, Id: pid.Id, RequestId: m.TargetRequest}
	}
	if m.System {
		return r.system(m, e, pid), true
	}
	switch m.Msg.(type) {
	case actor.MessageBatch, *actor.Watch, *actor.Unwatch, *actor.Terminated, *actor.Stop:
		// System messages do not come as user messages, and a batch would be
		// unpacked by the mailbox.
		r.d.counts.add("forbidden")
		return messages.ReasonForbidden, true
	}
	if e.proc == nil {
		r.nobody(m, pid)
		return messages.ReasonNoSuchActor, true
	}
	if e.waits && !wait {
		return "", false
	}
	if m.Sender == nil && m.Header == nil {
		return "", r.hand(e, pid, m.Msg, wait)
	}
	env := &actor.MessageEnvelope{Message: m.Msg, Sender: m.Sender}
	for k, v := range m.Header {
		env.SetHeader(k, v)
	}
	return "", r.hand(e, pid, env, wait)
}

// hand puts a message into a target's mailbox. It reports false if that has no
// room and it must not wait.
func (r receiver) hand(e *target, pid *actor.PID, msg any, wait bool) bool {
	if e.box != nil {
		return e.box.post(msg, wait, r.d.ctx.Done())
	}
	e.proc.SendUserMessage(pid, msg)
	return true
}

// nobody publishes a dead letter here. The origin answers a sender of its own
// when it is told; a sender elsewhere is answered from here.
func (r receiver) nobody(m *channelmgr.Incoming, pid *actor.PID) {
	if _, ok := m.Msg.(*actor.DeadLetterResponse); ok || isTransient(pid.Id) {
		return // a future that has ended is no news
	}
	sender := m.Sender
	if sender != nil && sender.Address == channelmgr.PIDAddress(m.Session.Peer()) {
		sender = nil
	}
	r.d.system.EventStream.Publish(&actor.DeadLetterEvent{PID: pid, Message: m.Msg, Sender: sender})
}

// system takes the system messages that may come from other nodes.
func (r receiver) system(m *channelmgr.Incoming, e *target, pid *actor.PID) Reason {
	switch msg := m.Msg.(type) {
	case *actor.Watch:
		if msg.Watcher == nil || msg.Watcher.Id == "" {
			return messages.ReasonMalformed
		}
		r.d.watches.watchedBy(m.Session, msg.Watcher.Id, e, pid)
	case *actor.Unwatch:
		if msg.Watcher == nil {
			return messages.ReasonMalformed
		}
		r.d.watches.unwatchedBy(m.Session, msg.Watcher.Id, e, pid)
	case *actor.Terminated:
		if msg.Who == nil {
			return messages.ReasonMalformed
		}
		r.d.watches.ended(m.Session, pid.Id, msg.Who.Id, msg.Why)
	case *actor.Stop:
		if e.ap == nil {
			return messages.ReasonNoSuchActor
		}
		e.ap.SendSystemMessage(pid, &actor.Stop{})
	default:
		r.d.counts.add("forbidden")
		return messages.ReasonForbidden
	}
	return ""
}
