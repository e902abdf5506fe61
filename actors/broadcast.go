package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/peerservice"
)

// broadcastWait bounds how long Broadcast waits for room.
const broadcastWait = channelmgr.DefaultBlockTimeout

// subscribers are the actors of this node that hear broadcasts, by channel.
type subscribers struct {
	mu sync.RWMutex
	m  map[string][]*actor.PID
}

// Broadcast sends a message to all subscribers of a channel on all nodes, this
// one included. It travels over the overlay's broadcast tree: each node passes
// it on to a few others. The broadcasts of one node arrive in their order, each
// at most once; a node that was cut off gets what it missed if it is back
// within a minute, and the last 1,024 messages or 16 MiB at most.
//
// A channel is no topic: subscribers of a topic are a Group.
//
// An error means that the message did not leave: ErrUnknownChannel, ErrTooLarge
// beyond 4 MiB, ErrNoCodec, ErrOverflow when broadcasts are made faster than
// they leave for longer than the block timeout, ErrStopped. Of the options
// WithSender, WithHeader and WithTimeout (for room) have a meaning here.
func (d *Distribution) Broadcast(channel string, msg any, opts ...SendOption) error {
	if d.stopped.Load() {
		return ErrStopped
	}
	spec, err := d.channel(channel)
	if err != nil {
		return err
	}
	var o sendOptions
	for _, opt := range opts {
		opt.applySend(&o)
	}
	typ, err := d.types.Of(msg)
	if err != nil {
		return &NodeError{Reason: messages.ReasonNoCodec, Err: err}
	}
	body, err := encode(typ, msg)
	if err != nil {
		return &NodeError{Reason: messages.ReasonNoCodec, Err: err}
	}
	m := &messages.Broadcast{Channel: channel, Type: typ.Name, Body: body, Header: o.header}
	if o.sender != nil {
		m.SenderAddress, m.Sender = o.sender.Address, o.sender.Id
		if d.isLocal(m.SenderAddress) {
			m.SenderAddress = d.address
		}
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return &NodeError{Reason: messages.ReasonNoCodec, Err: err}
	}
	wait := o.timeout
	if wait <= 0 {
		wait = broadcastWait
	}
	ctx, cancel := context.WithTimeout(d.ctx, wait)
	defer cancel()
	switch err := d.service.Broadcast(ctx, spec.Overlay, data); {
	case err == nil:
		return nil
	case errors.Is(err, peerservice.ErrBroadcastTooLarge):
		return &NodeError{Reason: messages.ReasonTooLarge, Err: fmt.Errorf("%w: it has %d", err, len(data))}
	case errors.Is(err, peerservice.ErrBroadcastOverflow) && d.ctx.Err() == nil:
		return &NodeError{Reason: messages.ReasonOverflow, Err: err}
	default:
		return ErrStopped
	}
}

// encode encodes a message. Code of the application runs here: its panic is an
// error.
func encode(typ *messages.Type, msg any) (b []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("encoding %s panicked: %v", typ.Name, r)
		}
	}()
	return typ.Append(nil, msg)
}

// channel finds the spec of a channel that applications may use.
func (d *Distribution) channel(name string) (ChannelSpec, error) {
	for _, c := range d.registry.Channels() {
		if c.Name == name {
			return c, nil
		}
	}
	return ChannelSpec{}, fmt.Errorf("%w: %q", ErrUnknownChannel, name)
}

// SubscribeBroadcast has a local actor hear the broadcasts on a channel, until
// cancel is called or the actor stops. Each subscription hears each broadcast
// once; broadcasts of one node come in their order.
func (d *Distribution) SubscribeBroadcast(channel string, pid *actor.PID) (cancel func(), err error) {
	if _, err := d.channel(channel); err != nil {
		return nil, err
	}
	if !d.isLocal(pid.Address) {
		return nil, fmt.Errorf("maquis: %s is no actor of this node; subscribe where it lives", pid)
	}
	d.subs.mu.Lock()
	defer d.subs.mu.Unlock()
	d.subs.m[channel] = append(slices.Clone(d.subs.m[channel]), pid)
	return func() { d.unsubscribe(channel, pid) }, nil
}

func (d *Distribution) unsubscribe(channel string, pid *actor.PID) {
	d.subs.mu.Lock()
	defer d.subs.mu.Unlock()
	var rest []*actor.PID
	for _, p := range d.subs.m[channel] {
		if p != pid {
			rest = append(rest, p)
		}
	}
	d.subs.m[channel] = rest
}

// broadcast hands a broadcast to the subscribers here.
func (d *Distribution) broadcast(origin overlay.Peer, data []byte) {
	m := &messages.Broadcast{}
	if err := proto.Unmarshal(data, m); err != nil {
		d.counts.add("broadcast_malformed")
		return
	}
	d.subs.mu.RLock()
	list := d.subs.m[m.GetChannel()]
	d.subs.mu.RUnlock()
	if len(list) == 0 {
		return
	}
	typ, err := d.types.Lookup(m.GetType())
	if err != nil {
		d.counts.add("broadcast_unknown_type")
		return
	}
	msg, err := decode(typ, m.GetBody())
	if err != nil {
		d.counts.add("broadcast_malformed")
		return
	}
	switch msg.(type) {
	case actor.SystemMessage, actor.AutoReceiveMessage, actor.MessageBatch:
		d.counts.add("forbidden")
		return
	}
	d.counts.add("broadcasts")
	for _, pid := range list {
		if _, ok := d.system.ProcessRegistry.GetLocal(pid.Id); !ok {
			d.unsubscribe(m.GetChannel(), pid)
			continue
		}
		env := &actor.MessageEnvelope{Message: msg}
		if m.GetSender() != "" {
			env.Sender = &actor.PID{Address: m.GetSenderAddress(), Id: m.GetSender()}
		}
		for k, v := range m.GetHeader() {
			env.SetHeader(k, v)
		}
		d.root.Send(pid, env)
	}
}

// decode is encode's other half.
func decode(typ *messages.Type, body []byte) (msg any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decoding %s panicked: %v", typ.Name, r)
		}
	}()
	return typ.Decode(body)
}
