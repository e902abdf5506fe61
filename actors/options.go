package actors

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/actors/config"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay/roster"
	"github.com/maquis-go/maquis/peerservice"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// DefaultPort is the port that nodes listen on unless told otherwise.
const DefaultPort = "6278"

// Option configures Start.
type Option func(*options) error

type options struct {
	file      string // the cluster file
	profile   string
	cluster   string
	name      string
	version   string
	listen    string
	ports     []string // of a range: tried in turn
	advertise []string
	aliases   []string
	seeds     []string
	discovery []discovery.Strategy
	notes     []string // what a configuration could not keep, for the log
	security  handshake.SecurityConfig
	tags      map[string]string
	kinds     map[string]*actor.Props
	channels  []ChannelSpec
	rules     []RoutingRule
	overlays  []OverlaySpec
	routing   *channelmgr.Policy
	shortcuts int
	hops      int
	codecs    []messages.Codec
	expected  int
	drain     func(context.Context) error
	preset    string
	transport transport.Transport
	timing    channelmgr.Timing
	limits    channelmgr.Limits
	short     bool // queues
	intercept func(Packet) Verdict
	logger    *slog.Logger
}

// WithCluster sets the cluster's name; nodes of other names are refused. The
// default is "maquis".
func WithCluster(name string) Option { return set(func(o *options) { o.cluster = name }) }

// WithName sets the node's name, unique in the cluster. The default is the
// host's name, with "-port" appended when the port is not DefaultPort.
func WithName(node string) Option {
	return func(o *options) error {
		if why := config.NodeName(node); why != "" {
			return fmt.Errorf("maquis: WithName: %s", why)
		}
		o.name = node
		return nil
	}
}

// WithVersion sets the application's version, which other members see.
func WithVersion(v string) Option { return set(func(o *options) { o.version = v }) }

// WithListen sets the address to listen on, "host:port"; port 0 picks one. Of
// "host:first-last" the first free port is taken. The default is ":6278".
func WithListen(addr string) Option {
	return func(o *options) error {
		if why := config.ListenAddress(addr); why != "" {
			return fmt.Errorf("maquis: WithListen: %s", why)
		}
		o.listen = addr
		return nil
	}
}

// WithAdvertise sets the addresses that peers are told to dial, best first.
// The default is the address listened on, which must then not be a wildcard.
func WithAdvertise(addrs ...string) Option {
	return func(o *options) error {
		for _, a := range addrs {
			if host, _, err := net.SplitHostPort(a); err != nil || host == "" {
				return fmt.Errorf("maquis: advertised address %q: use host:port", a)
			}
		}
		o.advertise = addrs
		return nil
	}
}

// WithAliases names further addresses, "host:port", under which PIDs may name
// this node: on this node and on all others, as AddAliases.
func WithAliases(addrs ...string) Option {
	return func(o *options) error {
		if err := checkAliases(addrs); err != nil {
			return err
		}
		o.aliases = addrs
		return nil
	}
}

// WithSeeds names contacts that are called from the start, until they answer.
func WithSeeds(contacts ...string) Option {
	return func(o *options) error {
		for _, c := range contacts {
			if err := checkContact(c); err != nil {
				return err
			}
		}
		o.seeds = append(o.seeds, contacts...)
		return nil
	}
}

func checkContact(c string) error {
	if why := config.Contact(c); why != "" {
		return fmt.Errorf("maquis: contact %s", why)
	}
	return nil
}

// WithSecret secures links by TLS from a shared secret of at least 16 bytes;
// other secrets are accepted from peers, so that it can be changed without a
// break: first everywhere accepted, then everywhere used.
func WithSecret(current string, accepted ...string) Option {
	return set(func(o *options) {
		o.security = handshake.SecurityConfig{Mode: handshake.ModeSecret, Secrets: append([]string{current}, accepted...)}
	})
}

// WithMTLS secures links by certificates of an own authority, in PEM files
// that are read again when they change. The node's name must be in its
// certificate, as URI maquis://CLUSTER/NODE or as DNS name.
func WithMTLS(certFile, keyFile, caFile string) Option {
	return set(func(o *options) {
		o.security = handshake.SecurityConfig{Mode: handshake.ModeMTLS, CertFile: certFile, KeyFile: keyFile, CAFile: caFile}
	})
}

// WithInsecure leaves links in clear and peers unauthenticated. It is refused
// on addresses beyond loopback.
func WithInsecure() Option {
	return set(func(o *options) { o.security = handshake.SecurityConfig{Mode: handshake.ModeInsecure} })
}

// WithTags sets tags of this node that other members see.
func WithTags(tags map[string]string) Option {
	return set(func(o *options) { o.tags = maps.Clone(tags) })
}

// WithKind registers a kind of actor that other nodes may spawn here.
func WithKind(kind string, props *actor.Props) Option {
	return func(o *options) error {
		if kind == "" || len(kind) > 255 || props == nil {
			return fmt.Errorf("maquis: kind %q needs a name of 1 to 255 bytes and props", kind)
		}
		if o.kinds == nil {
			o.kinds = make(map[string]*actor.Props)
		}
		o.kinds[kind] = props
		return nil
	}
}

// OverlaySpec describes a membership overlay; see package peerservice.
type OverlaySpec = peerservice.OverlaySpec

// Kinds of overlays.
const (
	FullMesh     = peerservice.FullMesh
	HyParView    = peerservice.HyParView
	XBot         = peerservice.XBot
	Scamp        = peerservice.Scamp
	ClientServer = peerservice.ClientServer
	Static       = peerservice.Static
)

// OverlayKinds are the names of all kinds, sorted.
func OverlayKinds() []string { return peerservice.OverlayKinds() }

