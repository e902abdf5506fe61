package actors

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// process stands for the actors of one node, or with an incarnation of one
// life of it. PIDs keep it for ever, so it holds no link: each send looks for
// the session of the moment, without a lock.
type process struct {
	d           *Distribution
	node        string // "" when only an address is known
	incarnation overlay.Incarnation
	addr        string
	current     *channelmgr.Current // nil for one of too many
	flow        flowOptions
	found       atomic.Pointer[string] // the member that had addr when last asked
}

var _ actor.Process = (*process)(nil)

// resolve is the address resolver of the process registry.
func (d *Distribution) resolve(pid *actor.PID) (actor.Process, bool) {
	if strings.HasPrefix(pid.Address, bindingPrefix) {
		if b, ok := bindings(d, pid.Address); ok {
			return b, true
		}
	}
	if d.isLocal(pid.Address) {
		return d.system.ProcessRegistry.GetLocal(pid.Id)
	}
	return d.process(pid.Address), true
}

// process returns the process of an address. A malformed address has one too,
// which finds nobody.
func (d *Distribution) process(address string) *process {
	if p, ok := d.processes.Load(address); ok {
		return p.(*process)
	}
	peer, _ := peerOfAddress(address)
	p := &process{d: d, node: peer.Name, incarnation: peer.Incarnation, addr: peer.Addr}
	if d.counts.processes.Add(1) > maxProcesses {
		return p // strangers' addresses are not kept for ever
	}
	p.current = d.registry.Current(peer.Name)
	kept, _ := d.processes.LoadOrStore(strings.Clone(address), p)
	return kept.(*process)
}

// maxProcesses bounds how many addresses are remembered.
const maxProcesses = 1 << 17

// session returns the session that reaches the process, or why there is none.
func (p *process) session() (*channelmgr.Session, Reason) {
	var s *channelmgr.Session
	if p.current != nil {
		s = p.current.Session()
	} else {
		s = p.d.registry.Session(p.node)
	}
	if s == nil && p.node == "" && p.addr != "" {
		if name := p.byAddress(); name != "" {
			var why Reason
			if s, why = p.d.service.Session(name); s == nil {
				return nil, why
			}
		}
	}
	switch {
	case s != nil && (p.incarnation == 0 || s.Peer().Incarnation == p.incarnation):
		return s, ""
	case p.d.stopped.Load():
		return nil, messages.ReasonStopped
	case s != nil:
		return nil, messages.ReasonPastLife
	}
	m, ok := p.d.service.Lookup(p.node)
	switch {
	case !ok:
		return nil, messages.ReasonUnknownNode
	case p.incarnation != 0 && m.Peer.Incarnation != p.incarnation:
		return nil, messages.ReasonPastLife
	}
	return p.d.service.Session(p.node)
}

// SendUserMessage implements actor.Process.
func (p *process) SendUserMessage(pid *actor.PID, message any) {
	o := p.flow.outgoing(message)
	switch m := message.(type) {
	case *actor.MessageEnvelope:
		o.Msg, o.Sender = m.Message, m.Sender
		if len(m.Header) > 0 {
			o.Header = m.Header
		}
	case *which:
		m.process = p
		return
	}
	p.send(pid, &o)
}

// which is a message that goes nowhere: it asks what a PID has resolved to,
// which no other way tells.
type which struct{ process *process }

var whiches = sync.Pool{New: func() any { return new(which) }}

// processOf returns the process of a PID that is not local, with what the PID
// is bound to.
func (d *Distribution) processOf(pid *actor.PID) *process {
	w := whiches.Get().(*which)
	d.root.Send(pid, w)
	p := w.process
	if p == nil || p.d != d { // resolved before it was ours, or by another node of this program
		return d.process(pid.Address)
	}
	w.process = nil
	whiches.Put(w)
	return p
}

// send sends a message; what cannot be sent is undelivered.
func (p *process) send(pid *actor.PID, o *channelmgr.Outgoing) {
	if err := p.deliver(pid, o); err != nil {
		p.d.undelivered(pid, p.node, o, reasonOf(err))
	}
}

// deliver sends a message, or returns why not.
func (p *process) deliver(pid *actor.PID, o *channelmgr.Outgoing) error {
	s, why := p.session()
	if s == nil {
		return &channelmgr.SendError{Node: cmp.Or(p.node, p.addr), Reason: why}
	}
	o.Target, o.TargetRequest = pid.Id, pid.RequestId
	if o.Timeout > 0 {
		o.Wait = o.Timeout
	}
	switch o.Msg.(type) {
	case *actor.PoisonPill, *actor.DeadLetterResponse:
		o.NoBlock = true
	default:
		if isTransient(pid.Id) {
			o.NoBlock = true // a reply to a future is neither blocked nor shed
		}
	}
	if o.Sender != nil && o.Sender.Address != p.d.address && p.d.isLocal(o.Sender.Address) {
		// Others know this node by its address of now, not by an alias.
		o.Sender = &actor.PID{Address: p.d.address, Id: o.Sender.Id, RequestId: o.Sender.RequestId}
	}
	if o.Sender != nil && isFuture(o.Sender.Id) && p.d.isLocal(o.Sender.Address) {
		p.d.pending.add(s.Peer(), o.Sender.Id)
	}
	return s.Send(o) // an ended session refuses: no future is added to one unseen
}

func isFuture(id string) bool    { return strings.HasPrefix(id, "future$") }
func isTransient(id string) bool { return isFuture(id) || strings.HasPrefix(id, "call$") }

// SendSystemMessage implements actor.Process. It never blocks.
func (p *process) SendSystemMessage(pid *actor.PID, message any) {
	switch m := message.(type) {
	case *actor.Watch:
		p.d.watches.watch(p, pid, m.Watcher)
	case *actor.Unwatch:
		p.d.watches.unwatch(p, pid, m.Watcher)
	case *actor.Terminated:
		p.d.watches.terminated(p, pid, m)
	case *actor.Stop:
		o := p.flow.outgoing(m)
		o.System, o.NoBlock = true, true
		p.send(pid, &o)
	default:
		p.d.counts.add("system_refused")
		p.d.opts.logger.Error("a system message cannot leave its node", "target", pid.String(), "type", fmt.Sprintf("%T", message))
	}
}

// Stop implements actor.Process.
func (p *process) Stop(pid *actor.PID) { p.SendSystemMessage(pid, &actor.Stop{}) }

// bindingPrefix begins the private addresses under which PIDs are resolved
// while they are being bound.
const bindingPrefix = "\x00bind "

// binding is a process that swallows the message by which a PID is bound and
// from then on is the bound process.
type binding struct {
	*process
	token string
}

var bindingTokens atomic.Uint64

func (b *binding) register(d *Distribution) string {
	b.token = bindingPrefix + strconv.FormatUint(bindingTokens.Add(1), 36)
	d.processes.Store(b.token, b)
	return b.token
}

func (b *binding) release(d *Distribution) { d.processes.Delete(b.token) }

func bindings(d *Distribution, token string) (*binding, bool) {
	v, ok := d.processes.Load(token)
	if !ok {
		return nil, false
	}
	b, ok := v.(*binding)
	return b, ok
}

// SendUserMessage implements actor.Process.
func (b *binding) SendUserMessage(pid *actor.PID, message any) {
	if message == b {
		return
	}
	b.process.SendUserMessage(pid, message)
}
