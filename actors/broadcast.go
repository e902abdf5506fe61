package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

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
// within a minute, and the last 1,024 messages or 16 MiB at most. Of a node that
// was restarted nothing of the earlier life comes after something of the later
// one: what is late then is dropped and counted, as broadcast_past_life.
//
// On a channel with ordering Causal a subscriber gets them after all that
// happened before them: what subscribers on the sending node had got on the
// channel, and what that node had broadcast there. What of that a node misses is
// waited for for 15 seconds.
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
	spec, err := d.registry.Channel(channel)
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
	wait := o.timeout
	if wait <= 0 {
		wait = broadcastWait
	}
	if spec.Ordering == channelmgr.Causal {
		return d.castOrder(channel).cast(spec.Overlay, m, wait)
	}
	return d.cast(spec.Overlay, m, wait)
}

// broadcastControl sends a message to the runtimes of all nodes.
func (d *Distribution) broadcastControl(m proto.Message, body []byte) error {
	name := string(m.ProtoReflect().Descriptor().FullName())
	return d.cast("", &messages.Broadcast{Channel: channelmgr.ControlChannel, Type: name, Body: body}, time.Second)
}

func (d *Distribution) cast(overlay string, m *messages.Broadcast, wait time.Duration) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return &NodeError{Reason: messages.ReasonNoCodec, Err: err}
	}
	ctx, cancel := context.WithTimeout(d.ctx, wait)
	defer cancel()
	switch err := d.service.Broadcast(ctx, overlay, data); {
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

// SubscribeBroadcast has a local actor hear the broadcasts on a channel, until
// cancel is called or the actor stops. Each subscription hears each broadcast
// once; broadcasts of one node come in their order.
func (d *Distribution) SubscribeBroadcast(channel string, pid *actor.PID) (cancel func(), err error) {
	if _, err := d.registry.Channel(channel); err != nil {
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

// Types of what a node's runtime broadcasts.
const (
	groupDelta  = "maquis.v1.GroupDelta"  // of its groups
	channelNews = "maquis.v1.ChannelNews" // of channels that it has changed
)

// broadcast hands a broadcast to the subscribers here, or to our runtime.
func (d *Distribution) broadcast(origin overlay.Peer, data []byte) {
	m := &messages.Broadcast{}
	if err := proto.Unmarshal(data, m); err != nil {
		d.counts.add("broadcast_malformed")
		return
	}
	if m.GetChannel() == channelmgr.ControlChannel {
		switch m.GetType() {
		case groupDelta:
			d.groups.heard(origin, m.GetBody())
		case channelNews:
			d.channelCast(origin, m)
		default:
			d.counts.add("control_unknown")
		}
		return
	}
	if len(m.GetOrder()) > 0 {
		d.inOrder(origin, m, len(data))
		return
	}
	d.toSubscribers(d.subs.of(m.GetChannel()), m)
}

// of returns who hears the broadcasts on a channel.
func (s *subscribers) of(channel string) []*actor.PID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m[channel]
}

// toSubscribers hands a broadcast to subscribers.
func (d *Distribution) toSubscribers(list []*actor.PID, m *messages.Broadcast) {
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
