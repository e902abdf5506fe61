package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const slicesPath = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"

func (l *listener) settled(d time.Duration) Snapshot {
	time.Sleep(d)
	synctest.Wait()
	s, _ := l.last()
	return s
}

// Lists, watches, bookmarks, streams that break, compaction.
func TestKubernetesWatch(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newKubeServer(t, slicesPath)
		s.selector = "kubernetes.io/service-name=orders,tier=a"
		s.put(slice("s1", 1, "orders-0", "-orders-1", "!orders-2"))
		l := listen(t, ctx, s.strategy(Kubernetes{Service: "orders", Selector: "tier=a", PortName: "cluster"}))
		got := l.settled(time.Second)
		require.Equal(t, []Candidate{
			{Addr: "10.0.0.1:7000", Name: "orders-0", Zone: "eu-1a"},
			{Addr: "10.0.0.2:7000", Name: "orders-1", Zone: "eu-1a"},
			{Addr: "10.0.0.3:7000", Name: "orders-2", Zone: "eu-1a", Terminating: true},
		}, got.Candidates, "not ready ones are there, terminating ones are marked")
		require.True(t, got.OK())

		for i := range 50 { // events that come together are told together
			s.put(slice("s2", 100, fmt.Sprint("orders-", i)))
		}
		n := l.count()
		require.Len(t, l.settled(time.Second).Candidates, 4)
		require.LessOrEqual(t, l.count(), n+2)
		s.put(slice("s1", 1, "orders-0")) // a slice moves
		require.Len(t, l.settled(time.Second).Candidates, 2)
		s.remove("s2")
		require.Equal(t, []string{"10.0.0.1:7000"}, addrs(l.settled(time.Second)))

		// For an hour streams end as they do; no list is needed.
		s.breakStreams()
		time.Sleep(time.Hour)
		s.put(slice("s3", 7, "orders-7"))
		require.Len(t, l.settled(2*time.Second).Candidates, 2)
		lists, watches := s.counts()
		require.Equal(t, 1, lists)
		require.InDelta(t, 10, watches, 4)

		// The version is compacted between two watches: 410, and a list.
		s.refusing(func(r *http.Request) (int, http.Header) { return 500, nil })
		s.breakStreams()
		s.compact()
		s.put(slice("s4", 9, "orders-9"))
		got = l.settled(10 * time.Second)
		require.ErrorContains(t, got.Err, "500 Internal Server Error: refused by the test")
		s.refusing(nil)
		require.Len(t, l.settled(time.Minute).Candidates, 3)
	})
}

func TestKubernetesGone(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newKubeServer(t, slicesPath)
		s.put(slice("s1", 1, "a"))
		l := listen(t, ctx, s.strategy(Kubernetes{Service: "orders"}))
		l.settled(time.Second)
		s.mu.Lock() // a change that the watch, when it comes back, may not have
		s.version, s.oldest = 500, 500
		s.mu.Unlock()
		s.put(slice("s2", 2, "b"))
		s.breakStreams()
		got := l.settled(5 * time.Second)
		require.Equal(t, []string{"10.0.0.1:6278", "10.0.0.2:6278"}, addrs(got))
		require.NoError(t, got.Err, "that is no failure")
	})
}

// Tokens change while it runs; a refusal says what to do; a server that is
// busy is left alone as long as it says.
func TestKubernetesRefusals(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newKubeServer(t, slicesPath)
		s.put(slice("s1", 1, "a"))
		s.refusing(func(*http.Request) (int, http.Header) { return 403, nil })
		l := listen(t, ctx, s.strategy(Kubernetes{Service: "orders"}))
		got := l.settled(time.Second)
		require.ErrorContains(t, got.Err, "403 Forbidden")
		require.ErrorContains(t, got.Err, "may get, list and watch endpointslices")
		require.Empty(t, got.Candidates)
		require.False(t, got.OK())

		s.refusing(func(*http.Request) (int, http.Header) { return 429, http.Header{"Retry-After": {"30"}} })
		require.ErrorContains(t, l.settled(5*time.Second).Err, "429")
		s.take()
		l.settled(65 * time.Second)
		requests, _ := s.take()
		require.LessOrEqual(t, requests, 3)

		s.refusing(nil)
		require.Equal(t, []string{"10.0.0.1:6278"}, addrs(l.settled(2*time.Minute)))

		s.mu.Lock()
		s.token = "two"
		s.mu.Unlock()
		s.breakStreams()
		require.ErrorContains(t, l.settled(10*time.Second).Err, "401")
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "token"), []byte("two"), 0o600))
		require.NoError(t, l.settled(2*time.Minute).Err)
	})
}

