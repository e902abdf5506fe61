package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
)

// These checks return what is wrong and what to write instead, or "".

// NodeName checks the name of a node.
func NodeName(s string) string {
	if s == "" || len(s) > 255 || strings.ContainsAny(s, "~/ \t\n") {
		return strconv.Quote(s) + " is no name of a node; use 1 to 255 bytes without spaces, '~' and '/'"
	}
	return ""
}

// Contact checks an address to dial.
func Contact(s string) string {
	if host, port, err := net.SplitHostPort(s); err != nil || host == "" || portNumber(port) < 0 {
		return strconv.Quote(s) + " is no address to dial; use host:port, as in orders-0.orders:6278"
	}
	return ""
}

func advertised(s string) string {
	if s == auto {
		return ""
	}
	return Contact(s)
}

// auto, as an advertised address, is the same as none.
const auto = "auto"

// ListenAddress checks an address to listen on.
func ListenAddress(s string) string {
	_, why := ListenAddresses(s)
	return why
}

// maxRange bounds the ports of a range.
const maxRange = 256

// ListenAddresses returns the addresses of "host:first-last", to be tried in
// turn, or that of "host:port".
func ListenAddresses(s string) ([]string, string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return nil, strconv.Quote(s) + " is no address to listen on; use host:port, as in 10.0.0.7:6278 or :6278"
	}
	first, last, isRange := strings.Cut(port, "-")
	if !isRange {
		last = first
	}
	lo, hi := portNumber(first), portNumber(last)
	switch {
	case !isRange && lo < 0:
		return nil, strconv.Quote(port) + " is no port; use 1 to 65535, or 0 for any"
	case !isRange:
		return []string{s}, ""
	case lo < 1 || hi < lo:
		return nil, strconv.Quote(port) + " is no range of ports; use first-last, as in 6278-6287"
	case hi-lo >= maxRange:
		return nil, "the range " + port + " has more than " + strconv.Itoa(maxRange) + " ports"
	}
	var list []string
	for p := lo; p <= hi; p++ {
		list = append(list, net.JoinHostPort(host, strconv.Itoa(p)))
	}
	return list, ""
}

// portNumber returns a port, or -1.
func portNumber(s string) int {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= 65535 {
		return n
	}
	return -1
}

// short checks names that travel on the wire.
func short(s string) string {
	if len(s) > 255 {
		return "the text has " + strconv.Itoa(len(s)) + " bytes; at most 255 are allowed"
	}
	return ""
}

// tagName checks the name of a tag.
func tagName(s string) string {
	if strings.HasPrefix(s, "maquis.") {
		return `tags that begin with "maquis." are the runtime's; use another name`
	}
	return ""
}

// reservation checks an entry of an overlay's reserve.
func reservation(s string) string {
	if tag, value, ok := strings.Cut(s, "="); !ok || tag == "" || value == "" {
		return strconv.Quote(s) + " names no tag; use tag=value, as in role=hub"
	}
	return ""
}

// settingsOf are the settings of overlays, by kind.
var settingsOf = map[string][]string{
	"hyparview": {"active_size", "passive_size", "arwl", "prwl", "shuffle", "reserve"}, "xbot": {"active_size", "passive_size", "arwl", "prwl", "shuffle", "reserve"},
	"scamp": {"c"}, "clientserver": {"servers"}, "static": {"neighbors"},
}

// together reports what is wrong between the values of all layers. What is
// missing is missing from the given origin.
func (c *Config) together(missing Origin) []Problem {
	var list []Problem
	bad := func(path, text string) {
		o, ok := c.origins[path]
		if !ok {
			o = missing
		}
		list = append(list, Problem{o, path, text})
	}
	c.secured(bad)
	for i := range c.Overlays {
		o := &c.Overlays[i]
		if o.Kind == "" {
			o.Kind = "fullmesh"
		}
		keys, _ := o.keys()
		for _, k := range keys[2].sub {
			if path := "overlays." + o.ID + ".config." + k.name; !k.later && k.isSet() && !slices.Contains(settingsOf[o.Kind], k.name) {
				bad(path, o.Kind+" has no such setting; it has "+listed(settingsOf[o.Kind]))
			}
		}
	}
	var ids []string
	for _, o := range c.Overlays {
		ids = append(ids, o.ID)
	}
	for _, ch := range c.Channels {
		path := "channels." + ch.Name + ".overlay"
		if ch.Overlay != "" && !slices.Contains(ids, ch.Overlay) && c.origins[path].Source != Code { // of which the runtime tells
			bad(path, "there is no overlay "+strconv.Quote(ch.Overlay)+"; there is "+listed(ids))
		}
	}
	if _, said := c.origins["enable_libcluster_compat_layer"]; c.Libcluster.Topologies != "" && !said {
		bad("libcluster_topologies", "they are heeded with enable_libcluster_compat_layer: true only; set it, or leave them out")
	}
	if len(c.Node.Advertise) > 1 && slices.Contains(c.Node.Advertise, auto) {
		bad("node.advertise", "auto stands beside addresses; keep the one or the other")
	}
	if f := c.Failure; f.SilentAfter < 2*f.Heartbeat {
		bad(c.latest("failure.silent_after", "failure.heartbeat"), "a link at rest would end: heartbeats come every "+f.Heartbeat.String()+", and one is taken for dead after "+f.SilentAfter.String()+"; let silent_after be twice the heartbeat or more")
	}
	if l := c.Links; l.BackoffMax < l.BackoffMin {
		bad(c.latest("links.backoff_max", "links.backoff_min"), "the longest pause, backoff_max, is "+l.BackoffMax.String()+", shorter than the first, backoff_min, of "+l.BackoffMin.String())
	}
	return list
}

// latest is which of two paths was set in the later layer; the first if in the same.
func (c *Config) latest(path, other string) string {
	if c.origins[path].Source < c.origins[other].Source {
		return other
	}
	return path
}

func listed(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

func (c *Config) secured(bad func(path, text string)) {
	s := &c.Security
	switch s.Mode {
	case "":
		bad("security", "links are not secured: set security.secrets (openssl rand -hex 32 makes a secret), certificates, or mode insecure on loopback; in code WithSecret, WithMTLS or WithInsecure")
	case "secret":
		if len(s.Secrets) == 0 {
			bad("security.secrets", "mode secret needs a secret; make one with `openssl rand -hex 32` and give it to every node")
		}
	case "mtls":
		for _, f := range []struct{ key, name string }{{"cert_file", s.CertFile}, {"key_file", s.KeyFile}, {"ca_file", s.CAFile}} {
			if f.name == "" {
				bad("security."+f.key, "mode mtls needs this file")
			}
		}
	case "insecure":
		for _, a := range append(slices.Clone(c.Node.Advertise), c.Node.Listen) {
			host, _, _ := net.SplitHostPort(a)
			if ip := net.ParseIP(host); a != auto && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
				bad("security.mode", "insecure links on "+strconv.Quote(a)+": only loopback addresses are allowed, as in 127.0.0.1:6278; use a secret beyond")
			}
		}
	}
	if c.Profile == "prod" {
		if s.Mode == "insecure" {
			bad("security.mode", "profile prod does not allow insecure links; use secret or mtls")
		}
		if len(c.Join.Seeds) == 0 && len(c.Join.Discovery) == 0 && !c.Libcluster.Enabled {
			bad("join.seeds", "profile prod needs seeds or discovery; the first node may name itself")
		}
	}
}
