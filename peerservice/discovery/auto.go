package discovery

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
)

// The variables that Auto heeds.
const (
	// AutoVariable overrides what Auto detects: "KIND" or "KIND:ARGUMENT", as
	// in dns:orders.shop.svc.cluster.local.
	AutoVariable = "CLUSTER_DISCOVERY"
	// AutoService and AutoSelector say which pods, or instances, are nodes of
	// the cluster: the name of their service, and a label selector.
	AutoService  = "CLUSTER_DISCOVERY_SERVICE"
	AutoSelector = "CLUSTER_DISCOVERY_SELECTOR"
)

// Detection is what Auto chose, and why.
type Detection struct {
	Strategy Strategy // nil where Err is not
	Steps    []string // what was looked at, in order, and what was found
	Err      error    // what is missing, or wrong
}

// String explains, a line for each step.
func (d Detection) String() string {
	lines := append([]string(nil), d.Steps...)
	if d.Err != nil {
		return strings.Join(append(lines, d.Err.Error()), "\n")
	}
	return strings.Join(append(lines, "chosen: "+Describe(d.Strategy)), "\n")
}

// Auto returns a strategy that chooses another by the environment, when it is
// validated and when it runs: what AutoVariable names; Kubernetes in a pod;
// Consul and etcd where their clients' variables are set; a hosts file in the
// working directory; Local otherwise. Nothing beyond the host is assumed
// without a sign of it: for the local network say multicast. Detect explains.
func Auto() Strategy { return auto{} }

type auto struct{}

func (auto) Validate() error {
	d := Detect()
	if d.Err != nil {
		return d.Err
	}
	return Validate(d.Strategy)
}

func (auto) String() string {
	d := Detect()
	if d.Err != nil {
		return "auto"
	}
	return "auto: " + Describe(d.Strategy)
}

// Run implements Strategy.
func (auto) Run(ctx context.Context, emit func(Snapshot)) error {
	d := Detect()
	if d.Err != nil {
		return d.Err
	}
	return d.Strategy.Run(ctx, emit)
}

// Detect says which strategy Auto uses here, and why.
func Detect() Detection {
	var d Detection
	step := func(format string, args ...any) { d.Steps = append(d.Steps, fmt.Sprintf(format, args...)) }
	service, selector := os.Getenv(AutoService), os.Getenv(AutoSelector)

	if v := os.Getenv(AutoVariable); v != "" {
		step("%s is %q", AutoVariable, v)
		if d.Strategy, d.Err = Named(v); d.Err != nil {
			d.Err = fmt.Errorf("discovery: auto: %s: %w", AutoVariable, d.Err)
		}
		return d
	}
	step("%s is not set", AutoVariable)

	if host := os.Getenv("KUBERNETES_SERVICE_HOST"); host != "" {
		step("KUBERNETES_SERVICE_HOST is %q: this is a pod", host)
		if service == "" && selector == "" {
			d.Err = fmt.Errorf("discovery: auto: this is a pod of Kubernetes, and nothing says which pods are nodes: set %s to the headless service or %s to labels, or %s to something else", AutoService, AutoSelector, AutoVariable)
			return d
		}
		k := Kubernetes{Service: service, Selector: selector}
		if service == "" {
			k.Source = "pods"
		}
		d.Strategy = k
		return d
	}
	step("KUBERNETES_SERVICE_HOST is not set: this is no pod")

	if v := os.Getenv("CONSUL_HTTP_ADDR"); v != "" {
		step("CONSUL_HTTP_ADDR is %q", v)
		d.Strategy = Consul{Service: cmp.Or(service, "maquis"), Register: true}
		return d
	}
	step("CONSUL_HTTP_ADDR is not set")

	if v := os.Getenv("ETCDCTL_ENDPOINTS"); v != "" {
		step("ETCDCTL_ENDPOINTS is %q", v)
		d.Strategy = Etcd{Endpoints: etcdEndpoints(v), Register: true}
		return d
	}
	step("ETCDCTL_ENDPOINTS is not set")

	if _, err := os.Stat(HostsFileName); err == nil {
		step("there is a file %s", HostsFileName)
		d.Strategy = HostsFile{Path: HostsFileName}
		return d
	}
	step("there is no file %s in the working directory", HostsFileName)
	step("so nodes of this user on this host are looked for; for the local network set %s=multicast", AutoVariable)
	d.Strategy = Local{}
	return d
}

// etcdEndpoints reads a list as etcdctl takes it, where the scheme may lack.
func etcdEndpoints(list string) (out []string) {
	for _, e := range strings.Split(list, ",") {
		if e = strings.TrimSpace(e); !strings.Contains(e, "://") {
			e = "http://" + e
		}
		out = append(out, e)
	}
	return out
}

// autoKinds are the words of AutoVariable and what their arguments make.
var autoKinds = map[string]func(arg string) Strategy{
	"static":     func(arg string) Strategy { return Static{Addrs: split(arg)} },
	"file":       func(arg string) Strategy { return File{Path: arg} },
	"hosts":      func(arg string) Strategy { return HostsFile{Path: arg} },
	"exec":       func(arg string) Strategy { return Exec{Command: strings.Fields(arg)} },
	"local":      func(arg string) Strategy { return Local{Dir: arg} },
	"multicast":  func(arg string) Strategy { return Multicast{Groups: split(arg)} },
	"broadcast":  func(string) Strategy { return Multicast{Mode: "broadcast"} },
	"dns":        func(arg string) Strategy { return DNS{Queries: split(arg)} },
	"srv":        func(arg string) Strategy { return DNS{Queries: split(arg), Record: "srv"} },
	"kubernetes": func(arg string) Strategy { return Kubernetes{Service: arg, Selector: os.Getenv(AutoSelector)} },
	"consul":     func(arg string) Strategy { return Consul{Service: cmp.Or(arg, "maquis"), Register: true} },
	"etcd":       func(arg string) Strategy { return Etcd{Endpoints: etcdEndpoints(arg), Register: true} },
	"rancher":    func(arg string) Strategy { return Rancher{URL: arg} },
}

// Named makes the strategy of a text "KIND" or "KIND:ARGUMENT", as multicast or
// dns:orders.shop.svc.cluster.local.
func Named(text string) (Strategy, error) {
	kind, arg, _ := strings.Cut(text, ":")
	f := autoKinds[kind]
	if f == nil {
		return nil, fmt.Errorf("discovery: %q: there is no kind %q; use one of %s", text, kind, strings.Join(sortedKeys(autoKinds), ", "))
	}
	s := f(arg)
	if err := Validate(s); err != nil {
		return nil, fmt.Errorf("discovery: %q: %w", text, err)
	}
	return s, nil
}

func split(arg string) []string {
	if arg == "" {
		return nil
	}
	return strings.Split(arg, ",")
}
