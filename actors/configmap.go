package actors

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/maquis-go/maquis/actors/config"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// layer writes what code has set into a layer of the configuration.
func (o *options) layer(c *config.Config) {
	c.Profile, c.Cluster = o.profile, o.cluster
	c.Node = config.Node{Name: o.name, Version: o.version, Listen: o.listen, Advertise: o.advertise, Aliases: o.aliases, Tags: maps.Clone(o.tags)}
	if o.security.Mode != 0 {
		c.Security.Mode = o.security.Mode.String()
	}
	for _, s := range o.security.Secrets {
		c.Security.Secrets = append(c.Security.Secrets, config.Secret{Value: s})
	}
	c.Security.CertFile, c.Security.KeyFile, c.Security.CAFile = o.security.CertFile, o.security.KeyFile, o.security.CAFile
	c.Join = config.Join{Seeds: o.seeds, ExpectedMembers: o.expected}
	t, l := o.timing, o.limits
	c.Failure = config.Failure{Preset: o.preset, Heartbeat: t.Heartbeat, SilentAfter: t.SilentAfter}
	c.Links = config.Links{DialTimeout: t.DialTimeout, HandshakeTimeout: t.HandshakeTimeout, WriteTimeout: t.WriteTimeout, BackoffMin: t.BackoffMin, BackoffMax: t.BackoffMax, IdleAfter: t.IdleAfter, ShortQueues: o.short}
	c.Limits = config.Limits{
		MaxMessage: l.MaxMessage, MaxHandshakes: l.MaxHandshakes, MaxLinksPerPeer: l.MaxLinksPerPeer, MaxConnections: l.MaxConnections, ControlBacklog: l.ControlBacklog,
		MaxAssembly: l.MaxAssembly, DictionarySize: l.DictionarySize, ReservedQueueLen: l.ReservedQueueLen,
	}
	if o.routing != nil {
		c.Routing = config.Routing{Policy: policyWords[*o.routing], MaxShortcuts: o.shortcuts}
	}
	c.Routing.MaxHops = o.hops
	for _, s := range o.overlays {
		c.Overlays = append(c.Overlays, overlayConfig(s))
	}
	for _, s := range o.channels {
		c.Channels = append(c.Channels, channelConfig(s))
	}
	for _, r := range o.rules {
		rule := config.Rule{Types: r.Types, MinSize: r.MinSize, MaxSize: r.MaxSize, Channel: r.Channel}
		for _, u := range r.Urgency {
			rule.Urgency = append(rule.Urgency, config.Priorities[min(int(u), len(config.Priorities)-1)])
		}
		c.ChannelRules = append(c.ChannelRules, rule)
	}
	for _, s := range o.discovery {
		c.Join.Discovery = append(c.Join.Discovery, config.Strategy{Kind: discovery.Describe(s)})
	}
}

var policyWords = map[channelmgr.Policy]string{channelmgr.DirectFirst: "direct", channelmgr.RelayOnly: "relay", channelmgr.Adaptive: "adaptive"}