// WithOverlays sets the membership overlays. News of members and broadcasts go
// over the first one. The default is a full mesh, which suits some tens of
// nodes; HyParView suits any number. All nodes of a cluster are to have the
// same overlays.
func WithOverlays(specs ...OverlaySpec) Option { return set(func(o *options) { o.overlays = specs }) }

// WithRouting sets how nodes are reached to which no overlay has a link: "relay"
// never dials beyond the overlays, "direct" dials and goes over relays where
// that fails, "adaptive" goes over relays first and opens shortcuts, at most so
// many (0 means 16), to those with whom much is exchanged. The default is direct
// on a full mesh, adaptive elsewhere.
func WithRouting(policy string, shortcuts int) Option {
	return func(o *options) error {
		p, err := channelmgr.ParsePolicy(policy)
		if err != nil {
			return fmt.Errorf("maquis: %w", err)
		}
		if shortcuts < 0 {
			return fmt.Errorf("maquis: %d shortcuts: use 0 or more", shortcuts)
		}
		o.routing, o.shortcuts = &p, shortcuts
		return nil
	}
}

// WithMaxHops bounds how many links a way over relays has: 2 to 255; the default is
// 32. Whom no shorter way leads to is dialed, or with policy "relay" cannot be
// reached.
func WithMaxHops(n int) Option {
	return func(o *options) error {
		if n < 2 || n > 255 {
			return fmt.Errorf("maquis: %d hops: use 2 to 255", n)
		}
		o.hops = n
		return nil
	}
}

// WithCodec registers a codec for message types that are no protobuf messages.
func WithCodec(c messages.Codec) Option {
	return set(func(o *options) { o.codecs = append(o.codecs, c) })
}

// WithExpectedMembers makes Health ready only when so many members are known.
func WithExpectedMembers(n int) Option { return set(func(o *options) { o.expected = n }) }

// WithDrain sets what Leave and Stop call before the farewell: the
// application finishes its work while the node is still a member.
func WithDrain(f func(context.Context) error) Option { return set(func(o *options) { o.drain = f }) }

// WithFailurePreset sets the times of failure detection and of dials: "local",
// "lan" (the default) or "wan". What WithTiming sets goes before.
func WithFailurePreset(name string) Option {
	return func(o *options) error {
		if presets[name] == nil {
			return fmt.Errorf("maquis: failure preset %q: use local, lan or wan", name)
		}
		o.preset = name
		return nil
	}
}

var presets = map[string]func(roster.Config) roster.Config{"local": roster.Local, "lan": roster.LAN, "wan": roster.WAN}

// WithTransport replaces TCP; tests use the network in memory.
func WithTransport(t transport.Transport) Option { return set(func(o *options) { o.transport = t }) }

// WithTiming sets durations of the link layer.
func WithTiming(t channelmgr.Timing) Option { return set(func(o *options) { o.timing = t }) }

// WithShortQueues has bulk to other hosts that fills a line leave its queue short, so
// that what is small, heartbeats too, need not wait in it: the rate of data links is
// trimmed by some percent while their round trips are long, and no more where that
// does not help. It is for lines that are the narrowest part; where processors are,
// it can cost throughput. On Linux; elsewhere it does nothing.
func WithShortQueues() Option { return set(func(o *options) { o.short = true }) }

// WithLimits sets bounds of the link layer.
func WithLimits(l channelmgr.Limits) Option { return set(func(o *options) { o.limits = l }) }

// Packet and Verdict are what an interceptor sees and says; see package
// channelmgr.
type (
	Packet  = channelmgr.Packet
	Verdict = channelmgr.Verdict
)

// Verdicts of an interceptor.
var (
	Pass      = channelmgr.Pass
	Drop      = channelmgr.Drop
	Duplicate = channelmgr.Duplicate
)

// Delay lets a packet go on after a while, out of its turn.
func Delay(d time.Duration) Verdict { return channelmgr.Delay(d) }

// WithIntercept has every message that arrives judged, for tests: Partisan's
// interposition. It is called by the goroutines that read links, must not block
// and must be safe for concurrent use.
func WithIntercept(f func(Packet) Verdict) Option { return set(func(o *options) { o.intercept = f }) }

// WithLogger sets where the runtime logs; the default is slog.Default.
func WithLogger(l *slog.Logger) Option { return set(func(o *options) { o.logger = l }) }

// devListen is where nodes of profile dev listen.
const devListen = "127.0.0.1:6278-6287"

func set(f func(*options)) Option {
	return func(o *options) error { f(o); return nil }
}

// finish fills what no configuration says.
func (o *options) finish() error {
	if list, _ := config.ListenAddresses(o.listen); len(list) > 1 {
		o.listen, o.ports = "", list
	}
	if o.profile == "dev" { // nodes of this machine find each other
		near, _ := config.ListenAddresses(devListen)
		o.seeds = append(slices.Clone(o.seeds), near...)
	}
	if o.routing == nil {
		p := channelmgr.DirectFirst
		if len(o.overlays) > 0 && o.overlays[0].Kind != "" && o.overlays[0].Kind != FullMesh {
			p = channelmgr.Adaptive
		}
		o.routing = &p
	}
	if o.transport == nil {
		o.transport = transport.TCP{}
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	if o.name == "" {
		host, err := os.Hostname()
		if err != nil || host == "" {
			return fmt.Errorf("maquis: the host has no name (%w); set WithName", err)
		}
		o.name = host
		if _, port, _ := net.SplitHostPort(o.listen); port != DefaultPort {
			o.name += "-" // the port is appended when it is known
		}
	}
	return nil
}
