package libcluster

import (
	"net"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// minSecret is how long a cluster's secret has to be, in bytes.
const minSecret = 16

// gossip: announcements by UDP multicast or broadcast.
var gossip = strategy{
	name: "Gossip",
	options: []option{
		{name: "port", doc: "a UDP port"},
		{name: "if_addr", doc: "an IP address to listen at"},
		{name: "multicast_if", doc: "the IP address of an interface"},
		{name: "multicast_addr", doc: "a multicast or broadcast address"},
		{name: "multicast_ttl", doc: "a number of routers"},
		{name: "secret", doc: "a text"},
		{name: "broadcast_only", doc: "true or false"},
	},
	build: func(r *reader, t *Topology) discovery.Strategy {
		s := discovery.Multicast{Port: r.port("port"), TTL: r.number("multicast_ttl", 0, 255)}
		if a := r.address("if_addr"); a != "" && !net.ParseIP(a).IsUnspecified() {
			s.Listen = a
		}
		group := r.address("multicast_addr")
		ip := net.ParseIP(group)
		switch broadcast := r.boolean("broadcast_only"); {
		case broadcast || ip.Equal(net.IPv4bcast):
			s.Mode = "broadcast"
			if ip != nil && !ip.Equal(net.IPv4bcast) && !ip.IsMulticast() {
				r.note(r.config["multicast_addr"].Pos, "multicast_addr", "broadcasts go to the broadcast addresses of all interfaces, whichever this is")
			}
		case ip == nil:
		case ip.IsMulticast():
			s.Groups = []string{group}
		default:
			r.bad(r.config["multicast_addr"].Pos, "multicast_addr is %s, which is no multicast address; use one from 224.0.0.0/4, or set broadcast_only", group)
		}
		if a := r.address("multicast_if"); a != "" {
			if name := interfaceOf(a); name != "" {
				s.Interfaces = []string{name}
			} else {
				r.note(r.config["multicast_if"].Pos, "multicast_if", "no interface of this host has the address %s: all interfaces are used", a)
			}
		}
		switch secret := r.text("secret"); {
		case secret == "":
		case len(secret) < minSecret:
			r.note(r.config["secret"].Pos, "secret", "it has %d bytes; at least %d are needed. The cluster's secret is used instead", len(secret), minSecret)
		default:
			s.Secrets = []string{secret}
			r.note(r.config["secret"].Pos, "secret", "it authenticates announcements only; without it the cluster's secret does, which need not stand here")
		}
		return s
	},
}

// interfaceOf is the name of the interface of this host that has an address.
func interfaceOf(address string) string {
	all, _ := net.Interfaces()
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(net.ParseIP(address)) {
				return i.Name
			}
		}
	}
	return ""
}
