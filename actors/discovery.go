package actors

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/maquis-go/maquis/actors/config"
	"github.com/maquis-go/maquis/compat/libcluster"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// WithDiscovery names strategies that find contacts, besides seeds: a few of what
// they find are called, for ever, see package introduce.
func WithDiscovery(s ...discovery.Strategy) Option {
	return func(o *options) error {
		for _, x := range s {
			if err := discovery.Validate(x); err != nil {
				return fmt.Errorf("maquis: WithDiscovery: %w", err)
			}
		}
		o.discovery = append(o.discovery, s...)
		return nil
	}
}

// strategyOf makes the strategy that an entry of join.discovery stands for.
func strategyOf(s config.Strategy) discovery.Strategy {
	switch s.Kind {
	case "static":
		return discovery.Static{Addrs: s.Addrs, Port: s.Port}
	case "local":
		return discovery.Local{Dir: s.Dir}
	case "file":
		return discovery.File{Path: s.Path, Port: s.Port, Reload: s.Reload}
	case "hosts_file":
		return discovery.HostsFile{Path: s.Path, Port: s.Port, Reload: s.Reload}
	case "exec":
		return discovery.Exec{Command: s.Command, Env: s.Env, Port: s.Port, Interval: s.Interval, Timeout: s.Timeout}
	case "dns":
		return discovery.DNS{Queries: s.Queries, Record: s.Record, Port: s.Port, Interval: s.Interval, Linger: s.Linger, Timeout: s.Timeout, Server: s.Server}
	case "multicast":
		return discovery.Multicast{Mode: s.Mode, Groups: s.Groups, Port: s.Port, Listen: s.Listen, Interfaces: s.Interfaces, TTL: s.TTL, Interval: s.Interval}
	case "kubernetes":
		port, err := strconv.Atoi(s.PortName)
		if err == nil {
			s.PortName = ""
		}
		return discovery.Kubernetes{
			Service: s.Service, Selector: s.Selector, Namespace: s.Namespace, Source: s.Source, Address: s.Address, Domain: s.Domain, Port: port, PortName: s.PortName,
			ReadyOnly: s.ReadyOnly, APIURL: s.APIURL, CredentialsDir: s.CredentialsDir, InsecureSkipVerify: s.InsecureSkipVerify, Poll: s.Poll, Interval: s.Interval, ListFromCache: s.ListFromCache,
		}
	case "consul":
		return discovery.Consul{
			Service: s.Service, Tags: s.Tags, URL: s.URL, TokenFile: s.SecretFile, Datacenter: s.Datacenter, Filter: s.Filter, CAFile: s.CAFile,
			Passing: s.Passing, Register: s.Register, Port: s.Port,
		}
	case "etcd":
		return discovery.Etcd{Endpoints: s.Addrs, Prefix: s.Prefix, Username: s.Username, PasswordFile: s.SecretFile, CAFile: s.CAFile, Register: s.Register, Port: s.Port}
	case "rancher":
		return discovery.Rancher{URL: s.URL, Port: s.Port, Interval: s.Interval}
	case "auto":
		return discovery.Auto()
	case "merge":
		return discovery.Merge(strategiesOf(s.Of)...)
	case "fallback":
		return discovery.Fallback(strategiesOf(s.Of)...)
	}
	return nil
}

// DiscoveryConfig returns a configuration whose join.discovery names these
// strategies, for those who write cluster files: of kinds that libcluster has. An
// error names what a file cannot say.
func DiscoveryConfig(list ...discovery.Strategy) (*config.Config, error) {
	var out []config.Strategy
	var errs []error
	for _, s := range list {
		c := config.Strategy{}
		switch s := s.(type) {
		case discovery.Static:
			c = config.Strategy{Kind: "static", Addrs: s.Addrs, Port: s.Port}
		case discovery.Local:
			c = config.Strategy{Kind: "local", Dir: s.Dir}
		case discovery.HostsFile:
			c = config.Strategy{Kind: "hosts_file", Path: s.Path, Port: s.Port, Reload: s.Reload}
		case discovery.DNS:
			c = config.Strategy{Kind: "dns", Queries: s.Queries, Record: s.Record, Port: s.Port, Interval: s.Interval, Linger: s.Linger, Timeout: s.Timeout, Server: s.Server}
		case discovery.Multicast:
			c = config.Strategy{Kind: "multicast", Mode: s.Mode, Groups: s.Groups, Port: s.Port, Listen: s.Listen, Interfaces: s.Interfaces, TTL: s.TTL, Interval: s.Interval}
			if len(s.Secrets) > 0 {
				errs = append(errs, fmt.Errorf("maquis: %s: a file names no secret for announcements alone; security.secrets holds for them, too", discovery.Describe(s)))
			}
		case discovery.Kubernetes:
			c = config.Strategy{
				Kind: "kubernetes", Service: s.Service, Selector: s.Selector, Namespace: s.Namespace, Source: s.Source, Address: s.Address, Domain: s.Domain, PortName: s.PortName,
				ReadyOnly: s.ReadyOnly, APIURL: s.APIURL, CredentialsDir: s.CredentialsDir, InsecureSkipVerify: s.InsecureSkipVerify, Poll: s.Poll, Interval: s.Interval, ListFromCache: s.ListFromCache,
			}
			if s.Port != 0 {
				c.PortName = strconv.Itoa(s.Port)
			}
		case discovery.Rancher:
			c = config.Strategy{Kind: "rancher", URL: s.URL, Port: s.Port, Interval: s.Interval}
		default:
			errs = append(errs, fmt.Errorf("maquis: %s is not written to a file", discovery.Describe(s)))
			continue
		}
		out = append(out, c)
	}
	return config.FromCode(func(c *config.Config) { c.Join.Discovery = out }), errors.Join(errs...)
}

func strategiesOf(list []config.Strategy) []discovery.Strategy {
	var out []discovery.Strategy
	for _, s := range list {
		out = append(out, strategyOf(s))
	}
	return out
}

// applyDiscovery takes the strategies of a configuration, those of libcluster's
// topologies too.
func (o *options) applyDiscovery(c *config.Config, bad func(path, prefix string, err error)) {
	if !fromCode(c, "join.discovery") {
		o.discovery = nil
		for i, k := range c.Join.Discovery {
			s := strategyOf(k)
			if err := validate(s); err != nil {
				bad(fmt.Sprintf("join.discovery[%d]", i), "discovery: ", err)
			}
			o.discovery = append(o.discovery, s)
		}
	}
	if !c.Libcluster.Enabled || c.Libcluster.Topologies == "" {
		return
	}
	list, notes, err := libcluster.Parse([]byte(c.Libcluster.Topologies))
	if err != nil {
		bad("libcluster_topologies", "libcluster: ", err)
	}
	for _, n := range notes {
		o.notes = append(o.notes, "libcluster_topologies: "+n.String())
	}
	for _, t := range list {
		o.discovery = append(o.discovery, t.Strategy)
	}
}

// validate checks a strategy without a trace: that of Local makes a directory.
func validate(s discovery.Strategy) error {
	if _, ok := s.(discovery.Local); ok {
		return nil
	}
	return discovery.Validate(s)
}
