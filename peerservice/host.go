package peerservice

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// answerWithin is how long the channel manager may take to answer a Connect. A
// dial with its handshake takes far less; an answer that has not come by then
// was lost with an actor that failed. Our choice.
const answerWithin = 30 * time.Second

// host drives one machine as an actor: it translates messages into events and
// executes effects, in order, before the next event (contract 2). It takes no
// decision of its own. When it fails it is restarted with a fresh machine from
// its factory, and started tells the rest of the runtime, which feeds the new
// machine what stands.
type host struct {
	instance string
	registry *channelmgr.Registry
	system   *actor.ActorSystem
	channels *actor.PID // the channel manager
	fresh    func() (overlay.Machine, error)
	notify   func(notice any)
	started  func()
	reject   func(overlay.Peer, messages.Reason)
	count    func(name string)
	log      *slog.Logger
	slack    time.Duration // see clock

	machine   overlay.Machine
	neighbors map[string]overlay.Peer // as the machine notified
	out       overlay.Effects
	clock     clock
	self      *actor.PID
}

// Messages to a host, inside the process only, besides events.
type (
	// export asks a host to notify what its function finds in the machine.
	export struct {
		look func(overlay.Machine) any
	}
	// standing asks a host to notify the neighbors that stand.
	standing struct{}
	// neighbors are they.
	neighbors []overlay.Peer
	// publish is an order to broadcast; done is called when it was taken.
	publish struct {
		overlay.Publish
		done func()
	}
	// renew begins with a fresh machine: one that has left does nothing more.
	renew struct{}
)

// Receive implements actor.Actor.
func (h *host) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		h.self = c.Self()
		h.begin()
	case *actor.Stopping, *actor.Restarting:
		h.clock.stop()
	case *messages.LinkUp:
		h.answered(m.GetPeer(), m.GetContact())
		h.feed(overlay.LinkUp{Peer: peerOf(m.GetPeer()), Generation: m.GetGeneration(), Known: m.GetKnown(), Contact: m.GetContact(), Inbound: m.GetInbound()})
	case *messages.LinkDown:
		h.answered(m.GetPeer(), m.GetContact())
		h.feed(overlay.LinkDown{Peer: peerOf(m.GetPeer()), Reason: messages.Reason(m.GetReason()), Known: m.GetKnown(), Contact: m.GetContact(), Dial: m.GetDial()})
	case *messages.OverlayInbound:
		h.registry.OverlayDone(m)
		h.inbound(m)
	case fired:
		h.onFired(m)
	case *messages.Measured:
		h.feed(overlay.Measured{Peer: peerOf(m.GetPeer()), Cost: time.Duration(m.GetCostNs())})
	case export:
		h.notify(m.look(h.machine))
	case standing:
		h.notify(neighbors(slices.SortedFunc(maps.Values(h.neighbors), overlay.Peer.Compare)))
	case renew:
		h.clock.stop()
		h.begin()
	case publish:
		defer m.done()
		h.feed(m.Publish)
	case overlay.Event:
		h.feed(m)
	}
}

// begin starts a fresh machine.
func (h *host) begin() {
	machine, err := h.fresh()
	if err != nil {
		panic(fmt.Sprintf("peerservice: %s: %v", h.instance, err))
	}
	h.machine, h.neighbors = machine, make(map[string]overlay.Peer)
	root, self := h.system.Root, h.self
	h.clock.start(h.slack, func(f fired) { root.Send(self, f) })
	h.step(overlay.Start{})
	h.started()
}

func (h *host) inbound(m *messages.OverlayInbound) {
	from := peerOf(m.GetFrom())
	msg, err := messages.DecodeControl(m.GetType(), m.GetBody())
	if err != nil {
		h.log.Debug("an overlay's message could not be decoded", "overlay", h.instance, "from", from.Name, "error", err)
		h.reject(from, messages.ReasonMalformed)
		return
	}
	h.feed(overlay.Received{From: from, Msg: msg})
}

// feed feeds an event, after Resumed if this process turns out to have been
// suspended: whatever came first after it must not be judged by deadlines that
// passed meanwhile.
func (h *host) feed(ev overlay.Event) {
	h.resume(nil)
	h.step(ev)
}

