package channelmgr

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Timing holds the durations of the link layer. Zero fields mean defaults.
type Timing struct {
	Heartbeat        time.Duration // between pings on an otherwise quiet control link; 1 s
	SilentAfter      time.Duration // a control link that brought nothing for so long has ended; 5 s
	DialTimeout      time.Duration // 3 s
	HandshakeTimeout time.Duration // 5 s, all of it
	WriteTimeout     time.Duration // one flush that makes no progress for so long ends the link; 10 s
	BackoffMin       time.Duration // between data-link dials that fail; 100 ms
	BackoffMax       time.Duration // 5 s
	IdleAfter        time.Duration // a data link without traffic is closed; 30 s
}

// DefaultTiming returns what zero fields mean.
func DefaultTiming() Timing { return defaultTiming }

// DefaultLimits returns what zero fields mean.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

// defaultTiming is for nodes in one data center.
var defaultTiming = Timing{
	Heartbeat: time.Second, SilentAfter: 5 * time.Second, DialTimeout: 3 * time.Second, HandshakeTimeout: 5 * time.Second,
	WriteTimeout: 10 * time.Second, BackoffMin: 100 * time.Millisecond, BackoffMax: 5 * time.Second, IdleAfter: 30 * time.Second,
}

// Or returns the durations with those of d in place of zero ones.
func (t Timing) Or(d Timing) Timing {
	t.Heartbeat = cmp.Or(t.Heartbeat, d.Heartbeat)
	t.SilentAfter = cmp.Or(t.SilentAfter, d.SilentAfter)
	t.DialTimeout = cmp.Or(t.DialTimeout, d.DialTimeout)
	t.HandshakeTimeout = cmp.Or(t.HandshakeTimeout, d.HandshakeTimeout)
	t.WriteTimeout = cmp.Or(t.WriteTimeout, d.WriteTimeout)
	t.BackoffMin = cmp.Or(t.BackoffMin, d.BackoffMin)
	t.BackoffMax = cmp.Or(t.BackoffMax, d.BackoffMax)
	t.IdleAfter = cmp.Or(t.IdleAfter, d.IdleAfter)
	return t
}

func (t Timing) withDefaults() Timing { return t.Or(defaultTiming) }

// Limits bounds what peers and applications can make the link layer hold.
// Zero fields mean defaults.
type Limits struct {
	MaxMessage       int // bytes of one encoded message; 64 MiB
	MaxHandshakes    int // handshakes in progress, both directions; 64
	MaxLinksPerPeer  int // 64
	MaxConnections   int // links with all peers before no more are taken, see crowded; 16384
	ControlBacklog   int // frames of overlays waiting for their hosts, and of control frames per peer; 16384
	MaxAssembly      int // bytes of partly received large messages per peer; 256 MiB
	DictionarySize   int // interned types, targets and senders per link and direction; 4096 each
	ReservedQueueLen int // room per lane for runtime messages beyond the channel's bound; 65536
}

func (l Limits) withDefaults() Limits {
	l.MaxMessage = cmp.Or(l.MaxMessage, 64<<20)
	l.MaxHandshakes = cmp.Or(l.MaxHandshakes, 64)
	l.MaxLinksPerPeer = cmp.Or(l.MaxLinksPerPeer, 64)
	l.MaxConnections = cmp.Or(l.MaxConnections, 16384)
	l.ControlBacklog = cmp.Or(l.ControlBacklog, 16384)
	l.MaxAssembly = cmp.Or(l.MaxAssembly, 256<<20)
	l.DictionarySize = cmp.Or(l.DictionarySize, 4096)
	l.ReservedQueueLen = cmp.Or(l.ReservedQueueLen, 65536)
	return l
}

// Config is what a Registry needs. It must not be changed after New.
type Config struct {
	System    *actor.ActorSystem
	Self      overlay.Peer // name and incarnation; the address is found by Listen if empty
	Cluster   string
	Security  *handshake.Security
	Transport transport.Transport
	Listen    string        // "host:port"; port 0 picks one
	Advertise []string      // addresses told to peers, best first; empty: the one listened on
	Channels  []ChannelSpec // besides control and data; one named data replaces the default
	Overlays  []string      // ids of the overlays that channels may be bound to
	Rules     []RoutingRule // what travels on which channel unless a send says otherwise
	Types     *messages.Registry
	Routing   Policy // to nodes to which no overlay has a link
	Shortcuts int    // links beyond the overlays that policy Adaptive opens at most, those of peers not counted; 0 means 16
	MaxHops   int    // links that a way over relays has at most; 0 means 32
	Limits    Limits
	Timing    Timing
	// ShortQueues has data links to other hosts leave the queue of a line short; see
	// package pacing.
	ShortQueues bool
	Logger      *slog.Logger // nil: slog.Default
}

// Validate reports everything that is missing or wrong.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New("channelmgr: Config."+what))
		}
	}
	need(c.System != nil, "System is missing")
	need(c.Self.Name != "" && c.Self.Incarnation != 0, "Self needs a name and an incarnation")
	need(c.Security != nil, "Security is missing")
	need(c.Transport != nil, "Transport is missing")
	need(c.Types != nil, "Types is missing")
	need(len(c.Channels) <= MaxChannels, fmt.Sprintf("Channels has %d entries; at most %d are allowed", len(c.Channels), MaxChannels))
	t := c.Timing.withDefaults()
	need(t.SilentAfter >= 2*t.Heartbeat, fmt.Sprintf("Timing.SilentAfter is %v; use %v or more, twice the Heartbeat: a link at rest would end", t.SilentAfter, 2*t.Heartbeat))
	need(t.BackoffMax >= t.BackoffMin, fmt.Sprintf("Timing.BackoffMax is %v; use BackoffMin (%v) or more", t.BackoffMax, t.BackoffMin))
	seen := map[string]bool{}
	for _, ch := range c.Channels {
		if err := ch.Validate(); err != nil {
			errs = append(errs, err)
		}
		need(!seen[ch.Name], fmt.Sprintf("Channels names %q twice", ch.Name))
		seen[ch.Name] = true
		need(ch.Overlay == "" || slices.Contains(c.Overlays, ch.Overlay), fmt.Sprintf("Channels binds %q to overlay %q, which this node does not have%s", ch.Name, ch.Overlay, orElse(c.Overlays)))
	}
	return errors.Join(errs...)
}

// orElse names what there is.
func orElse(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; it has " + strings.Join(names, ", ")
}
