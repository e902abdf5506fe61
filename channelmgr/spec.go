package channelmgr

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/maquis-go/maquis/messages"
)

// Names of the channels that always exist.
const (
	ControlChannel = "control" // the runtime's own; applications cannot send on it
	DataChannel    = "data"    // the default for application messages
)

// Priority orders the lanes that share a link. The zero value is Medium.
type Priority uint8

// Priorities.
const (
	Medium Priority = iota
	High
	Low
)

// Delivery says what happens to a message on a link that breaks. The zero
// value is AtMostOnce.
type Delivery uint8

// Delivery modes.
const (
	AtMostOnce Delivery = iota
	AtLeastOnce
)

// Ordering says which messages of a channel keep their order. The zero value
// is FIFO: per sending node, target actor (or partition key) and channel.
type Ordering uint8

// Orderings.
const (
	FIFO Ordering = iota
	Monotonic
	Causal
)

// Overflow says what a send does when the lane's queue is at its bound. The
// zero value is Block.
type Overflow uint8

// Overflow policies.
const (
	Block      Overflow = iota // wait for BlockTimeout, then undelivered
	Reject                     // undelivered at once
	DropOldest                 // make room by dropping what waited longest
	DropNewest                 // drop this message, counted, no error
)

// Compression of a channel's batches. The zero value is None.
type Compression uint8

// Compressions.
const (
	None Compression = iota
	S2
	Zstd
)

// Defaults of a ChannelSpec's zero fields.
const (
	DefaultLanes         = 4 // see docs/adr/0007-lanes.md
	DefaultMaxQueueLen   = 65536
	DefaultMaxQueueBytes = 16 << 20
	DefaultBlockTimeout  = 5 * time.Second
	MaxLanes             = 16
	MaxChannels          = 64
)

// ChannelSpec describes a named channel. The sender's spec governs.
type ChannelSpec struct {
	Name          string
	Lanes         int           // ceiling of ordered streams per peer, opened when messages would wait; 0 means DefaultLanes, or 1 if Monotonic or DropOldest
	Priority      Priority      // among lanes that share a link
	Delivery      Delivery      // AtLeastOnce: what is not confirmed is kept and sent again; delivered once while both nodes live
	Ordering      Ordering      // FIFO; Monotonic: of each partition key (or target) the newest message supersedes what waits, and arrives; Causal, with AtLeastOnce: see Outgoing.Label
	MaxQueueLen   int           // messages waiting per lane and peer; 0 means DefaultMaxQueueLen
	MaxQueueBytes int           // bytes waiting per lane and peer; 0 means DefaultMaxQueueBytes
	Overflow      Overflow      // at the bounds; only Block and Reject where every message counts
	BlockTimeout  time.Duration // for Block; 0 means DefaultBlockTimeout, then as Reject
	Compression   Compression   // of what is written together, from 1 KiB on, if it becomes smaller
	Overlay       string        // whose tree its broadcasts go over; "" means the first overlay
	Types         []string      // protobuf names that travel on it unless a send says otherwise
}

// fixed: flows stay on the lanes that they have from the start.
func (c ChannelSpec) fixed() bool { return c.Overflow == DropOldest || c.Ordering == Monotonic }

// withDefaults fills the zero fields.
func (c ChannelSpec) withDefaults() ChannelSpec {
	if c.Lanes == 0 {
		if c.Lanes = DefaultLanes; c.fixed() {
			c.Lanes = 1
		}
	}
	if c.MaxQueueLen == 0 {
		c.MaxQueueLen = DefaultMaxQueueLen
	}
	if c.MaxQueueBytes == 0 {
		c.MaxQueueBytes = DefaultMaxQueueBytes
	}
	if c.BlockTimeout == 0 {
		c.BlockTimeout = DefaultBlockTimeout
	}
	return c
}

