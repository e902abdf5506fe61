package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/maquis-go/maquis/internal/nearest"
)

// Strategy finds contacts; see package discovery, whose options these are. Which
// of them a strategy has depends on its kind.
type Strategy struct {
	Kind string // of Strategies

	Addrs, Command, Env, Queries, Groups, Interfaces              []string
	Path, Dir, Record, Server, Mode, Listen                       string
	Port, TTL                                                     int
	Reload, Interval, Timeout, Linger                             time.Duration
	Service, Selector, Namespace, Source, Address                 string
	Domain, PortName, APIURL, CredentialsDir                      string
	URL, Filter, Datacenter, Prefix, Username, SecretFile, CAFile string
	Tags                                                          []string
	Passing, Register                                             bool
	ReadyOnly, InsecureSkipVerify, Poll, ListFromCache            bool
	Of                                                            []Strategy // of merge and fallback
}

// Strategies are the kinds of strategies that this version has.
var Strategies = []string{"static", "local", "hosts_file", "file", "exec", "dns", "multicast", "kubernetes", "consul", "etcd", "rancher", "auto", "merge", "fallback"}

// keys are the options of a kind.
func (s *Strategy) keys(kind string) []key {
	port := whole("port", &s.Port, 1, 65535, "of addresses that name none; unset: 6278")
	interval := span("interval", &s.Interval, "between two questions")
	reload := span("reload", &s.Reload, "between looks at the file; unset: 1s")
	switch kind {
	case "static":
		return []key{texts("addrs", &s.Addrs, "hosts with or without ports", nil), port}
	case "local":
		return []key{file("dir", &s.Dir, "where the user's nodes on this host find each other; unset: a directory of the user")}
	case "file", "hosts_file":
		return []key{file("path", &s.Path, "of the file"), port, reload}
	case "exec":
		return []key{
			texts("command", &s.Command, "a program that prints addresses, and its arguments", nil), texts("env", &s.Env, "KEY=value, added to its environment", nil),
			port, interval, span("timeout", &s.Timeout, "of one run; unset: 10s"),
		}
	case "dns":
		return []key{
			texts("queries", &s.Queries, "names; one that begins with _ asks for SRV", nil), word("record", &s.Record, "what is asked for", []string{"ip", "a", "aaaa", "srv"}, nil),
			port, interval, span("linger", &s.Linger, "how long an address stays that is no longer named; unset: 1m"),
			span("timeout", &s.Timeout, "of a question; unset: 5s"), text("server", &s.Server, "host or host:port; unset: the system's"),
		}
	case "multicast":
		return []key{
			word("mode", &s.Mode, "how packets are sent", []string{"multicast", "broadcast", "both"}, nil), texts("groups", &s.Groups, "addresses that are joined and sent to; unset: 239.255.62.78 and ff12::6278", nil),
			whole("port", &s.Port, 1, 65535, "UDP, the same for all nodes; unset: 6278"), text("listen", &s.Listen, "address to receive at; unset: all"),
			texts("interfaces", &s.Interfaces, "names of those used; unset: all that are up", nil), whole("ttl", &s.TTL, 1, 255, "routers that a packet may cross, plus one; unset: 1"), interval,
		}
	case "kubernetes":
		return []key{
			text("service", &s.Service, "whose endpoint slices are read"), text("selector", &s.Selector, "of labels of slices or pods, as app=orders"),
			text("namespace", &s.Namespace, "unset: that of the service account"), word("source", &s.Source, "what is read", []string{"endpointslices", "pods"}, nil),
			word("address", &s.Address, "form of the candidates' hosts", []string{"ip", "hostname", "dns"}, nil), text("domain", &s.Domain, "of the cluster's DNS; unset: cluster.local"),
			portOrName(s), toggle("ready_only", &s.ReadyOnly, "leave out what is not ready"), text("api_url", &s.APIURL, "unset: that of the pod's environment"),
			file("credentials_dir", &s.CredentialsDir, "with token, ca.crt and namespace; unset: the service account's"),
			toggle("insecure_skip_verify", &s.InsecureSkipVerify, "talk to an API server that cannot prove who it is"), toggle("poll", &s.Poll, "list, do not watch"),
			interval, toggle("list_from_cache", &s.ListFromCache, "let the first list come from the API server's cache"),
		}
	case "consul":
		return []key{
			text("service", &s.Service, "whose instances are nodes"), texts("tags", &s.Tags, "which instances must all have", nil), text("url", &s.URL, "of the agent; unset: http://127.0.0.1:8500"),
			file("token_file", &s.SecretFile, "with the ACL token"), text("datacenter", &s.Datacenter, "unset: the agent's"), text("filter", &s.Filter, "an expression in Consul's language"),
			file("ca_file", &s.CAFile, "authorities, PEM; unset: the system's"), toggle("passing", &s.Passing, "leave out instances whose checks do not pass"),
			toggle("register", &s.Register, "announce this node"), port,
		}
	case "etcd":
		return []key{
			texts("endpoints", &s.Addrs, "URLs, tried in turn; unset: http://127.0.0.1:2379", nil), text("prefix", &s.Prefix, "of the keys; unset: /maquis/"), text("username", &s.Username, "where etcd wants one"),
			file("password_file", &s.SecretFile, "with the password"), file("ca_file", &s.CAFile, "authorities, PEM; unset: the system's"), toggle("register", &s.Register, "announce this node"), port,
		}
	case "rancher":
		return []key{text("url", &s.URL, "of the service's metadata"), port, interval}
	case "merge", "fallback":
		return []key{strategies("of", &s.Of, "strategies, "+map[string]string{"merge": "all of which are asked", "fallback": "of which the first that answers counts"}[kind])}
	}
	return nil
}

