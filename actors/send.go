package actors

import (
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
)

// Send sends to the actor of that name on a node, whichever life of the node
// is current. An error means that the message did not leave this node; without
// one it may still come back as Undelivered.
func (d *Distribution) Send(node, name string, msg any, opts ...SendOption) error {
	if node == d.registry.Self().Name {
		return d.ForwardMessage(d.PID(node, name), msg, opts...)
	}
	if _, ok := d.service.Lookup(node); !ok && d.registry.Session(node) == nil {
		return nodeError(node, messages.ReasonUnknownNode, nil)
	}
	return d.ForwardMessage(actor.NewPID(node, name), msg, opts...)
}

// ForwardMessage sends to a PID with options, which win over those that the PID
// is bound to; it is Partisan's name. An error means that the message did not
// leave this node.
func (d *Distribution) ForwardMessage(pid *actor.PID, msg any, opts ...SendOption) error {
	p, o := d.optionsFor(pid, opts)
	if p == nil {
		return d.sendHere(pid, msg, &o)
	}
	out := o.outgoing(msg)
	return p.sendThere(pid, &out)
}

// optionsFor returns where a PID's actor is, nil if on this node, and the
// options of a send to it: the PID's, then those of the call.
func (d *Distribution) optionsFor(pid *actor.PID, opts []SendOption) (*process, sendOptions) {
	var o sendOptions
	var p *process
	if !d.isLocal(pid.Address) {
		p = d.processOf(pid)
		o.flowOptions = p.flow
	}
	for _, opt := range opts {
		opt.applySend(&o)
	}
	return p, o
}

// outgoing is a message to another node with these options.
func (o *sendOptions) outgoing(msg any) channelmgr.Outgoing {
	out := o.flowOptions.outgoing(msg)
	out.Sender, out.Header = o.sender, o.header
	return out
}

// outgoing is a message to another node with these options.
func (o *flowOptions) outgoing(msg any) channelmgr.Outgoing {
	return channelmgr.Outgoing{Channel: o.channel, Reply: o.reply, Urgency: o.urgency, Key: o.key, Timeout: o.timeout, Ack: o.ack, Label: o.label, Msg: msg}
}

// sendHere posts to an actor of this node.
func (d *Distribution) sendHere(pid *actor.PID, msg any, o *sendOptions) error {
	local := &actor.PID{Address: d.address, Id: pid.Id, RequestId: pid.RequestId}
	if _, ok := d.system.ProcessRegistry.GetLocal(pid.Id); !ok {
		d.deadLetter(local, msg, o.sender)
		return &NodeError{Node: d.registry.Self().Name, Reason: messages.ReasonNoSuchActor, Err: ErrDeadLetter}
	}
	if o.sender == nil && o.header == nil {
		d.root.Send(local, msg)
		return nil
	}
	env := &actor.MessageEnvelope{Message: msg, Sender: o.sender}
	for k, v := range o.header {
		env.SetHeader(k, v)
	}
	d.root.Send(local, env)
	return nil
}

// sendThere sends to an actor of another node. What does not leave is published
// as undelivered.
func (p *process) sendThere(pid *actor.PID, out *channelmgr.Outgoing) error {
	if p.d.stopped.Load() {
		return ErrStopped
	}
	err := p.deliver(pid, out)
	if err == nil {
		return nil
	}
	why := reasonOf(err)
	p.d.undelivered(pid, p.node, out, why)
	var cause error
	var se *channelmgr.SendError
	if errors.As(err, &se) {
		cause = se.Err
	}
	return nodeError(p.node, why, cause)
}
