package libcluster

import (
	"cmp"
	"os"
	"strings"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// kubernetesDNS: the addresses of a headless service.
var kubernetesDNS = strategy{
	name: "Kubernetes.DNS",
	options: []option{
		{name: "service", doc: "the name of a headless service, as \"myapp-headless\"", required: true},
		{name: "application_name", doc: "what stands before the @ in node names", required: true},
		pollingInterval, resolver,
	},
	build: func(r *reader, t *Topology) discovery.Strategy {
		r.basename("application_name")
		return discovery.DNS{Queries: r.texts("service"), Port: t.Port, Interval: r.interval()}
	},
}

// kubernetesDNSSRV: the pods of a stateful set by their service's SRV records.
var kubernetesDNSSRV = strategy{
	name: "Kubernetes.DNSSRV",
	options: []option{
		{name: "service", doc: "the name of a headless service, as \"myapp-headless\"", required: true},
		{name: "namespace", doc: "a namespace", required: true},
		{name: "application_name", doc: "what stands before the @ in node names", required: true},
		pollingInterval, resolver,
	},
	build: func(r *reader, t *Topology) discovery.Strategy {
		r.basename("application_name")
		domain := strings.TrimSuffix(cmp.Or(os.Getenv("CLUSTER_DOMAIN"), "cluster.local"), ".")
		r.note(r.entry.Pos, "", "candidates have the port of their SRV record, which libcluster ignores: the service must name Maquis's port, and no other")
		if t.Port != 0 {
			r.note(r.config["maquis_port"].Pos, "maquis_port", "SRV records name the port")
		}
		return discovery.DNS{Queries: []string{r.text("service") + "." + r.text("namespace") + ".svc." + domain + "."}, Record: "srv", Interval: r.interval()}
	},
}

// dnsPoll: what a name resolves to.
var dnsPoll = strategy{
	name: "DNSPoll",
	options: []option{
		{name: "query", doc: "a name, as \"my-app.internal\"", required: true},
		{name: "node_basename", doc: "what stands before the @ in node names", required: true},
		pollingInterval, resolver,
	},
	aliases: map[string]string{"poll_interval": "polling_interval"},
	build: func(r *reader, t *Topology) discovery.Strategy {
		r.basename("node_basename")
		return discovery.DNS{Queries: r.texts("query"), Port: t.Port, Interval: r.interval()}
	},
}