// portOrName is the key of a port's number or name.
func portOrName(s *Strategy) key {
	k := leaf("port", "number or name", "of the candidates, or the name of the slice's or container's; unset: 6278", &s.PortName, func(text string) (string, string) {
		if n, err := strconv.Atoi(text); err == nil && (n < 1 || n > 65535) {
			return "", text + " is no port; use 1 to 65535, or a name"
		}
		return text, ""
	}, itself[string])
	return k
}

// toggle is a key of true or false.
func toggle(name string, p *bool, doc string) key {
	return leaf(name, "true, false", doc, p, func(s string) (bool, string) {
		if s != "true" && s != "false" {
			return false, strconv.Quote(s) + " is neither true nor false"
		}
		return s == "true", ""
	}, itself[bool])
}

// strategies is the key of a list of strategies, each a mapping of its kind to
// its options, or its kind alone.
func strategies(name string, p *[]Strategy, doc string) key {
	return records(name, p, doc, nil, func(d *decoder, n *yaml.Node, path string, s *Strategy) bool { return s.read(d, n, path) },
		func(s *Strategy) map[string]any { return map[string]any{s.Kind: shown(s.keys(s.Kind))} })
}

func (s *Strategy) read(d *decoder, n *yaml.Node, path string) bool {
	n, ok := d.resolve(n, path)
	if !ok {
		return false
	}
	var at, options *yaml.Node
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		s.Kind, at = n.Value, n
	case n.Kind == yaml.MappingNode && len(n.Content) == 2:
		s.Kind, at, options = n.Content[0].Value, n.Content[0], n.Content[1]
	default:
		d.bad(n, path, "here is %s; expected one strategy with its options, as in static: {addrs: [a]}", what(n))
		return false
	}
	switch {
	case !slices.Contains(Strategies, s.Kind):
		if near := nearest.Word(s.Kind, Strategies); near != "" {
			d.bad(at, path, "there is no strategy %q; did you mean %s?", s.Kind, near)
		} else {
			d.bad(at, path, "there is no strategy %q; use one of %s", s.Kind, strings.Join(Strategies, ", "))
		}
		return false
	case options == nil || options.ShortTag() == "!!null":
		return true
	case d.depth > maxDepth:
		d.bad(at, path, "strategies lie in strategies too deep")
		return false
	}
	d.depth++
	defer func() { d.depth-- }()
	return d.mapping(options, s.keys(s.Kind), nil, join(path, s.Kind))
}

// maxDepth bounds merge and fallback in each other.
const maxDepth = 4

// strategyDocs are the keys of all strategies, for documentation.
func strategyDocs() []key {
	var list []key
	for _, kind := range Strategies {
		var s Strategy
		keys := s.keys(kind)
		list = append(list, section(kind, "a strategy", keys...))
	}
	return list
}
