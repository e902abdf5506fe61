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

// ForwardMessage sends to a PID with options; it is Partisan's name. An error
// means that the message did not leave this node.
func (d *Distribution) ForwardMessage(pid *actor.PID, msg any, opts ...SendOption) error {
	if d.stopped.Load() && !d.isLocal(pid.Address) {
		return ErrStopped
	}
	var o sendOptions
	for _, opt := range opts {
		opt.applySend(&o)
	}
	if d.isLocal(pid.Address) {
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
	p := d.process(pid.Address)
	out := channelmgr.Outgoing{Channel: o.channel, Key: o.key, Timeout: o.timeout, Sender: o.sender, Header: o.header, Msg: msg}
	err := p.deliver(pid, &out)
	if err == nil {
		return nil
	}
	why := reasonOf(err)
	d.undelivered(pid, p.node, &out, why)
	var cause error
	var se *channelmgr.SendError
	if errors.As(err, &se) {
		cause = se.Err
	}
	return nodeError(p.node, why, cause)
}
