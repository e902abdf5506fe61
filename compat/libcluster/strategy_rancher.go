package libcluster

import "github.com/maquis-go/maquis/peerservice/discovery"

// rancher: the containers of this one's service, by Rancher's metadata.
var rancher = strategy{
	name: "Rancher",
	options: []option{
		{name: "node_basename", doc: "what stands before the @ in node names", required: true},
		pollingInterval,
	},
	build: func(r *reader, t *Topology) discovery.Strategy {
		r.basename("node_basename")
		return discovery.Rancher{Port: t.Port, Interval: r.interval()}
	},
}