// apply makes the options that a configuration stands for. What code has set is
// taken from the options themselves: it may say more than the schema can. An
// error is a *config.Error.
func (o *options) apply(c *config.Config) error {
	o.profile, o.cluster = c.Profile, c.Cluster
	o.name, o.version, o.listen, o.aliases, o.tags = c.Node.Name, c.Node.Version, c.Node.Listen, c.Node.Aliases, c.Node.Tags
	o.advertise = slices.DeleteFunc(slices.Clone(c.Node.Advertise), func(a string) bool { return a == "auto" })
	o.security = securityOf(c.Security)
	o.seeds, o.expected = c.Join.Seeds, c.Join.ExpectedMembers
	o.preset = c.Failure.Preset
	t, l := &o.timing, &o.limits
	t.Heartbeat, t.SilentAfter = c.Failure.Heartbeat, c.Failure.SilentAfter
	t.DialTimeout, t.HandshakeTimeout, t.WriteTimeout = c.Links.DialTimeout, c.Links.HandshakeTimeout, c.Links.WriteTimeout
	t.BackoffMin, t.BackoffMax, t.IdleAfter = c.Links.BackoffMin, c.Links.BackoffMax, c.Links.IdleAfter
	o.short = c.Links.ShortQueues
	l.MaxMessage, l.MaxHandshakes, l.MaxLinksPerPeer = c.Limits.MaxMessage, c.Limits.MaxHandshakes, c.Limits.MaxLinksPerPeer
	l.MaxConnections, l.ControlBacklog, l.MaxAssembly = c.Limits.MaxConnections, c.Limits.ControlBacklog, c.Limits.MaxAssembly
	l.DictionarySize, l.ReservedQueueLen = c.Limits.DictionarySize, c.Limits.ReservedQueueLen
	o.routing, o.shortcuts, o.hops = nil, c.Routing.MaxShortcuts, c.Routing.MaxHops
	if p, err := channelmgr.ParsePolicy(c.Routing.Policy); err == nil {
		o.routing = &p
	}
	var list []config.Problem
	bad := func(path, prefix string, err error) {
		at, _ := c.Origin(path)
		for _, text := range strings.Split(err.Error(), "\n") {
			p := config.Problem{Origin: at, Key: path, Text: strings.TrimPrefix(strings.TrimPrefix(text, prefix), "peerservice: ")}
			if m := placed.FindStringSubmatch(p.Text); m != nil && at.Source == config.File {
				p.Origin.Line, _ = strconv.Atoi(m[1])
				p.Text = m[2]
			}
			list = append(list, p)
		}
	}
	if !fromCode(c, "overlays") {
		o.overlays = nil
		for _, k := range c.Overlays {
			s := overlaySpec(k)
			if err := s.Validate(o.name + "?"); err != nil { // no neighbor has this name
				bad("overlays."+k.ID, fmt.Sprintf("peerservice: overlay %q: ", k.ID), err)
			}
			o.overlays = append(o.overlays, s)
		}
	}
	o.applyDiscovery(c, bad)
	o.applyChannels(c, bad)
	if len(list) > 0 {
		return &config.Error{Problems: list}
	}
	return nil
}

// applyChannels takes the channels and rules of a configuration.
func (o *options) applyChannels(c *config.Config, bad func(path, prefix string, err error)) {
	code := o.channels
	o.channels = nil
	if c.ChannelPreset != "" {
		specs, err := channelmgr.Preset(c.ChannelPreset)
		if err != nil {
			bad("channel_preset", "channelmgr: ", err)
		}
		for _, s := range specs {
			if !slices.ContainsFunc(c.Channels, func(k config.Channel) bool { return k.Name == s.Name }) {
				o.channels = append(o.channels, s)
			}
		}
	}
	for _, k := range c.Channels {
		path := "channels." + k.Name
		if i := slices.IndexFunc(code, func(s ChannelSpec) bool { return s.Name == k.Name }); i >= 0 && fromCode(c, path) {
			o.channels = append(o.channels, code[i])
			continue
		}
		s := channelSpec(k)
		if err := s.Validate(); err != nil {
			bad(path, fmt.Sprintf("channelmgr: channel %q: ", k.Name), err)
		}
		o.channels = append(o.channels, s)
	}
	if !fromCode(c, "channel_rules") {
		o.rules = rulesOf(c.ChannelRules)
	}
	names := []string{channelmgr.DataChannel}
	for _, s := range o.channels {
		names = append(names, s.Name)
	}
	for i, r := range c.ChannelRules {
		if !slices.Contains(names, r.Channel) && !fromCode(c, "channel_rules") {
			bad(fmt.Sprintf("channel_rules[%d]", i), "", fmt.Errorf("there is no channel %q; there is %s", r.Channel, strings.Join(names, ", ")))
		}
	}
}

