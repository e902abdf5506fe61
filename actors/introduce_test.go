package actors_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// finding starts nodes over TCP that know nothing but a strategy.
func finding(t *testing.T, n int, strategy func(i int) discovery.Strategy, more ...maquis.Option) []*maquis.Distribution {
	t.Helper()
	var all []*maquis.Distribution
	for i := range n {
		system := quietSystem()
		opts := append([]maquis.Option{
			maquis.WithProfile("test"), maquis.WithName(fmt.Sprint("n", i)), maquis.WithCluster(t.Name()), maquis.WithSecret(secret),
			maquis.WithDiscovery(strategy(i)), maquis.WithLogger(slog.New(slog.DiscardHandler)),
		}, more...)
		d, err := maquis.Start(context.Background(), system, opts...)
		require.NoError(t, err)
		t.Cleanup(func() { d.Kill(); system.Shutdown() })
		all = append(all, d)
	}
	return all
}

func together(t *testing.T, all []*maquis.Distribution) {
	t.Helper()
	for _, d := range all {
		require.NoError(t, d.WaitForMembers(ctxFor(t, time.Minute), len(all)), "%v\n%+v", d.NodeList(), d.Discovery())
	}
}

// Nodes of one host find each other without any address, and one that left is not
// brought back by its strategy, but by Join.
func TestDiscoveryLocal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nodes")
	require.NoError(t, os.Mkdir(dir, 0o700))
	all := finding(t, 3, func(int) discovery.Strategy { return discovery.Local{Dir: dir} })
	together(t, all)
	require.NoError(t, all[2].Leave(ctxFor(t, time.Minute)))
	require.Empty(t, all[2].Discovery().Candidates)
	require.Eventually(t, func() bool { return slices.Equal([]string{"n0", "n1"}, all[0].NodeList()) }, time.Minute, 10*time.Millisecond)
	require.NoError(t, all[2].Join(ctxFor(t, time.Minute), all[0].Self().Addrs[0]))
	together(t, all)
}

// A hosts file that is edited while nodes run adds one.
func TestDiscoveryHostsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	all := finding(t, 2, func(int) discovery.Strategy { return discovery.HostsFile{Path: path, Reload: 50 * time.Millisecond} })
	var lines []string
	for _, d := range all {
		host, port, err := net.SplitHostPort(d.Self().Addrs[0])
		require.NoError(t, err)
		lines = append(lines, host+":"+port)
	}
	require.Len(t, all[0].NodeList(), 1)
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	together(t, all)
}

// Candidates that nobody lets in are told with the reason; they are called on by
// the introducer, not by the roster, and those that are members are left alone.
func TestDiscoveryFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := ln.Addr().String()
	require.NoError(t, ln.Close())
	stranger := finding(t, 1, func(int) discovery.Strategy { return discovery.Static{Addrs: []string{nobody}} }, maquis.WithSecret("another secret, which is long enough"))[0]
	d := finding(t, 1, func(int) discovery.Strategy {
		return discovery.Static{Addrs: []string{nobody, stranger.Self().Addrs[0]}}
	})[0]
	require.Eventually(t, func() bool {
		reasons := make(map[string]string)
		for _, c := range d.Discovery().Candidates {
			reasons[c.Addr] = c.Reason
		}
		return reasons[nobody] == "refused" && reasons[stranger.Self().Addrs[0]] == "wrong_secret"
	}, time.Minute, 20*time.Millisecond, "%+v", d.Discovery())
	require.Equal(t, []string{"n0"}, d.NodeList())
	stats := d.Stats()
	require.NotZero(t, stats["discovery_static_refused_refused"])
	require.NotZero(t, stats["discovery_static_refused_wrong_secret"])
	require.Equal(t, []uint64{1, 0, 0, 2, 0}, []uint64{stats["discovery_static_ok"], stats["discovery_static_partial"], stats["discovery_static_error"], stats["discovery_static_candidates"], stats["discovery_static_accepted"]})
	require.GreaterOrEqual(t, stats["discovery_static_dialed"], stats["discovery_static_refused_refused"]+stats["discovery_static_refused_wrong_secret"])
	require.NoError(t, d.Leave(ctxFor(t, time.Minute)))
	require.GreaterOrEqual(t, d.Stats()["discovery_static_dialed"], stats["discovery_static_dialed"], "kept when it has left")
}
