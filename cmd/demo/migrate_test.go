package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMigrate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "runtime.exs")
	require.NoError(t, os.WriteFile(file, []byte(`config :libcluster, topologies: [
  static: [strategy: Cluster.Strategy.Epmd, connect: {M, :f, []}, config: [hosts: [:"app@10.0.0.1"]]]]`), 0o600))
	var out, errw bytes.Buffer
	require.Zero(t, run([]string{"config", "migrate", file}, strings.NewReader(""), &out, &errw))
	require.Contains(t, out.String(), "hosts: [app@10.0.0.1]")
	require.Contains(t, errw.String(), "runtime.exs: line 2: topology static, connect: the function {M, :f, []} cannot be called from Go")
	ours := out.String()
	out.Reset()
	errw.Reset()
	require.Zero(t, run([]string{"config", "migrate", "-"}, strings.NewReader(ours), &out, &errw), "ours too")
	require.Empty(t, errw.String())
	for _, args := range [][]string{{"config", "migrate"}, {"config", "migrate", "a", "b"}, {"config", "migrate", filepath.Join(t.TempDir(), "nothing.exs")}, {"config", "migrate", "-x"}} {
		require.Equal(t, exitUsage, run(args, strings.NewReader(""), &out, &errw), args)
	}
	errw.Reset()
	require.Equal(t, exitUsage, run([]string{"config", "migrate", "-"}, strings.NewReader(`config :libcluster, topologies: [a: [strategy: Epmd]]`), &out, &errw))
	require.Contains(t, errw.String(), "topology a: hosts is missing")
}

// What --native prints is a part of a cluster file in which a node finds the same
// strategies.
func TestMigrateNative(t *testing.T) {
	exs := filepath.Join(t.TempDir(), "runtime.exs")
	require.NoError(t, os.WriteFile(exs, []byte(`config :libcluster, topologies: [
  static: [strategy: Cluster.Strategy.Epmd, config: [hosts: [:"app@10.0.0.1", :"app@10.0.0.2:7000"]]],
  near: [strategy: Cluster.Strategy.LocalEpmd],
  hosts: [strategy: Cluster.Strategy.ErlangHosts],
  gossip: [strategy: Cluster.Strategy.Gossip, config: [port: 45892, multicast_addr: "233.252.1.32", multicast_ttl: 1]],
  k8s: [strategy: Cluster.Strategy.Kubernetes, config: [mode: :ip, kubernetes_node_basename: "app", kubernetes_selector: "app=shop", kubernetes_namespace: "prod", polling_interval: 10_000]],
  dns: [strategy: Cluster.Strategy.Kubernetes.DNSSRV, config: [service: "shop", application_name: "app", namespace: "prod"]],
  poll: [strategy: Cluster.Strategy.DNSPoll, config: [query: "app.internal", node_basename: "app", polling_interval: 5_000]],
  rancher: [strategy: Cluster.Strategy.Rancher, config: [node_basename: "app"]]]`), 0o600))
	status, out, errs := call(t, "config", "migrate", "--native", exs)
	require.Zero(t, status, errs)
	require.Contains(t, errs, "topology k8s, kubernetes_node_basename:")
	require.NotContains(t, out, "libcluster")
	for _, line := range []string{
		`static: {addrs: ["10.0.0.1:6278", "10.0.0.2:7000"]}`, "local:", "hosts_file:", `multicast: {groups: [233.252.1.32], port: 45892, ttl: 1}`,
		`kubernetes: {address: ip, interval: 10s, namespace: prod, selector: app=shop}`,
		`dns: {queries: [shop.prod.svc.cluster.local.], record: srv}`, "dns: {interval: 5s, queries: [app.internal]}", "rancher:",
	} {
		require.Contains(t, out, line)
	}
	file := clusterFile(t, "node: {name: a}\nsecurity: {secrets: [\"file:secret\"]}\n"+out)
	status, printed, errs := call(t, "config", "print", file)
	require.Zero(t, status, errs)
	require.Contains(t, printed, "multicast: {groups: [233.252.1.32], port: 45892, ttl: 1}")

	require.NoError(t, os.WriteFile(exs, []byte(`config :libcluster, topologies: [gossip: [strategy: Cluster.Strategy.Gossip, config: [secret: "a secret of its own, long enough"]]]`), 0o600))
	status, _, errs = call(t, "config", "migrate", "--native", exs)
	require.Equal(t, exitUsage, status)
	require.Contains(t, errs, "security.secrets holds for them, too")
}
