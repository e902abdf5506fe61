package libcluster

import (
	"github.com/maquis-go/maquis/compat/libcluster/elixir"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// epmd: a list of nodes.
var epmd = strategy{
	name: "Epmd",
	options: []option{
		{name: "hosts", doc: "a list of nodes, as [:\"a@10.0.0.1\", :\"b@10.0.0.2\"]", required: true},
		{name: "timeout", doc: "a number of milliseconds or :infinity"},
	},
	build: func(r *reader, t *Topology) discovery.Strategy {
		s := discovery.Static{Port: t.Port}
		hosts := r.config["hosts"]
		named := make(map[string]string)
		for i, node := range r.texts("hosts") {
			pos := hosts.Pos
			if i < len(hosts.Items) {
				pos = hosts.Items[i].Pos
			}
			addr, err := Contact(node, t.Port)
			if err != nil {
				r.bad(pos, "hosts: %v", err)
				continue
			}
			if first, twice := named[addr]; twice {
				r.note(pos, "hosts", "%s and %s are both at %s, since there is no epmd here that knows ports: write them as NAME@HOST:PORT", first, node, addr)
				continue
			}
			named[addr] = node
			s.Addrs = append(s.Addrs, addr)
		}
		if hosts.Kind == elixir.List && len(hosts.Items) == 0 {
			r.bad(hosts.Pos, "hosts is empty; name the nodes, as [:\"a@10.0.0.1\"]")
		}
		r.retry("timeout")
		return s
	},
}

// localEpmd: the nodes that run on this host.
var localEpmd = strategy{
	name:  "LocalEpmd",
	build: func(*reader, *Topology) discovery.Strategy { return discovery.Local{} },
}

// erlangHosts: the hosts in .hosts.erlang.
var erlangHosts = strategy{
	name:    "ErlangHosts",
	options: []option{{name: "timeout", doc: "a number of milliseconds or :infinity"}},
	build: func(r *reader, t *Topology) discovery.Strategy {
		r.retry("timeout")
		return discovery.HostsFile{Port: t.Port}
	},
}
