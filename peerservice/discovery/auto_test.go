package discovery

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAuto(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		file string
		want string // Describe
		says string // in the explanation
		err  string
	}{
		{"nothing", nil, "", "local", "for the local network set CLUSTER_DISCOVERY=multicast", ""},
		{"hosts file", nil, HostsFileName, "hosts file .hosts.erlang", "there is a file", ""},
		{"pod of a service", map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1", AutoService: "orders"}, "", "kubernetes endpointslices of service orders", "this is a pod", ""},
		{"pod with labels", map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1", AutoSelector: "app=orders"}, "", "kubernetes pods app=orders", "this is a pod", ""},
		{"pod of nothing", map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "", "", "this is a pod", "nothing says which pods are nodes"},
		{"consul", map[string]string{"CONSUL_HTTP_ADDR": "127.0.0.1:8500"}, "", "consul service maquis", "CONSUL_HTTP_ADDR is", ""},
		{"etcd", map[string]string{"ETCDCTL_ENDPOINTS": "a:1,https://b:2"}, "", "etcd http://a:1,https://b:2 /maquis/", "ETCDCTL_ENDPOINTS is", ""},
		{"override beats a pod", map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1", AutoVariable: "dns:a,b"}, "", "dns a,b", `CLUSTER_DISCOVERY is "dns:a,b"`, ""},
		{"static", map[string]string{AutoVariable: "static:a:1,b:2"}, "", "static a:1,b:2", "", ""},
		{"srv", map[string]string{AutoVariable: "srv:_m._tcp.a"}, "", "dns _m._tcp.a (srv)", "", ""},
		{"multicast", map[string]string{AutoVariable: "multicast"}, "", "multicast udp 6278", "", ""},
		{"bad kind", map[string]string{AutoVariable: "gossip"}, "", "", "", `there is no kind "gossip"; use one of broadcast, consul, dns`},
		{"bad argument", map[string]string{AutoVariable: "static"}, "", "", "", "Addrs is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
			for _, v := range []string{"KUBERNETES_SERVICE_HOST", "CONSUL_HTTP_ADDR", "ETCDCTL_ENDPOINTS", AutoVariable, AutoService, AutoSelector} {
				t.Setenv(v, c.env[v])
			}
			if c.file != "" {
				require.NoError(t, os.WriteFile(c.file, nil, 0o600))
			}
			d := Detect()
			require.Contains(t, d.String(), c.says)
			if c.err != "" {
				require.ErrorContains(t, Auto().(auto).Validate(), c.err)
				require.ErrorContains(t, Auto().Run(t.Context(), nil), c.err)
				require.Equal(t, "auto", Describe(Auto()))
				return
			}
			require.NoError(t, Validate(Auto()))
			require.Equal(t, "auto: "+c.want, Describe(Auto()))
			require.Contains(t, d.String(), "chosen: "+c.want)
		})
	}
}

func TestAutoRuns(t *testing.T) {
	t.Setenv(AutoVariable, "static:h:1")
	bubble(t, func(t *testing.T, ctx context.Context) {
		listen(t, ctx, Auto()).untilAddrs("h:1")
	})
}
