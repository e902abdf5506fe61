package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay/roster"
	"github.com/maquis-go/maquis/peerservice"
)

// DefaultPort is the port that nodes listen on unless told otherwise.
const DefaultPort = "6278"

// ChannelSpec describes a named channel; see package channelmgr.
type ChannelSpec = channelmgr.ChannelSpec

// Option configures Start.
type Option func(*options) error

type options struct {
	cluster   string
	name      string
	version   string
	listen    string
	ports     []string // tried in turn, profile dev
	advertise []string
	aliases   []string
	seeds     []string
	security  handshake.SecurityConfig
	forced    bool // insecure beyond loopback
	tags      map[string]string
	kinds     map[string]*actor.Props
	channels  []ChannelSpec
	overlays  []OverlaySpec
	routing   *channelmgr.Policy
	shortcuts int
	codecs    []messages.Codec
	expected  int
	drain     func(context.Context) error
	preset    func(roster.Config) roster.Config
	transport transport.Transport
	timing    channelmgr.Timing
	limits    channelmgr.Limits
	intercept func(Packet) Verdict
	logger    *slog.Logger
	dev       bool
}

// WithCluster sets the cluster's name; nodes of other names are refused. The
// default is "maquis".
func WithCluster(name string) Option { return set(func(o *options) { o.cluster = name }) }

// WithName sets the node's name, unique in the cluster. The default is the
// host's name, with "-port" appended when the port is not DefaultPort.
func WithName(node string) Option {
	return func(o *options) error {
		if node == "" || len(node) > 255 || strings.ContainsAny(node, "~/ \t\n") {
			return fmt.Errorf("maquis: node name %q: use 1 to 255 bytes without spaces, '~' and '/'", node)
		}
		o.name = node
		return nil
	}
}

// WithVersion sets the application's version, which other members see.
func WithVersion(v string) Option { return set(func(o *options) { o.version = v }) }

// WithListen sets the address to listen on, "host:port"; port 0 picks one. The
// default is ":6278".
func WithListen(addr string) Option {
	return func(o *options) error {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("maquis: listen address %q: use host:port, as in 10.0.0.7:6278 or :6278: %w", addr, err)
		}
		o.listen, o.ports = addr, nil
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

// WithAliases names further addresses under which PIDs may name this node.
func WithAliases(addrs ...string) Option { return set(func(o *options) { o.aliases = addrs }) }

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
	if host, port, err := net.SplitHostPort(c); err != nil || host == "" || port == "" {
		return fmt.Errorf("maquis: contact %q: use host:port", c)
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

// WithChannels adds named channels.
func WithChannels(specs ...ChannelSpec) Option {
	return set(func(o *options) { o.channels = append(o.channels, specs...) })
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

// WithCodec registers a codec for message types that are no protobuf messages.
func WithCodec(c messages.Codec) Option {
	return set(func(o *options) { o.codecs = append(o.codecs, c) })
}

// WithExpectedMembers makes Health ready only when so many members are known.
func WithExpectedMembers(n int) Option { return set(func(o *options) { o.expected = n }) }

// WithDrain sets what Leave and Stop call before the farewell: the
// application finishes its work while the node is still a member.
func WithDrain(f func(context.Context) error) Option { return set(func(o *options) { o.drain = f }) }

// WithFailurePreset sets the times of failure detection: "local", "lan" (the
// default) or "wan".
func WithFailurePreset(name string) Option {
	return func(o *options) error {
		switch name {
		case "local":
			o.preset = roster.Local
		case "lan":
			o.preset = roster.LAN
		case "wan":
			o.preset = roster.WAN
		default:
			return fmt.Errorf("maquis: failure preset %q: use local, lan or wan", name)
		}
		return nil
	}
}

// WithTransport replaces TCP; tests use the network in memory.
func WithTransport(t transport.Transport) Option { return set(func(o *options) { o.transport = t }) }

// WithTiming sets durations of the link layer.
func WithTiming(t channelmgr.Timing) Option { return set(func(o *options) { o.timing = t }) }

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

// devSecret is no secret: profile dev listens on loopback only.
const devSecret = "maquis development secret, for loopback only"

// devPorts are the ports on which nodes of profile dev find each other.
const devPorts = 10

// WithProfile sets defaults for a situation; options after it refine them.
//
//	dev   loopback, the first free port from 6278 on, nodes of this machine
//	      find each other by themselves, a known secret
//	test  loopback, any free port
//	prod  as without a profile: a secret or certificates are required
func WithProfile(name string) Option {
	return func(o *options) error {
		switch name {
		case "dev":
			o.dev = true
			o.preset = roster.Local
			o.security = handshake.SecurityConfig{Mode: handshake.ModeSecret, Secrets: []string{devSecret}}
			o.listen = ""
			for i := range devPorts {
				a := net.JoinHostPort("127.0.0.1", fmt.Sprint(6278+i))
				o.ports = append(o.ports, a)
				o.seeds = append(o.seeds, a)
			}
		case "test":
			o.preset = roster.Local
			o.listen = "127.0.0.1:0"
		case "prod":
		default:
			return fmt.Errorf("maquis: profile %q: use dev, test or prod", name)
		}
		return nil
	}
}

func set(f func(*options)) Option {
	return func(o *options) error { f(o); return nil }
}

// finish fills defaults and checks what belongs together.
func (o *options) finish() error {
	if o.cluster == "" {
		o.cluster = "maquis"
	}
	if o.listen == "" && len(o.ports) == 0 {
		o.listen = ":" + DefaultPort
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
	if o.preset == nil {
		o.preset = roster.LAN
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	switch o.security.Mode {
	case 0:
		return errors.New("maquis: links are not secured: use WithSecret (openssl rand -hex 32 makes one), WithMTLS, or WithInsecure on loopback")
	case handshake.ModeInsecure:
		for _, a := range append(slices.Clone(o.advertise), o.listen) {
			host, _, _ := net.SplitHostPort(a)
			if ip := net.ParseIP(host); a != "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
				return fmt.Errorf("maquis: insecure links on %q: only loopback addresses are allowed, as in 127.0.0.1:6278; use WithSecret beyond", a)
			}
		}
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
