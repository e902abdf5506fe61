package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/overlay"
)

// flowOptions are what a PID can be bound to.
type flowOptions struct {
	channel string
	reply   string // the channel that the PID came on as a sender
	urgency channelmgr.Priority
	key     string
	timeout time.Duration
	ack     bool
	label   string
}

type sendOptions struct {
	flowOptions
	sender *actor.PID
	header map[string]string
}

// SendOption refines one send.
type SendOption interface{ applySend(*sendOptions) }

// FlowOption refines a send, or all sends through a PID that was bound to it.
type FlowOption interface {
	SendOption
	applyFlow(*flowOptions)
}

type flowOption func(*flowOptions)

func (f flowOption) applySend(o *sendOptions) { f(&o.flowOptions) }
func (f flowOption) applyFlow(o *flowOptions) { f(o) }

type sendOption func(*sendOptions)

func (f sendOption) applySend(o *sendOptions) { f(o) }

// WithChannel sends on a named channel, whatever the rules and the message's
// type say.
func WithChannel(name string) FlowOption {
	return flowOption(func(o *flowOptions) { o.channel = name })
}

// WithUrgency sets what routing rules by urgency look at: High, Medium (the
// default) or Low. Without such rules it changes nothing.
func WithUrgency(u Priority) FlowOption {
	return flowOption(func(o *flowOptions) { o.urgency = u })
}

// WithPartitionKey keeps all messages of one key on one channel to one node in
// order, whatever their targets.
func WithPartitionKey(key string) FlowOption {
	return flowOption(func(o *flowOptions) { o.key = key })
}

// WithAck has messages delivered at least once, without duplicates, whatever the
// channel's delivery is: they are kept until the other node confirms them and
// sent again over another link. On a channel whose delivery is AtMostOnce they
// travel on a twin of it: they keep their order among themselves, not with what is
// sent on the channel without it. A send does not wait for the confirmation, see
// Deliver.
func WithAck() FlowOption {
	return flowOption(func(o *flowOptions) { o.ack = true })
}

// WithCausalLabel has messages delivered in causal order: on each node, those of
// the label come after all of the label that were sent or delivered before they
// were sent, on whatever nodes. On a channel whose ordering is not Causal they
// travel on a twin of it. They are delivered at least once, without duplicates.
func WithCausalLabel(label string) FlowOption {
	return flowOption(func(o *flowOptions) { o.label = label })
}

// WithTimeout bounds how long a message may wait for room in a queue before it
// is undelivered. For Call it bounds the whole exchange.
func WithTimeout(d time.Duration) FlowOption {
	return flowOption(func(o *flowOptions) { o.timeout = d })
}

// WithSender names whom Respond answers.
func WithSender(pid *actor.PID) SendOption {
	return sendOption(func(o *sendOptions) { o.sender = pid })
}

// WithHeader adds an entry to the message's header.
func WithHeader(key, value string) SendOption {
	return sendOption(func(o *sendOptions) {
		if o.header == nil {
			o.header = make(map[string]string)
		}
		o.header[key] = value
	})
}

// PID returns a PID of an actor on a node, whichever life of the node is
// current. On this node it is the plain local PID. With options it is bound,
// as by Bind.
func (d *Distribution) PID(node, name string, opts ...FlowOption) *actor.PID {
	pid := actor.NewPID(node, name)
	if node == d.registry.Self().Name {
		pid.Address = d.address
	}
	return d.Bind(pid, opts...)
}

// Bind returns an equal PID through which every send, by whatever verb of
// protoactor and of Distribution, uses the options; those that the PID was bound
// to before stay where they are not given again, and a single send's go before
// both. A copy made by proto.Clone is not bound. A PID of a local actor is returned
// as it is: options concern what travels.
//
// It works since a PID keeps the process that its first use resolved to: that
// first use happens here.
func (d *Distribution) Bind(pid *actor.PID, opts ...FlowOption) *actor.PID {
	if len(opts) == 0 || d.isLocal(pid.Address) {
		return pid
	}
	o := d.processOf(pid).flow
	for _, opt := range opts {
		opt.applyFlow(&o)
	}
	return d.bind(pid, o)
}

func (d *Distribution) bind(pid *actor.PID, o flowOptions) *actor.PID {
	base := d.process(pid.Address)
	bound := &process{d: d, node: base.node, incarnation: base.incarnation, addr: base.addr, current: base.current, flow: o}
	out := &actor.PID{Address: pid.Address, Id: pid.Id, RequestId: pid.RequestId}
	binding := &binding{process: bound}
	out.Address = binding.register(d)
	// Any use of the PID resolves it; this message goes nowhere.
	d.root.Send(out, binding)
	binding.release(d)
	out.Address = pid.Address
	return out
}

// bindSender is called for senders of messages that came on a channel: an
// answer rides its question's channel, unless its type or a rule says otherwise.
func (d *Distribution) bindSender(pid *actor.PID, channel string) *actor.PID {
	if channel == channelmgr.DataChannel || d.isLocal(pid.Address) {
		return pid
	}
	return d.bind(pid, flowOptions{reply: channel})
}

// isLocal reports whether an address means this node.
func (d *Distribution) isLocal(address string) bool {
	return address == d.address || address == "" || (*d.aliases.Load())[address]
}

// NodeOf returns the name of the node that a PID's actor lives on. It reports
// false for an address that no known member has.
func (d *Distribution) NodeOf(pid *actor.PID) (node string, ok bool) {
	if d.isLocal(pid.Address) {
		return d.registry.Self().Name, true
	}
	p := d.process(pid.Address)
	if s, _ := p.session(); s != nil {
		return s.Peer().Name, true
	}
	if m, ok := d.service.Lookup(p.node); ok {
		return m.Peer.Name, true
	}
	return "", false
}

// peerOfAddress takes an address apart.
func peerOfAddress(address string) (overlay.Peer, bool) { return channelmgr.ParsePIDAddress(address) }
