package discovery

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// Each source is asked once and left alone; of several, each by itself.
func TestAsk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, os.WriteFile(file, []byte("a\n"), 0o600))
	all := Merge(Static{Addrs: []string{"b:1"}}, Fallback(File{Path: file}, Keep(File{Path: file + "no"})))
	var got []string
	for _, p := range Parts(all) {
		s := Ask(t.Context(), p, 10*time.Second)
		got = append(got, append(addrs(s), Describe(p))...)
		require.Equal(t, Describe(p) == "file "+file+"no", s.Err != nil, "%v", s.Err)
	}
	require.Equal(t, []string{"b:1", "static b:1", "a:6278", "file " + file, "file " + file + "no"}, got)
	require.ErrorContains(t, Ask(t.Context(), Static{Addrs: []string{"a:b:c"}}, time.Second).Err, "a:b:c")
	bubble(t, func(t *testing.T, ctx context.Context) {
		start := time.Now()
		require.ErrorContains(t, Ask(ctx, newScript("mute"), 3*time.Second).Err, "mute: no answer within 3s")
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

// Who only looks is announced to nobody.
func TestAskQuietly(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		dir := filepath.Join(t.TempDir(), "run")
		quiet := WithSelf(ctx, Self{Cluster: "c", Name: "doctor", Addrs: []string{"127.0.0.1:9"}, Secrets: []string{"s"}, Quiet: true})
		a := listen(t, selfCtx(ctx, "c", "a", "127.0.0.1:1"), Local{Dir: dir})
		a.untilAddrs("127.0.0.1:1")
		require.Equal(t, []string{"127.0.0.1:1"}, addrs(Ask(quiet, Local{Dir: dir}, time.Second)))
		files, err := filepath.Glob(dir + "/*/*")
		require.NoError(t, err)
		require.Len(t, files, 1, "the other's")
	})
	agent := newConsulAgent()
	server := httptest.NewServer(agent)
	defer server.Close()
	agent.add("x", "10.0.0.1", 1)
	ctx := WithSelf(t.Context(), Self{Cluster: "c", Name: "doctor", Addrs: []string{"127.0.0.1:9"}, Quiet: true})
	require.Equal(t, []string{"10.0.0.1:1"}, addrs(Ask(ctx, Consul{Service: "orders", URL: server.URL, Register: true}, 5*time.Second)))
	require.Len(t, agent.services, 1, "the other's")
}

// On the air, who asks is answered at once, and becomes nobody's candidate.
func TestAskMulticast(t *testing.T) {
	m := Multicast{Interfaces: []string{loopbackName(t)}, Groups: []string{mcGroup4}, Port: 46290, Interval: 2 * time.Second}
	air, err := m.open()
	if err != nil {
		t.Skipf("no multicast here: %v", err)
	}
	air.close()
	self := Self{Cluster: "c", Name: "a", Addrs: []string{"127.0.0.1:1"}, Secrets: []string{"a secret"}}
	a := listen(t, WithSelf(t.Context(), self), m)
	if s := a.until("a first answer", func(Snapshot) bool { return true }); s.Err != nil {
		t.Skipf("no way for it here: %v", s.Err)
	}
	self.Name, self.Addrs, self.Quiet = "doctor", []string{"127.0.0.1:9"}, true
	require.Equal(t, []string{"127.0.0.1:1"}, addrs(Ask(WithSelf(t.Context(), self), m, 10*time.Second)))
	s, _ := a.last()
	require.Empty(t, s.Candidates)
}

// What is missing is printed as it is to be applied.
func TestMissing(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newKubeServer(t, slicesPath)
		k := s.strategy(Kubernetes{Service: "orders"})
		got := Ask(ctx, k, time.Minute)
		require.NoError(t, got.Err)
		require.Contains(t, Missing(k, got), "metadata: {name: orders, namespace: shop}")
		s.refusing(func(*http.Request) (int, http.Header) { return 403, nil })
		role := Missing(k, Ask(ctx, k, time.Minute))
		require.Equal(t, k.Role(), role)
		require.Contains(t, role, "metadata: {name: maquis-discovery, namespace: shop}")
		require.Contains(t, role, "kind: RoleBinding")
		s.refusing(func(*http.Request) (int, http.Header) { return 500, nil })
		require.Empty(t, Missing(k, Ask(ctx, k, time.Minute)))
	})
	server := newDNSServer(t)
	server.set(dnsmessage.TypeA, "sick", dnsAnswer{code: dnsmessage.RCodeServerFailure})
	for query, says := range map[string]string{
		"orders.shop.svc.cluster.local.":               "metadata: {name: orders, namespace: shop}",
		"_cluster._tcp.orders.shop.svc.cluster.local.": "clusterIP: None",
		"nodes.example.com.":                           "",
		"orders.":                                      "",
		"sick.":                                        "",
	} {
		d := DNS{Queries: []string{query}, Server: server.addr, Port: 7000}
		got := Ask(t.Context(), d, 10*time.Second)
		require.Error(t, got.Err)
		if says == "" {
			require.Empty(t, Missing(d, got), query)
			continue
		}
		require.Contains(t, Missing(d, got), says)
		require.Contains(t, Missing(d, got), "port: 7000")
	}
}
