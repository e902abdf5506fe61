package libcluster

import (
	"path/filepath"
	"strings"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// kubernetes: endpoints or pods by the API.
var kubernetes = strategy{
	name: "Kubernetes",
	options: []option{
		{name: "mode", doc: ":ip, :dns or :hostname", matters: true},
		{name: "kubernetes_node_basename", doc: "what stands before the @ in node names", required: true},
		{name: "kubernetes_selector", doc: "a label selector, as \"app=myapp\"", required: true},
		{name: "kubernetes_namespace", doc: "a namespace", matters: true},
		{name: "kubernetes_ip_lookup_mode", doc: ":endpoints or :pods", matters: true},
		{name: "kubernetes_service_name", doc: "the name of a headless service", matters: true},
		{name: "kubernetes_cluster_name", doc: "the first label of the cluster's domain", matters: true},
		{name: "kubernetes_master", doc: "the host of the API server", matters: true},
		{name: "kubernetes_service_account_path", doc: "a directory", matters: true},
		{name: "kubernetes_use_cached_resources", doc: "true or false"},
		pollingInterval,
	},
	build: func(r *reader, t *Topology) discovery.Strategy {
		s := discovery.Kubernetes{
			Selector: r.text("kubernetes_selector"), Namespace: r.text("kubernetes_namespace"), Port: t.Port,
			Source:        map[string]string{"endpoints": "endpointslices", "pods": "pods"}[r.word("kubernetes_ip_lookup_mode", "endpoints", "pods")],
			Address:       r.word("mode", "ip", "dns", "hostname"),
			ListFromCache: r.boolean("kubernetes_use_cached_resources"),
			Interval:      r.interval(),
		}
		r.basename("kubernetes_node_basename")
		if name := r.text("kubernetes_cluster_name"); name != "" {
			s.Domain = name + ".local"
		}
		if service := r.text("kubernetes_service_name"); s.Address == "hostname" {
			s.Service = service
			if service == "" && !r.seen["kubernetes_service_name"] {
				r.bad(r.config["mode"].Pos, "kubernetes_service_name is missing; mode :hostname needs the headless service whose name host names contain")
			}
		} else if service != "" {
			r.note(r.config["kubernetes_service_name"].Pos, "kubernetes_service_name", "only mode :hostname uses it")
		}
		if master := r.text("kubernetes_master"); master != "" {
			s.APIURL = apiURL(master, s.Domain)
		}
		if dir := r.text("kubernetes_service_account_path"); dir != "" {
			if !filepath.IsAbs(dir) {
				r.bad(r.config["kubernetes_service_account_path"].Pos, "kubernetes_service_account_path is %q; it must be an absolute path", dir)
			}
			s.CredentialsDir = dir
		}
		if s.Interval > 0 {
			r.note(r.config["polling_interval"].Pos, "polling_interval", "changes are watched; only where the role may not watch, or a watch fails, is the list read at this interval")
		}
		return s
	},
}

// apiURL is the address that libcluster calls: a master that ends in a dot is a
// full name, another one gets the cluster's domain. One with a port, a scheme
// or an IP address is taken as it is.
func apiURL(master, domain string) string {
	switch {
	case strings.Contains(master, "://"):
		return master
	case strings.HasSuffix(master, "."):
		return "https://" + strings.TrimSuffix(master, ".")
	case master == "kubernetes.default.svc" && domain == "":
		return "" // the default, for which the environment knows the address
	case !strings.HasSuffix(master, ".svc"):
		return "https://" + master
	case domain == "":
		domain = "cluster.local"
	}
	return "https://" + master + "." + domain
}
