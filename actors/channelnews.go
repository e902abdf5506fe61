package actors

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// ChannelDrift tells that another node's configuration describes a channel
// otherwise than this one's. Both go on: the sender's spec governs. SetChannel
// makes the channel the same everywhere.
type ChannelDrift struct {
	seq
	Node         string
	Ours, Theirs ChannelSpec
}

type driftNote channelmgr.Drift

func (n driftNote) event(s seq) Event { return &ChannelDrift{s, n.Node, n.Ours, n.Theirs} }

// drifts are the differences that were published, so that each is once.
type drifts struct {
	mu sync.Mutex
	m  map[string]string // node and channel -> what they say
}

// maxDrifts bounds how many differences are remembered.
const maxDrifts = 1024

// isNew reports whether a difference was not published yet.
func (d *drifts) isNew(x channelmgr.Drift) bool {
	k, v := x.Node+"\x00"+x.Theirs.Name, fmt.Sprint(x.Ours, x.Theirs)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.m[k] == v {
		return false
	}
	if d.m == nil || len(d.m) >= maxDrifts {
		d.m = make(map[string]string)
	}
	d.m[k] = v
	return true
}

// SetChannel adds or changes a channel on all nodes. It is changed here when
// SetChannel returns, and elsewhere as soon as the news arrives; nodes that join
// later or were cut off learn it when they are linked. Of several changes the
// last stands, over what a node's configuration says too. What is queued stays
// in order and is not lost. An error says what is wrong with the spec, or that
// the news did not leave this node within ctx.
//
// Delivery, Ordering and DropOldest of a channel cannot change.
func (d *Distribution) SetChannel(ctx context.Context, spec ChannelSpec) error {
	if d.stopped.Load() {
		return ErrStopped
	}
	news, err := d.registry.SetChannel(spec)
	if err != nil {
		return err
	}
	return d.spread(ctx, news)
}

// RemoveChannel removes a channel on all nodes, as SetChannel adds one. What is
// queued on it is still delivered; a send fails with ErrUnknownChannel. The
// channels "control" and "data" cannot be removed, nor one that a routing rule
// of this node names.
func (d *Distribution) RemoveChannel(ctx context.Context, name string) error {
	if d.stopped.Load() {
		return ErrStopped
	}
	news, err := d.registry.RemoveChannel(name)
	if err != nil {
		return err
	}
	return d.spread(ctx, news)
}

// spread tells all nodes of a change of channels.
func (d *Distribution) spread(ctx context.Context, news *messages.ChannelNews) error {
	body, err := proto.Marshal(news)
	if err != nil {
		return err
	}
	data, err := proto.Marshal(&messages.Broadcast{Channel: channelmgr.ControlChannel, Type: channelNews, Body: body})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, broadcastWait)
	defer cancel()
	return d.service.Broadcast(ctx, "", data)
}

// channelCast takes what was broadcast about channels.
func (d *Distribution) channelCast(origin overlay.Peer, m *messages.Broadcast) {
	msg, err := messages.DecodeControl(m.GetType(), m.GetBody())
	news, ok := msg.(*messages.ChannelNews)
	if err != nil || !ok {
		d.counts.add("broadcast_malformed")
		return
	}
	d.learnChannels(origin.Name, news)
}

// learnChannels takes what a node says of the channels, and returns what of it
// was news and what it asked for.
func (d *Distribution) learnChannels(from string, m *messages.ChannelNews) (news, answer []*messages.ChannelNews) {
	news, answer, drift, err := d.registry.LearnChannels(from, m)
	if err != nil {
		d.counts.add("channels_refused")
		d.opts.logger.Warn("what another node says of channels is left out in part", "node", from, "error", err)
	}
	for _, x := range drift {
		if !d.drifts.isNew(x) {
			continue
		}
		d.counts.add("channels_drifted")
		d.opts.logger.Warn("another node's configuration describes a channel otherwise", "channel", x.Ours.Name, "node", from)
		if d.groups.ready.Load() {
			d.service.Note(driftNote(x))
		}
	}
	return news, answer
}

// compareChannels has the other side of a fresh link compare what it knows of
// channels. One side asks.
func (d *Distribution) compareChannels(p overlay.Peer) {
	if s := d.registry.Session(p.Name); s != nil && d.registry.Self().Name < p.Name {
		_ = s.SendControl(d.registry.ChannelDigest())
	}
}

// digestChannels has all that are linked compare what they know of channels.
func (d *Distribution) digestChannels() {
	for _, s := range d.registry.Sessions() {
		if s.Linked() {
			_ = s.SendControl(d.registry.ChannelDigest())
		}
	}
}

// onChannels takes messages of another node's runtime about channels.
func (d *Distribution) onChannels(s *channelmgr.Session, m proto.Message) {
	var answer []*messages.ChannelNews
	switch m := m.(type) {
	case *messages.ChannelDigest:
		answer = d.registry.CompareChannels(m)
	case *messages.ChannelNews:
		var news []*messages.ChannelNews
		if news, answer = d.learnChannels(s.Peer().Name, m); len(news) > 0 && d.groups.ready.Load() {
			d.pump(func() { // others on this side of what was a cut have not heard either
				for _, page := range news {
					_ = d.spread(d.ctx, page)
				}
			})
		}
	}
	for _, page := range answer {
		_ = s.SendControl(page)
	}
}
