package peerservice

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// lateAfter is how much too late a timer fires in a process that was
// suspended or starved. Our choice.
const lateAfter = time.Second

// host drives one machine as an actor: it translates messages into events and
// executes effects, in order. It takes no decision of its own. When it fails
// it is restarted with a fresh machine from its factory.
type host struct {
	instance string
	registry *channelmgr.Registry
	system   *actor.ActorSystem
	make     func() (overlay.Machine, error)
	notify   func(notice any)
	started  func() // called after each (re)start
	reject   func(overlay.Peer, messages.Reason)
	log      *slog.Logger

	machine overlay.Machine
	began   time.Time
	out     overlay.Effects
	timers  map[overlay.Timer]*timer
	self    *actor.PID
	manager *actor.PID
	nextGen uint64
}

type timer struct {
	gen uint64
	due time.Duration
	t   *time.Timer
}

// fired is the message of a timer to its host.
type fired struct {
	key overlay.Timer
	gen uint64
}

// Receive implements actor.Actor.
func (h *host) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		h.self = c.Self()
		machine, err := h.make()
		if err != nil {
			panic(fmt.Sprintf("peerservice: %s: %v", h.instance, err))
		}
		h.machine = machine
		h.began = time.Now()
		h.timers = make(map[overlay.Timer]*timer)
		h.registry.BindOverlay(h.instance, h.self)
		h.step(overlay.Start{})
		h.started()
	case *actor.Stopping, *actor.Restarting:
		for _, t := range h.timers {
			t.t.Stop()
		}
		h.timers = nil
	case *messages.LinkUp:
		h.step(overlay.LinkUp{Peer: peerOf(m.GetPeer()), Generation: m.GetGeneration(), Known: m.GetKnown(), Contact: m.GetContact(), Inbound: m.GetInbound()})
	case *messages.LinkDown:
		h.step(overlay.LinkDown{Peer: peerOf(m.GetPeer()), Reason: messages.Reason(m.GetReason()), Known: m.GetKnown(), Contact: m.GetContact(), Dial: m.GetDial()})
	case *messages.OverlayInbound:
		h.registry.OverlayDone(1)
		from := peerOf(m.GetFrom())
		msg, err := messages.DecodeControl(m.GetType(), m.GetBody())
		if err != nil {
			h.reject(from, messages.ReasonMalformed)
			return
		}
		h.step(overlay.Received{From: from, Msg: msg})
	case fired:
		h.onFired(m)
	case overlay.Event:
		h.step(m)
	}
}

func (h *host) now() time.Duration { return time.Since(h.began) }

func (h *host) onFired(m fired) {
	t := h.timers[m.key]
	if t == nil || t.gen != m.gen {
		return
	}
	if late := h.now() - t.due; late > lateAfter {
		h.log.Warn("this process was suspended or starved", "late", late.String())
		h.step(overlay.Resumed{Gap: late})
		if t = h.timers[m.key]; t == nil || t.gen != m.gen {
			return // the machine set or cancelled it anew
		}
	}
	delete(h.timers, m.key)
	h.step(overlay.Fired{Timer: m.key})
}

// step feeds one event and executes what the machine asks for.
func (h *host) step(ev overlay.Event) {
	h.out.Reset()
	h.machine.Step(overlay.Time(h.now()), ev, &h.out)
	if checked {
		if c, ok := h.machine.(overlay.Checker); ok {
			if err := c.Check(); err != nil {
				panic(err)
			}
		}
	}
	for _, e := range h.out.All() {
		switch e.Kind {
		case overlay.EffectSend:
			if err := h.registry.SendOverlay(h.instance, e.Peer, e.Msg); err != nil {
				h.log.Debug("an overlay's message was not sent", "overlay", h.instance, "to", e.Peer.Name, "error", err)
			}
		case overlay.EffectConnect:
			h.order(&messages.Connect{Owner: h.instance, Peer: nodeRef(e.Peer)})
		case overlay.EffectDisconnect:
			h.order(&messages.Disconnect{Owner: h.instance, Peer: nodeRef(e.Peer), Reason: string(e.Reason)})
		case overlay.EffectSetTimer:
			h.setTimer(e.Timer, e.After)
		case overlay.EffectCancelTimer:
			if t := h.timers[e.Timer]; t != nil {
				t.t.Stop()
				delete(h.timers, e.Timer)
			}
		case overlay.EffectNotify:
			h.notify(e.Notice)
		case overlay.EffectReject:
			h.reject(e.Peer, e.Reason)
		}
	}
}

func (h *host) order(m any) {
	if pid := h.registry.Manager(); pid != nil {
		h.system.Root.Send(pid, m)
	}
}

func (h *host) setTimer(key overlay.Timer, after time.Duration) {
	if old := h.timers[key]; old != nil {
		old.t.Stop()
	}
	h.nextGen++
	gen, self, root := h.nextGen, h.self, h.system.Root
	h.timers[key] = &timer{gen: gen, due: h.now() + after, t: time.AfterFunc(after, func() { root.Send(self, fired{key, gen}) })}
}

func nodeRef(p overlay.Peer) *messages.NodeRef {
	return &messages.NodeRef{Name: p.Name, Incarnation: uint64(p.Incarnation), Addr: p.Addr}
}

func peerOf(n *messages.NodeRef) overlay.Peer {
	return overlay.Peer{Name: n.GetName(), Incarnation: overlay.Incarnation(n.GetIncarnation()), Addr: n.GetAddr()}
}
