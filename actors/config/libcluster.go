package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Libcluster is the configuration of libcluster in a cluster file.
type Libcluster struct {
	Enabled bool
	// Topologies is a YAML text with the key libcluster_topologies, for
	// compat/libcluster to parse; its lines are those of the file.
	Topologies string
}

func (c *Config) libcluster() []key {
	return []key{
		toggle("enable_libcluster_compat_layer", &c.Libcluster.Enabled, "whether libcluster_topologies is heeded"),
		{
			name: "libcluster_topologies", kind: "mapping", doc: "topologies of libcluster with their strategy and config, as its own configuration has them", ptr: &c.Libcluster.Topologies,
			read: func(d *decoder, n *yaml.Node, path string) bool { return c.Libcluster.read(d, n, path) },
			take: func(from any, _ string, _, _ origins) { c.Libcluster.Topologies = *from.(*string) },
			show: func() any { return c.Libcluster.shown() },
		},
	}
}

func (l *Libcluster) read(d *decoder, n *yaml.Node, path string) bool {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.bad(n, path, "here is %s; expected a mapping of topologies, as in k8s: {strategy: Kubernetes, config: {kubernetes_selector: app=shop}}", what(n))
		return false
	}
	var v any
	if err := n.Decode(&v); err != nil {
		d.bad(n, path, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return false
	}
	l.Topologies = strings.Repeat("\n", max(n.Line-1, 0)) + "libcluster_topologies: " + inline(v) + "\n"
	if d.from.Source == File {
		l.Topologies = string(d.text)
	}
	return true
}

// shown returns the topologies as YAML values.
func (l *Libcluster) shown() any {
	var doc map[string]any
	if yaml.Unmarshal([]byte(l.Topologies), &doc) != nil {
		return nil
	}
	return doc["libcluster_topologies"]
}