// resume tells the machine if this process was suspended. f is the timer that
// fired, if one did.
func (h *host) resume(f *timer) {
	if late := h.clock.late(f); late > 0 {
		h.count("resumed")
		h.log.Warn("this process was suspended or starved; deadlines begin anew", "overlay", h.instance, "late", late.String())
		h.step(overlay.Resumed{Gap: late})
	}
}

func (h *host) onFired(f fired) {
	if !h.clock.valid(f) {
		return
	}
	h.resume(f.t)
	if !h.clock.valid(f) {
		return // the machine set or cancelled it anew
	}
	delete(h.clock.timers, f.timerKey)
	if f.connect != (overlay.Peer{}) {
		h.count("unanswered_connects")
		down := overlay.LinkDown{Peer: f.connect, Reason: messages.ReasonTimeout, Dial: true}
		if f.connect.IsContact() {
			down.Contact = f.connect.Addr
		}
		h.step(down)
		return
	}
	h.step(overlay.Fired{Timer: f.timer})
}

// step feeds one event and executes what the machine asks for.
func (h *host) step(ev overlay.Event) {
	h.out.Reset()
	h.machine.Step(h.clock.now(), ev, &h.out)
	if checked {
		if c, ok := h.machine.(overlay.Checker); ok {
			if err := c.Check(); err != nil {
				panic(err)
			}
		}
	}
	for _, e := range h.out.All() {
		h.execute(e)
	}
}

func (h *host) execute(e overlay.Effect) {
	switch e.Kind {
	case overlay.EffectNone:
	case overlay.EffectSend:
		if err := h.registry.SendOverlay(h.instance, e.Peer, e.Msg); err != nil {
			h.count("unsent_" + h.instance)
			h.log.Debug("an overlay's message was not sent", "overlay", h.instance, "to", e.Peer.Name, "error", err)
		}
	case overlay.EffectConnect:
		h.system.Root.Send(h.channels, &messages.Connect{Owner: h.instance, Peer: nodeRef(e.Peer)})
		h.clock.set(timerKey{connect: awaited(e.Peer)}, answerWithin)
	case overlay.EffectDisconnect:
		h.clock.cancel(timerKey{connect: awaited(e.Peer)})
		h.system.Root.Send(h.channels, &messages.Disconnect{
			Owner: h.instance, Peer: nodeRef(e.Peer), Reason: string(e.Reason), Seen: h.registry.OverlaySeen(h.instance, e.Peer),
		})
	case overlay.EffectSetTimer:
		h.clock.set(timerKey{timer: e.Timer}, e.After)
	case overlay.EffectCancelTimer:
		h.clock.cancel(timerKey{timer: e.Timer})
	case overlay.EffectNotify:
		switch n := e.Notice.(type) {
		case overlay.NeighborUp:
			h.neighbors[n.Peer.Name] = n.Peer
		case overlay.NeighborDown:
			if h.neighbors[n.Peer.Name].Same(n.Peer) {
				delete(h.neighbors, n.Peer.Name)
			}
		}
		h.notify(e.Notice)
	case overlay.EffectReject:
		h.reject(e.Peer, e.Reason)
	case overlay.EffectMeasure:
		h.system.Root.Send(h.channels, &messages.Measure{Owner: h.instance, Peer: nodeRef(e.Peer)})
	default:
		h.count("unsupported_effects")
	}
}

// awaited is the peer by which the answer to a Connect is recognized: its
// address may have changed until then.
func awaited(p overlay.Peer) overlay.Peer {
	if !p.IsContact() {
		p.Addr = ""
	}
	return p
}

// answered ends the wait for the answer to a Connect.
func (h *host) answered(n *messages.NodeRef, contact string) {
	if contact != "" {
		h.clock.cancel(timerKey{connect: overlay.Peer{Addr: contact}})
	}
	if n.GetName() != "" {
		h.clock.cancel(timerKey{connect: awaited(peerOf(n))})
	}
}

func nodeRef(p overlay.Peer) *messages.NodeRef {
	return &messages.NodeRef{Name: p.Name, Incarnation: uint64(p.Incarnation), Addr: p.Addr}
}

func peerOf(n *messages.NodeRef) overlay.Peer {
	return overlay.Peer{Name: n.GetName(), Incarnation: overlay.Incarnation(n.GetIncarnation()), Addr: n.GetAddr()}
}
