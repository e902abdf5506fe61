package libcluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/compat/libcluster"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

const secret = "a secret of the tests, long enough"

var _ libcluster.Joiner = (*maquis.Distribution)(nil)

// freePorts are ports that were free a moment ago.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

func startNode(t *testing.T, name, listen, secret string) *maquis.Distribution {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))
	d, err := maquis.Start(context.Background(), system, maquis.WithProfile("test"), maquis.WithName(name), maquis.WithListen(listen),
		maquis.WithSecret(secret), maquis.WithLogger(quiet), maquis.WithTiming(channelmgr.Timing{Heartbeat: 200 * time.Millisecond, SilentAfter: 2 * time.Second}))
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = d.Stop(ctx)
		system.Shutdown()
	})
	return d
}

// run starts the topologies of a configuration on a node.
func run(t *testing.T, d *maquis.Distribution, config string) *libcluster.Supervisor {
	t.Helper()
	topologies, _, err := libcluster.Parse([]byte(config))
	require.NoError(t, err)
	ctx := discovery.WithSelf(context.Background(), discovery.Self{Cluster: "maquis", Name: d.Name(), Addrs: d.Addrs(d.Name()), Secrets: []string{secret}})
	s, err := libcluster.Start(ctx, d, topologies...)
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s
}

func members(t *testing.T, d *maquis.Distribution, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, d.WaitForMembers(ctx, n), "%s knows %v", d.Name(), d.NodeList())
}

// A libcluster configuration of static hosts, with Erlang's names for nodes,
// forms a cluster of real nodes in any order of start; one of them is not
// there, one has another secret, and the reasons are told.
func TestEpmdConfiguration(t *testing.T) {
	p := freePorts(t, 5)
	config := fmt.Sprintf(`config :libcluster, topologies: [
		static: [strategy: Cluster.Strategy.Epmd, config: [hosts: [:"app1@127.0.0.1:%s", :"app2@127.0.0.1:%s", :"app3@127.0.0.1:%s", :"gone@127.0.0.1:%s", :"other@127.0.0.1:%s"]]]]`,
		p[0], p[1], p[2], p[3], p[4])
	startNode(t, "other@127.0.0.1", "127.0.0.1:"+p[4], "another secret, just as long")
	c := startNode(t, "app3@127.0.0.1", "127.0.0.1:"+p[2], secret)
	sc := run(t, c, config)
	a := startNode(t, "app1@127.0.0.1", "127.0.0.1:"+p[0], secret)
	sa := run(t, a, config)
	b := startNode(t, "app2@127.0.0.1", "127.0.0.1:"+p[1], secret)
	run(t, b, config)
	for _, d := range []*maquis.Distribution{a, b, c} {
		members(t, d, 3)
	}
	nodes, err := sa.NodeList("static")
	require.NoError(t, err)
	require.Equal(t, []string{"app2@127.0.0.1", "app3@127.0.0.1"}, nodes, "without itself")
	require.Equal(t, []libcluster.TopologyInfo{{Name: "static", Strategy: "Cluster.Strategy.Epmd", Nodes: []string{"app1@127.0.0.1", "app2@127.0.0.1"}}}, sc.Topologies())

	top, err := sa.Topology("static")
	require.NoError(t, err)
	require.NoError(t, libcluster.ConnectNodes(t.Context(), top, "app2@127.0.0.1", "app3@127.0.0.1:"+p[2], a.Name()), "all are members")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err = libcluster.ConnectNodes(ctx, top, "gone@127.0.0.1:"+p[3])
	var bad *libcluster.BadNodes
	require.ErrorAs(t, err, &bad)
	require.ErrorIs(t, bad.Nodes["gone@127.0.0.1:"+p[3]], libcluster.ErrUnreachable)
	require.NoError(t, libcluster.DisconnectNodes(t.Context(), top, "app2@127.0.0.1", "stranger@127.0.0.1"))
}

// Two nodes on one host find each other with nothing but LocalEpmd; a third
// joins by a file that is written while it runs.
func TestLocalAndHostsFile(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	dir := t.TempDir()
	t.Chdir(dir)
	a := startNode(t, "a", "127.0.0.1:0", secret)
	b := startNode(t, "b", "127.0.0.1:0", secret)
	local := `config :libcluster, topologies: [local: [strategy: Cluster.Strategy.LocalEpmd]]`
	run(t, a, local)
	run(t, b, local)
	members(t, a, 2)
	members(t, b, 2)

	c := startNode(t, "c", "127.0.0.1:0", secret)
	_, port, _ := net.SplitHostPort(a.Addrs("a")[0])
	require.NoError(t, os.WriteFile(".hosts.erlang", []byte("'127.0.0.9'.\n"), 0o600))
	run(t, c, "topologies:\n  hosts:\n    strategy: ErlangHosts\n    config: {maquis_port: "+port+"}\n")
	time.Sleep(100 * time.Millisecond)
	require.Len(t, c.NodeList(), 1)
	require.NoError(t, os.WriteFile(".hosts.erlang", []byte("'127.0.0.9'.\n'127.0.0.1'.\n"), 0o600))
	members(t, c, 3)
	members(t, b, 3)
	require.Equal(t, "a b c", strings.Join(b.NodeList(), " "))
}

// Nodes hear each other by nothing but a Gossip configuration, the secret of
// which they share; another cluster's packets on the same port are not heeded.
func TestGossipConfiguration(t *testing.T) {
	l, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, _ := net.SplitHostPort(l.LocalAddr().String())
	require.NoError(t, l.Close())
	config := `config :libcluster, topologies: [gossip: [strategy: Cluster.Strategy.Gossip,
		config: [port: ` + port + `, multicast_if: "127.0.0.1", multicast_addr: {233, 252, 1, 32}, multicast_ttl: 1, secret: "%s"]]]`
	a, b, c := startNode(t, "a", "127.0.0.1:0", secret), startNode(t, "b", "127.0.0.1:0", secret), startNode(t, "c", "127.0.0.1:0", secret)
	run(t, a, fmt.Sprintf(config, "the secret of these announcements"))
	run(t, b, fmt.Sprintf(config, "the secret of these announcements"))
	sc := run(t, c, fmt.Sprintf(config, "the secret of some other people"))
	members(t, a, 2)
	members(t, b, 2)
	st, err := sc.Status("gossip")
	require.NoError(t, err)
	require.Empty(t, st.Candidates, "c hears them and does not believe them")
	require.Equal(t, []string{"c"}, c.NodeList())
}

// A name that resolves, here by the hosts file, is all that DNSPoll needs.
func TestDNSPollConfiguration(t *testing.T) {
	a, b := startNode(t, "a", "127.0.0.1:0", secret), startNode(t, "b", "127.0.0.1:0", secret)
	_, port, _ := net.SplitHostPort(a.Addrs("a")[0])
	run(t, b, `[dns: [strategy: Cluster.Strategy.DNSPoll, config: [query: "localhost", node_basename: "app", polling_interval: 100, maquis_port: `+port+`]]]`)
	members(t, a, 2)
}
