package channelmgr

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// nodeRef and peerOf convert between the kernel's Peer and its wire form.
func nodeRef(p overlay.Peer) *messages.NodeRef {
	return &messages.NodeRef{Name: p.Name, Incarnation: uint64(p.Incarnation), Addr: p.Addr}
}

func peerOf(n *messages.NodeRef) overlay.Peer {
	return overlay.Peer{Name: n.GetName(), Incarnation: overlay.Incarnation(n.GetIncarnation()), Addr: n.GetAddr()}
}

// inType finds a type by name, once.
func (r *Registry) inType(name string) inType {
	if t, ok := r.types.Load(name); ok {
		return t.(inType)
	}
	typ, err := r.cfg.Types.Lookup(name)
	t := inType{name: name, typ: typ, err: err}
	if err == nil { // an unknown name is the peer's invention: not kept
		r.types.Store(name, t)
	}
	return t
}

// bindSender lets the application's layer bind a sender PID to the channel
// that its message came on.
func (r *Registry) bindSender(pid *actor.PID, channel string) *actor.PID {
	if f := r.binder.Load(); f != nil {
		return (*f)(pid, channel)
	}
	return pid
}

// receive hands a message to the application's layer, unless its target has no
// room: then it reports false. A panic there ends nothing but that message.
func (r *Registry) receive(m *Incoming) (why messages.Reason, ok bool) {
	if f := r.intercept.Load(); f != nil {
		if v := r.verdict(*f, m); v != Pass {
			return r.carryOut(v, m), true
		}
	}
	return r.post(m, false)
}

func (r *Registry) verdict(f func(Packet) Verdict, m *Incoming) Verdict {
	p := Packet{From: m.Session.peer.Name, To: r.Self().Name, Channel: m.Channel, Target: m.Target.ID, Msg: m.Msg}
	if t, err := r.cfg.Types.Of(m.Msg); err == nil {
		p.Type = t.Name
	}
	return f(p)
}

func (r *Registry) carryOut(v Verdict, m *Incoming) messages.Reason {
	kept := *m // m is the reader's, and changes
	kept.Target = &Target{ID: m.Target.ID}
	return r.judge(v, func() messages.Reason {
		why, _ := r.post(&kept, true)
		return why
	})
}

// post posts a message; with wait, when its target has room.
func (r *Registry) post(m *Incoming, wait bool) (why messages.Reason, ok bool) {
	rc := r.receiver.Load()
	if rc == nil {
		return messages.ReasonStopped, true
	}
	defer func() {
		if p := recover(); p != nil {
			r.count("receive_panics")
			r.log.Error("delivering a message panicked", "target", m.Target.ID, "panic", fmt.Sprint(p))
			why, ok = messages.ReasonInternal, true
		}
	}()
	if !wait {
		if p, patient := (*rc).(Patient); patient {
			return p.TryReceive(m)
		}
	}
	return (*rc).Receive(m), true
}

func (r *Registry) undelivered(u Undelivered) {
	r.counters.undelivered(u.Reason)
	if u.Remote || u.Reason != messages.ReasonOverflow { // what did not fit was counted where it was dropped
		r.channelCounters(u.Channel).drop(u.Reason)
	}
	if rc := r.receiver.Load(); rc != nil {
		(*rc).Undelivered(u)
	}
}

func (r *Registry) lost(l Loss) {
	r.counters.add("lost")
	r.channelCounters(l.Channel).drops(messages.ReasonLost, l.To-l.From)
	if rc := r.receiver.Load(); rc != nil {
		(*rc).Lost(l)
	}
}

// overlayInbound hands an overlay's frame to its host. The first frame of an
// instance on a session on which that instance has no hold counts as LinkUp.
// The backlog of hosts is bounded: beyond it frames are dropped, counted.
func (r *Registry) overlayInbound(s *Session, o frame.Overlay) {
	host := r.host(o.Instance)
	if host == nil {
		r.count("overlay_unknown")
		return
	}
	if f := r.intercept.Load(); f != nil {
		v := (*f)(Packet{From: s.peer.Name, To: r.Self().Name, Overlay: o.Instance, Type: o.Type})
		if v != Pass {
			o.Body = append([]byte(nil), o.Body...)
			r.judge(v, func() messages.Reason { r.toHost(s, host, o); return "" })
			return
		}
	}
	r.toHost(s, host, o)
}

func (r *Registry) toHost(s *Session, host *actor.PID, o frame.Overlay) {
	if r.backlog.Add(1) > int64(r.limits().ControlBacklog) {
		r.backlog.Add(-1)
		r.count("overlay_overflow")
		return
	}
	up, number, ok := r.holds.pass(s, o.Instance)
	if !ok {
		r.backlog.Add(-1)
		r.count("overlay_unlinked")
		return
	}
	if up != nil {
		r.cfg.System.Root.Send(host, up)
	}
	r.cfg.System.Root.Send(host, &messages.OverlayInbound{
		From: nodeRef(s.peer), Overlay: o.Instance, Type: o.Type, Body: append([]byte(nil), o.Body...), Number: number,
	})
}

// OverlayDone tells that a host has taken an overlay's frame, or that it was dropped.
func (r *Registry) OverlayDone(m *messages.OverlayInbound) {
	r.backlog.Add(-1)
	r.holds.taken(lifeOf(peerOf(m.GetFrom())), m.GetOverlay(), m.GetNumber())
}

// OverlaySeen returns the number of the last frame of a peer that an overlay's host has
// taken, for Disconnect.
func (r *Registry) OverlaySeen(instance string, peer overlay.Peer) uint64 {
	return r.holds.seen(lifeOf(peer), instance)
}

// ControlDone tells that a runtime message was taken.
func (r *Registry) ControlDone() { r.backlog.Add(-1) }

func (r *Registry) controlInbound(s *Session, c frame.Control) {
	host := r.runtime.Load()
	if host == nil {
		r.count("control_unbound")
		return
	}
	if r.backlog.Add(1) > int64(r.limits().ControlBacklog) {
		r.backlog.Add(-1)
		r.count("overlay_overflow")
		return
	}
	r.cfg.System.Root.Send(host, &messages.ControlInbound{From: nodeRef(s.peer), Type: c.Type, Body: append([]byte(nil), c.Body...)})
}

// tell sends a report or an order to the manager.
func (r *Registry) tell(m any) {
	if pid := r.manager.Load(); pid != nil {
		r.cfg.System.Root.Send(pid, m)
	}
}

// askLink asks the manager for a data link: a lane has something to send.
func (r *Registry) askLink(s *Session, index uint8, control bool) {
	if !control {
		r.tell(&messages.OpenLink{Peer: nodeRef(s.peer), Index: uint32(index)})
	}
}
