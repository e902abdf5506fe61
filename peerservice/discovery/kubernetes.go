package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ServiceAccountDir is where Kubernetes puts a pod's credentials.
const ServiceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// Kubernetes finds pods by the API server: through the endpoint slices of a
// service, or the pods themselves. While the node is alone it watches; once
// calm it only lists, about every ten minutes, so that a thousand pods are no
// burden on the API server. Addresses that are not ready are candidates too,
// since a pod may become ready by joining; those that terminate are marked.
//
// It needs a role that may get, list and watch; see Role.
type Kubernetes struct {
	// Service names the service whose endpoint slices are read. Selector is a
	// label selector for slices or pods, as in "app=orders,tier!=test". One of
	// them is needed; together they must both match.
	Service, Selector string
	Namespace         string // default: that of the service account
	// Source is "endpointslices" (default) or "pods".
	Source string
	// Address is the form of a candidate's host: "ip" (default); "hostname", a
	// StatefulSet's stable name HOST.SERVICE.NAMESPACE.svc.DOMAIN, which needs
	// Service; or "dns", A-B-C-D.NAMESPACE.pod.DOMAIN.
	Address string
	// Domain of the cluster's DNS: $CLUSTER_DOMAIN, or else cluster.local.
	Domain string
	// Port is that of the candidates: DefaultPort. PortName takes it from the
	// slice's or container's port of that name instead, where there is one.
	Port     int
	PortName string
	// ReadyOnly leaves out what is not ready. A cluster of which pods become
	// ready by joining never starts with it.
	ReadyOnly bool
	// APIURL is the API server's: from KUBERNETES_SERVICE_HOST and _PORT, or
	// else https://kubernetes.default.svc.
	APIURL string
	// CredentialsDir holds token, ca.crt and namespace: ServiceAccountDir. They
	// are read again for each request or connection.
	CredentialsDir string
	// InsecureSkipVerify talks to an API server that cannot prove who it is:
	// the token is then given to anybody.
	InsecureSkipVerify bool
	// Poll lists every Interval instead of watching, for roles that may not
	// watch; a watch that is forbidden leads to the same.
	Poll     bool
	Interval time.Duration // 5 s
	// ListFromCache lets the API server answer the first list from its cache
	// too (resourceVersion=0), as later ones are.
	ListFromCache bool

	dial dialFunc // of tests
}

// Validate reports every option that cannot be.
func (k Kubernetes) Validate() error {
	errs := []error{checkPort("kubernetes", k.Port), checkInterval("kubernetes", k.Interval)}
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("discovery: kubernetes: "+format, args...))
	}
	if k.Service == "" && k.Selector == "" {
		bad("Service and Selector are empty; name the headless service, or labels as in app=orders")
	}
	if s := k.Source; s != "" && s != "endpointslices" && s != "pods" {
		bad("Source is %q; use endpointslices or pods", s)
	}
	switch k.Address {
	case "", "ip", "dns":
	case "hostname":
		if k.Service == "" {
			bad("Address hostname needs Service, of which the host name is made")
		}
	default:
		bad("Address is %q; use ip, hostname or dns", k.Address)
	}
	if k.Source == "pods" && k.Selector == "" {
		bad("Source pods needs Selector: pods do not say which service selects them")
	}
	for _, n := range []struct{ key, value string }{{"Service", k.Service}, {"Namespace", k.Namespace}, {"Domain", k.Domain}} {
		if n.value != "" && checkHost(n.value) != nil {
			bad("%s is %q, which is no DNS name", n.key, n.value)
		}
	}
	if k.APIURL != "" {
		if u, err := url.Parse(k.APIURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			bad("APIURL is %q; use https://host:port", k.APIURL)
		} else if u.Scheme == "http" && !k.InsecureSkipVerify {
			bad("APIURL is %q: the token would travel in clear; use https, or set InsecureSkipVerify", k.APIURL)
		}
	}
	return errors.Join(errs...)
}

func (k Kubernetes) pods() bool { return k.Source == "pods" }

func (k Kubernetes) resource() string {
	if k.pods() {
		return "pods"
	}
	return "endpointslices"
}

