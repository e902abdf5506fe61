package libcluster

import (
	"slices"
	"strings"
	"time"

	"github.com/maquis-go/maquis/compat/libcluster/elixir"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// prefix begins the module names of libcluster's strategies.
const prefix = "Cluster.Strategy."

// strategy is one of libcluster's and what it becomes.
type strategy struct {
	name    string // without prefix
	options []option
	aliases map[string]string // keys that are accepted for others
	build   func(r *reader, t *Topology) discovery.Strategy
}

// option is one that libcluster documents.
type option struct {
	name     string
	doc      string // what it is, after "needs"
	required bool
	matters  bool   // a default would be something else entirely
	function bool   // it is a function in Elixir
	instead  string // of a function
}

func (s *strategy) option(name string) option {
	if i := slices.IndexFunc(s.options, func(o option) bool { return o.name == name }); i >= 0 {
		return s.options[i]
	}
	return option{name: name}
}

// strategies are all of libcluster's, by name.
var strategies = table(epmd, localEpmd, erlangHosts, gossip, kubernetes, kubernetesDNS, kubernetesDNSSRV, dnsPoll, rancher)

func table(list ...strategy) map[string]*strategy {
	m := make(map[string]*strategy)
	for i := range list {
		m[list[i].name] = &list[i]
	}
	return m
}

// others are strategies of other packages, with what there is here instead.
var others = map[string]string{
	"consul":   "for Consul there is discovery.Consul, or its DNS by Cluster.Strategy.DNSPoll",
	"ec2":      "for EC2 give discovery.Exec a command that prints addresses",
	"postgres": "for a database give discovery.Exec a command that prints addresses",
	"nomad":    "for Nomad ask the DNS of its Consul: Cluster.Strategy.DNSPoll",
}

// find returns the strategy of a module, however it is written.
func (r *reader) find(v elixir.Value) *strategy {
	if v.Kind != elixir.Module && v.Kind != elixir.Atom && v.Kind != elixir.String {
		r.bad(v.Pos, "strategy is %s; it must be a module, as Cluster.Strategy.Epmd", said(v))
		return nil
	}
	name := strings.TrimPrefix(strings.TrimPrefix(v.Text, "Elixir."), prefix)
	if s := strategies[name]; s != nil {
		return s
	}
	for word, hint := range others {
		if strings.Contains(strings.ToLower(v.Text), word) {
			r.bad(v.Pos, "%s is not one of libcluster's strategies; %s", v.Text, hint)
			return nil
		}
	}
	if word := near(name, strategyNames()); word != "" {
		r.bad(v.Pos, "there is no strategy %s; did you mean %s%s?", v.Text, prefix, word)
		return nil
	}
	r.bad(v.Pos, "there is no strategy %s; there are %s. A strategy of your own becomes a discovery.Strategy in a Topology", v.Text, strings.Join(strategyNames(), ", "))
	return nil
}

// Options that several strategies have.
var (
	pollingInterval = option{name: "polling_interval", doc: "a number of milliseconds"}
	resolver        = option{name: "resolver", doc: "a function", function: true, instead: "the system's resolver is asked; a lookup of your own becomes a discovery.Strategy"}
)

// basename reads a key that names the part of node names before the "@".
func (r *reader) basename(key string) {
	if name := r.text(key); name != "" {
		r.note(r.config[key].Pos, key, "%q finds nobody: names need no common base here; who may join is decided by the cluster's name and secret", name)
	}
}

// interval reads the time between questions of a source that is polled.
func (r *reader) interval() time.Duration { return r.millis("polling_interval") }

// retry notes what becomes of the time between rounds of connecting.
func (r *reader) retry(key string) {
	v, ok := r.config[key]
	if !ok || v.Kind == elixir.Atom && v.Text == "infinity" {
		return
	}
	if r.millis(key) > 0 {
		r.note(v.Pos, key, "nodes that cannot be reached are called for ever, after 1 s and then less and less often up to once a minute; the value is not used")
	}
}