// Validate reports everything that is wrong with the spec, or asks for what
// does not exist yet.
func (c ChannelSpec) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("channelmgr: channel %q: "+format, append([]any{c.Name}, args...)...))
	}
	switch {
	case c.Name == "":
		bad("a channel needs a name")
	case len(c.Name) > 64:
		bad("the name has %d bytes; at most 64 are allowed", len(c.Name))
	case c.Name == ControlChannel:
		bad("the name is reserved for the runtime; choose another")
	case strings.Contains(c.Name, twinMark):
		bad("a name has no %q", twinMark)
	}
	if c.Lanes < 0 || c.Lanes > MaxLanes {
		bad("lanes is %d; use 1 to %d", c.Lanes, MaxLanes)
	}
	if c.Priority > Low {
		bad("unknown priority %d; use High, Medium or Low", c.Priority)
	}
	for _, t := range c.Types {
		if t == "" || len(t) > messages.MaxTypeName {
			bad("message types have names of 1 to %d bytes, not %d", messages.MaxTypeName, len(t))
		}
	}
	if c.MaxQueueLen < 0 || c.MaxQueueBytes < 0 || c.BlockTimeout < 0 {
		bad("bounds and times cannot be negative")
	}
	c.validateMode(bad)
	if c.Compression > Zstd {
		bad("unknown compression %d; use None, S2 or Zstd", c.Compression)
	}
	return errors.Join(errs...)
}

// validateMode checks that delivery, ordering and overflow go together.
func (c ChannelSpec) validateMode(bad func(format string, args ...any)) {
	switch {
	case c.Delivery > AtLeastOnce:
		bad("delivery %d is unknown; use AtMostOnce or AtLeastOnce", c.Delivery)
	case c.Ordering > Causal:
		bad("ordering %d is unknown; use FIFO, Monotonic or Causal", c.Ordering)
	case c.Overflow > DropNewest:
		bad("overflow %d is unknown; use Block, Reject, DropOldest or DropNewest", c.Overflow)
	case c.Delivery == AtLeastOnce && c.Ordering == Monotonic:
		bad("delivery AtLeastOnce and ordering Monotonic contradict each other; Monotonic alone brings the newest message of each key")
	case c.Delivery == AtMostOnce && c.Ordering == Causal:
		bad("ordering Causal needs delivery AtLeastOnce")
	case c.Delivery == AtLeastOnce && c.drops():
		bad("overflow %s loses messages, which delivery AtLeastOnce must not; use Block or Reject", overflowNames[c.Overflow])
	case c.Ordering == Monotonic && c.Name == DataChannel:
		bad("the default channel cannot have ordering Monotonic: messages to one actor would supersede each other; use another channel")
	case c.Ordering == Monotonic && c.drops():
		bad("overflow %s would lose the newest message of a key; use Block or Reject with ordering Monotonic", overflowNames[c.Overflow])
	}
}

func (c ChannelSpec) drops() bool { return c.Overflow == DropOldest || c.Overflow == DropNewest }

var overflowNames = [...]string{"Block", "Reject", "DropOldest", "DropNewest"}

// Policy says how nodes are reached to which no overlay has a link. The zero
// value is Adaptive.
type Policy uint8

// Policies.
const (
	// Adaptive goes over relays where a way is known, and opens a link of its own,
	// a shortcut, for what is hot, or where no way is known, or what goes by it is
	// in vain. When a node has as many shortcuts as it may, the one that has been
	// quiet for longest gives way; if all are in use, it searches a way.
	Adaptive Policy = iota
	// RelayOnly never dials beyond the overlays.
	RelayOnly
	// DirectFirst dials, and goes over relays where that fails. Links without
	// traffic are closed.
	DirectFirst
)

// ParsePolicy reads "adaptive", "relay" or "direct".
func ParsePolicy(s string) (Policy, error) {
	switch s {
	case "adaptive":
		return Adaptive, nil
	case "relay":
		return RelayOnly, nil
	case "direct":
		return DirectFirst, nil
	}
	return 0, fmt.Errorf("channelmgr: routing policy %q: use adaptive, relay or direct", s)
}