// Who may list and not watch is asked instead.
func TestKubernetesWatchForbidden(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newKubeServer(t, slicesPath)
		s.put(slice("s1", 1, "a"))
		s.refusing(func(r *http.Request) (int, http.Header) {
			if r.URL.Query().Has("watch") {
				return 403, nil
			}
			return 0, nil
		})
		l := listen(t, ctx, s.strategy(Kubernetes{Service: "orders"}))
		got := l.settled(time.Second)
		require.ErrorContains(t, got.Err, "asked every 5s instead")
		require.Len(t, got.Candidates, 1)
		s.put(slice("s1", 1, "a", "b"))
		got = l.settled(10 * time.Second)
		require.Equal(t, []string{"10.0.0.1:6278", "10.0.0.2:6278"}, addrs(got))
		require.True(t, got.OK())
	})
}

// What a thousand pods cost the API server, for each of them: while alone one
// list and one watch; once joined a list in ten minutes and not a byte of a
// rolling restart.
func TestKubernetesThousandPods(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newKubeServer(t, slicesPath)
		roll := func(round string) {
			for i := range 10 {
				var pods []string
				for j := range 100 {
					pods = append(pods, fmt.Sprintf("orders-%s-%d", round, i*100+j))
				}
				s.put(slice(fmt.Sprint("slice-", i), 1+i*100, pods...))
			}
		}
		roll("a")
		pace := new(Pace)
		l := listen(t, WithPace(ctx, pace), s.strategy(Kubernetes{Service: "orders"}))
		got := l.settled(time.Second)
		require.Len(t, got.Candidates, 1000)
		requests, listBytes := s.take()
		require.Equal(t, 2, requests, "a list and a watch")
		t.Logf("a list of 1,000 pods: %d bytes", listBytes)
		require.Less(t, listBytes, 500_000)

		pace.SetCalm(true)
		l.settled(time.Minute)
		s.take()
		const hours = 3
		for range hours * 60 {
			roll("b") // ten slices change a minute, as in a slow rolling restart
			time.Sleep(time.Minute)
		}
		requests, bytes := s.take()
		t.Logf("calm: %.2f requests and %d bytes a minute for each node", float64(requests)/(hours*60), bytes/(hours*60))
		require.InDelta(t, hours*6, requests, 6)
		require.Less(t, bytes/(hours*60), 50_000)
		_, watches := s.counts()
		require.Equal(t, 1, watches)

		pace.SetCalm(false)
		l.settled(time.Second)
		requests, _ = s.take()
		require.Equal(t, 2, requests, "alone again: it watches at once")
	})
}

// A list of many pods comes in pages.
func TestKubernetesPods(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newKubeServer(t, "/api/v1/namespaces/shop/pods")
		pod := func(name string, change func(meta, status map[string]any)) {
			meta := map[string]any{"name": name, "labels": map[string]any{"topology.kubernetes.io/zone": "z"}}
			status := map[string]any{"phase": "Running", "podIP": "10.1.0.1", "podIPs": []any{map[string]any{"ip": "10.1.0.1"}, map[string]any{"ip": "fd00::1"}}}
			if change != nil {
				change(meta, status)
			}
			s.put(map[string]any{"metadata": meta, "status": status, "spec": map[string]any{
				"containers": []any{map[string]any{"ports": []any{map[string]any{"name": "peer", "containerPort": 9}}}}}})
		}
		for i := range 1100 {
			pod(fmt.Sprintf("many-%04d", i), func(_, st map[string]any) { st["podIPs"], st["podIP"] = nil, fmt.Sprintf("10.2.%d.%d", i/250, i%250) })
		}
		pod("two", nil)
		pod("ends", func(m, st map[string]any) {
			m["deletionTimestamp"], st["podIPs"] = "2026-01-01T00:00:00Z", []any{map[string]any{"ip": "10.1.0.9"}}
		})
		pod("done", func(_, st map[string]any) { st["phase"] = "Succeeded" })
		pod("pending", func(_, st map[string]any) { delete(st, "podIPs"); delete(st, "podIP") })
		l := listen(t, ctx, s.strategy(Kubernetes{Source: "pods", Selector: "app=orders", PortName: "peer"}))
		got := l.settled(time.Second)
		require.Len(t, got.Candidates, 1103)
		require.Contains(t, got.Candidates, Candidate{Addr: "[fd00::1]:9", Name: "two", Zone: "z"})
		require.Contains(t, got.Candidates, Candidate{Addr: "10.1.0.9:9", Name: "ends", Zone: "z", Terminating: true})
		lists, _ := s.counts()
		require.Equal(t, 3, lists, "pages")
		s.remove("two")
		require.Len(t, l.settled(time.Second).Candidates, 1101)
	})
}

