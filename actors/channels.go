package actors

import (
	"fmt"

	"github.com/maquis-go/maquis/channelmgr"
)

// What describes a channel; see package channelmgr.
type (
	// ChannelSpec describes a named channel.
	ChannelSpec = channelmgr.ChannelSpec
	// Priority orders the lanes that share a link; of a send, its urgency.
	Priority = channelmgr.Priority
	// Delivery says what happens to a message on a link that breaks.
	Delivery = channelmgr.Delivery
	// Ordering says which messages of a channel keep their order.
	Ordering = channelmgr.Ordering
	// Overflow says what a send does when the queue is at its bound.
	Overflow = channelmgr.Overflow
	// Compression of what travels on a channel.
	Compression = channelmgr.Compression
	// RoutingRule puts messages on a channel by type, size and urgency.
	RoutingRule = channelmgr.RoutingRule
)

// Values of a ChannelSpec's fields.
const (
	High   = channelmgr.High
	Medium = channelmgr.Medium
	Low    = channelmgr.Low

	AtMostOnce  = channelmgr.AtMostOnce
	AtLeastOnce = channelmgr.AtLeastOnce

	FIFO      = channelmgr.FIFO
	Monotonic = channelmgr.Monotonic
	Causal    = channelmgr.Causal

	Block      = channelmgr.Block
	Reject     = channelmgr.Reject
	DropOldest = channelmgr.DropOldest
	DropNewest = channelmgr.DropNewest

	None = channelmgr.None
	S2   = channelmgr.S2
	Zstd = channelmgr.Zstd
)

// WithChannels adds named channels. One named "data" replaces the default
// channel.
func WithChannels(specs ...ChannelSpec) Option {
	return set(func(o *options) { o.channels = append(o.channels, specs...) })
}

// WithChannelPreset adds the channels of a preset: "foundation" (coordination,
// gossip, events) or "planes" (control_plane, data_plane).
func WithChannelPreset(name string) Option {
	return func(o *options) error {
		specs, err := channelmgr.Preset(name)
		if err != nil {
			return fmt.Errorf("maquis: %w", err)
		}
		o.channels = append(o.channels, specs...)
		return nil
	}
}

// WithRoutingRules sets rules that put messages on channels for which neither a
// send nor a bound PID names one. They come before the types of channels.
func WithRoutingRules(rules ...RoutingRule) Option {
	return set(func(o *options) { o.rules = append(o.rules, rules...) })
}

// ConfigureRouting replaces the routing rules of this node; it is Foundation's
// name. An error names each rule that is wrong, and nothing changes. What is
// queued stays on its channel; there is no order between channels.
func (d *Distribution) ConfigureRouting(rules ...RoutingRule) error {
	return d.registry.SetRules(rules)
}

// Channels returns the channels that applications may send on, sorted by name.
func (d *Distribution) Channels() []ChannelSpec { return d.registry.Channels() }

// ChannelStats are the counters of one channel.
type ChannelStats = channelmgr.ChannelStats

// ChannelStats returns the counters of all channels, of all peers together,
// sorted by name. They are always on.
func (d *Distribution) ChannelStats() []ChannelStats { return d.registry.ChannelStats() }