func (k Kubernetes) String() string {
	text := "kubernetes " + k.resource()
	if k.Service != "" {
		text += " of service " + k.Service
	}
	if k.Selector != "" {
		text += " " + k.Selector
	}
	if k.Namespace != "" {
		text += " in " + k.Namespace
	}
	return text
}

// Role returns the manifest of a role that lets the service account do what
// the strategy needs, for those to whom the API server answers 403.
func (k Kubernetes) Role() string {
	group, verbs := `""`, "[get, list, watch]"
	if !k.pods() {
		group = "discovery.k8s.io"
	}
	if k.Poll {
		verbs = "[get, list]"
	}
	ns := k.namespace()
	return fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: maquis-discovery, namespace: %[1]s}
rules:
- {apiGroups: [%[2]s], resources: [%[3]s], verbs: %[4]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: maquis-discovery, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: maquis-discovery}
subjects:
- {kind: ServiceAccount, name: default, namespace: %[1]s}
`, ns, group, k.resource(), verbs)
}

// namespace is the one asked, NAMESPACE where that cannot be told from here.
func (k Kubernetes) namespace() string {
	own, _ := secretFile(filepath.Join(k.dir(), "namespace"))
	return cmp.Or(k.Namespace, own, "NAMESPACE")
}

func (k Kubernetes) dir() string { return cmp.Or(k.CredentialsDir, ServiceAccountDir) }

func (k Kubernetes) domain() string {
	return strings.Trim(cmp.Or(k.Domain, os.Getenv("CLUSTER_DOMAIN"), "cluster.local"), ".")
}

// base is the URL of the list, without a query.
func (k Kubernetes) base() (string, error) {
	ns := k.Namespace
	if ns == "" {
		var err error
		if ns, err = secretFile(filepath.Join(k.dir(), "namespace")); err != nil {
			return "", fmt.Errorf("discovery: kubernetes: Namespace is not set, and %w", err)
		}
	}
	api := strings.TrimSuffix(k.APIURL, "/")
	if host := os.Getenv("KUBERNETES_SERVICE_HOST"); api == "" && host != "" {
		api = "https://" + net.JoinHostPort(host, cmp.Or(os.Getenv("KUBERNETES_SERVICE_PORT"), "443"))
	}
	api = cmp.Or(api, "https://kubernetes.default.svc")
	if k.pods() {
		return api + "/api/v1/namespaces/" + url.PathEscape(ns) + "/pods", nil
	}
	return api + "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(ns) + "/endpointslices", nil
}

func (k Kubernetes) selector() string {
	if k.Service == "" || k.pods() {
		return k.Selector
	}
	s := "kubernetes.io/service-name=" + k.Service
	if k.Selector != "" {
		s += "," + k.Selector
	}
	return s
}

// Run implements Strategy.
func (k Kubernetes) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := k.Validate(); err != nil {
		return err
	}
	interval := k.Interval
	if interval == 0 {
		interval = 5 * time.Second
	}
	r := &kubeRun{Kubernetes: k, emit: emit, interval: interval, noWatch: k.Poll}
	defer r.close()
	wait := newBackoff(time.Second, time.Minute)
	for ctx.Err() == nil {
		calm, changed := PaceOf(ctx).Calm()
		err := r.list(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			emit(r.snapshot())
			if !calm && !r.noWatch {
				if err = r.watch(ctx, changed, &wait); ctx.Err() != nil {
					return nil
				}
			}
		}
		next := jitter(interval)
		switch {
		case err != nil && codeOf(err) == 410:
			next = jitter(100 * time.Millisecond) // what we knew is too old: list again
		case err != nil:
			emit(failed(r.explain(err)))
			next = max(wait.next(), waitOf(err))
		case calm:
			wait.reset()
			next = jitter(calmInterval)
		case !r.noWatch: // the watch ended because we are calm now
			next = jitter(calmInterval)
			if calm, changed = PaceOf(ctx).Calm(); !calm {
				continue
			}
		default:
			wait.reset()
		}
		if !pause(ctx, next, changed, calm) {
			return nil
		}
	}
	return nil
}