func TestKubernetesAddressForms(t *testing.T) {
	for _, c := range []struct {
		k              Kubernetes
		ip, host, want string
		err            string
	}{
		{Kubernetes{}, "10.0.0.7", "", "10.0.0.7:6278", ""},
		{Kubernetes{}, "fd00::7", "", "[fd00::7]:6278", ""},
		{Kubernetes{Address: "dns"}, "10.0.0.7", "", "10-0-0-7.shop.pod.cluster.local:6278", ""},
		{Kubernetes{Address: "dns", Domain: "k8s.corp."}, "fd00::7", "", "fd00--7.shop.pod.k8s.corp:6278", ""},
		{Kubernetes{Address: "hostname", Service: "orders"}, "10.0.0.7", "orders-0", "orders-0.orders.shop.svc.cluster.local:6278", ""},
		{Kubernetes{Address: "hostname", Service: "orders"}, "10.0.0.7", "", "", "no host name"},
		{Kubernetes{Address: "dns"}, "x", "", "", "no IP address"},
		{Kubernetes{}, "a b", "", "", "does not belong"},
	} {
		got, err := c.k.address(c.ip, c.host, "shop", 6278)
		require.Equal(t, c.want, got)
		if c.err != "" {
			require.ErrorContains(t, err, c.err)
		}
	}
}

func TestKubernetesOptions(t *testing.T) {
	err := Kubernetes{Source: "nodes", Address: "hostname", APIURL: "http://x", Namespace: "a b", Port: -1, Interval: 1}.Validate()
	for _, part := range []string{"Service and Selector are empty", `Source is "nodes"`, "needs Service", "in clear", `Namespace is "a b"`, "Port is -1", "Interval is 1ns"} {
		require.ErrorContains(t, err, part)
	}
	require.ErrorContains(t, Kubernetes{Source: "pods", Service: "x"}.Validate(), "needs Selector")
	require.ErrorContains(t, Kubernetes{Service: "x", Address: "ipv4"}.Validate(), "use ip, hostname or dns")
	k := Kubernetes{Service: "orders", Selector: "a=b", Namespace: "shop"}
	require.Equal(t, "kubernetes endpointslices of service orders a=b in shop", k.String())
	require.Contains(t, k.Role(), "apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]")
	t.Setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "6443")
	url, err := k.base()
	require.NoError(t, err)
	require.Equal(t, "https://[fd00::1]:6443"+slicesPath, url)
}

// An API server that cannot prove who it is gets no token.
func TestKubernetesWrongAuthority(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newKubeServer(t, slicesPath)
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "ca.crt"), []byte(otherCA), 0o600))
		l := listen(t, ctx, s.strategy(Kubernetes{Service: "orders"}))
		require.ErrorContains(t, l.settled(time.Second).Err, "certificate signed by unknown authority")
		requests, _ := s.take()
		require.Zero(t, requests)
		require.NoError(t, os.Remove(filepath.Join(s.dir, "ca.crt")))
		require.ErrorContains(t, l.settled(time.Minute).Err, "there is no file")
	})
}

// Whatever an API server, or who took its place, sends: no panic, and what
// comes out can be dialed.
func FuzzKubernetes(f *testing.F) {
	for _, o := range []map[string]any{slice("s", 1, "a", "!b"), {"metadata": map[string]any{"name": "p"}, "status": "Failure", "code": 410}} {
		b, _ := json.Marshal(map[string]any{"type": "ADDED", "object": o})
		f.Add(string(b) + "\n" + `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}`)
	}
	f.Add(`{"type":"ADDED","object":{"status":{"podIPs":[{"ip":"::1"}]},"metadata":{"name":"x","namespace":"n"}}}{"type":"DELETED","object":{"metadata":{"name":"x"}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, k := range []Kubernetes{{Service: "o"}, {Source: "pods", Address: "dns", PortName: "p"}, {Service: "o", Address: "hostname"}} {
			r := &kubeRun{Kubernetes: k, objects: map[string][]Candidate{}, notes: map[string]error{}}
			for ev := range readStream[kubeEvent](t.Context(), strings.NewReader(body)) {
				if ev.err == nil {
					_, _ = r.onEvent(ev.value)
				}
			}
			for _, c := range r.snapshot().Candidates {
				_, err := Address(c.Addr, 0)
				require.NoError(t, err, c.Addr)
			}
		}
	})
}

// otherCA is an authority of nobody.
const otherCA = `-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIUJLGdFG60FJov1j1qXS87Q6dqLIMwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTI3MDEzMzE5WhgPMjEyNjExMDMwMTMz
MTlaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
NXzC9eNEgasJ+Mro6h33vSVyEjayFTDDGp9AzsUyvkUpgQjpaDGnJw69Sn9KIhP5
8O0xJuknwqxUhOYsBk3y9aNTMFEwHQYDVR0OBBYEFNktHqtQyTpngaecVt6WKUM1
N2uHMB8GA1UdIwQYMBaAFNktHqtQyTpngaecVt6WKUM1N2uHMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAMozSyAGymmCf+71LvwB/squ2XC6DLaC
BKbN0cj0RtJ/AiEA8Y3sl32lX5Uxy9TfpVf1Nnsqj1v35kbOEzw9LVm+D4k=
-----END CERTIFICATE-----
`