func rulesOf(list []config.Rule) []RoutingRule {
	var out []RoutingRule
	for _, r := range list {
		rule := RoutingRule{Types: r.Types, MinSize: r.MinSize, MaxSize: r.MaxSize, Channel: r.Channel}
		for _, u := range r.Urgency {
			rule.Urgency = append(rule.Urgency, channelmgr.Priority(valueOf(config.Priorities, u)))
		}
		out = append(out, rule)
	}
	return out
}

// placed is an error of compat/libcluster, which says where in the file.
var placed = regexp.MustCompile(`^line (\d+), column \d+: (.*)$`)

func fromCode(c *config.Config, path string) bool {
	o, ok := c.Origin(path)
	return ok && o.Source == config.Code
}

func securityOf(s config.Security) handshake.SecurityConfig {
	out := handshake.SecurityConfig{CertFile: s.CertFile, KeyFile: s.KeyFile, CAFile: s.CAFile}
	for _, m := range []handshake.Mode{handshake.ModeSecret, handshake.ModeMTLS, handshake.ModeInsecure} {
		if m.String() == s.Mode {
			out.Mode = m
		}
	}
	for _, x := range s.Secrets {
		out.Secrets = append(out.Secrets, x.Value)
	}
	return out
}

func overlayConfig(s OverlaySpec) config.Overlay {
	return config.Overlay{
		ID: s.ID, Kind: s.Kind, Active: s.Active, Passive: s.Passive, ARWL: s.ActiveWalk, PRWL: s.PassiveWalk, Shuffle: s.Shuffle,
		Copies: s.Copies, Servers: s.Servers, Neighbors: s.Neighbors, Reserve: s.Reserve,
	}
}

func overlaySpec(k config.Overlay) OverlaySpec {
	return OverlaySpec{
		ID: k.ID, Kind: k.Kind, Active: k.Active, Passive: k.Passive, ActiveWalk: k.ARWL, PassiveWalk: k.PRWL, Shuffle: k.Shuffle,
		Copies: k.Copies, Servers: k.Servers, Neighbors: k.Neighbors, Reserve: k.Reserve,
	}
}

// wordOf returns the word of a value; that of the zero value, or of one that
// there is not, is none.
func wordOf(words []string, v uint8) string {
	if v == 0 || int(v) >= len(words) {
		return ""
	}
	return words[v]
}

// valueOf is the inverse of wordOf.
func valueOf(words []string, w string) uint8 { return uint8(max(slices.Index(words, w), 0)) }

func channelConfig(s ChannelSpec) config.Channel {
	return config.Channel{
		Name: s.Name, Lanes: s.Lanes, MaxQueueLen: s.MaxQueueLen, MaxQueueBytes: s.MaxQueueBytes, BlockTimeout: s.BlockTimeout, Overlay: s.Overlay, Types: s.Types,
		Priority: wordOf(config.Priorities, uint8(s.Priority)), Delivery: wordOf(config.Deliveries, uint8(s.Delivery)), Ordering: wordOf(config.Orderings, uint8(s.Ordering)),
		Overflow: wordOf(config.Overflows, uint8(s.Overflow)), Compression: wordOf(config.Compressions, uint8(s.Compression)),
	}
}

func channelSpec(k config.Channel) ChannelSpec {
	return ChannelSpec{
		Name: k.Name, Lanes: k.Lanes, MaxQueueLen: k.MaxQueueLen, MaxQueueBytes: k.MaxQueueBytes, BlockTimeout: k.BlockTimeout, Overlay: k.Overlay, Types: k.Types,
		Priority: channelmgr.Priority(valueOf(config.Priorities, k.Priority)), Delivery: channelmgr.Delivery(valueOf(config.Deliveries, k.Delivery)),
		Ordering: channelmgr.Ordering(valueOf(config.Orderings, k.Ordering)), Overflow: channelmgr.Overflow(valueOf(config.Overflows, k.Overflow)),
		Compression: channelmgr.Compression(valueOf(config.Compressions, k.Compression)),
	}
}
