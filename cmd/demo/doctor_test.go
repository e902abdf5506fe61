package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/maquis-go/maquis/peerservice/discovery/doctor"
)

// noNames is a DNS server that knows no name.
func noNames(t *testing.T) (addr string) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil {
				continue
			}
			m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeNameError, nil
			if out, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// The doctor tries a process that runs, beside one that is gone, without joining.
func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	secret, other := filepath.Join(dir, "secret"), filepath.Join(dir, "other")
	require.NoError(t, os.WriteFile(secret, []byte("a secret of the demo's test\n"), 0o600))
	require.NoError(t, os.WriteFile(other, []byte("another one, as long as it must be\n"), 0o600))
	a := startNode(t, "--name", "a", "--listen", "127.0.0.1:0", "--secret-file", secret)
	addr := strings.TrimPrefix(a.wait("listening a on "), "listening a on ")

	cmd := demo("doctor", "--seed", addr, "--discovery", "static:127.0.0.1:1", "--secret-file", secret)
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `(?m)^candidate +`+addr+` +ok, node a, in `, string(out))
	require.Regexp(t, `(?m)^candidate +127.0.0.1:1 +refused`, string(out))
	require.Contains(t, string(out), "refused: nothing listens there")
	require.Contains(t, string(out), "1 of 2 candidates would let this node in")

	file := clusterFile(t, "cluster: elsewhere\nnode: {name: z, listen: \"127.0.0.1:0\"}\nsecurity: {secrets: [\"file:"+secret+"\"]}\njoin: {seeds: [\""+addr+"\"]}\n")
	status, said, errs := call(t, "doctor", "--config", file, "--json")
	require.Equal(t, exitFailed, status, errs)
	var r doctor.Report
	require.NoError(t, json.Unmarshal([]byte(said), &r))
	require.False(t, r.OK)
	require.Len(t, r.Candidates, 1)
	require.Equal(t, "other cluster", r.Candidates[0].Verdict)
	require.NotEmpty(t, r.Candidates[0].Remedy)

	status, said, _ = call(t, "doctor", "--seed", addr, "--secret-file", other)
	require.Equal(t, exitFailed, status)
	require.Contains(t, said, "wrong secret")

	fmt.Fprintln(a.in, "members")
	require.Equal(t, "member a alive", a.wait("member", "up", "down", "left"), "nobody came")
	for _, args := range [][]string{{"doctor", "--wrong"}, {"doctor", "x"}, {"doctor", "--seed", "nonsense"}, {"doctor", "--discovery", "gossip"}, {"doctor", "--config", "/no/such/file"}, {"doctor", "--secret-file", other + "s"}} {
		status, _, errs = call(t, args...)
		require.Equal(t, exitUsage, status, "%v: %s", args, errs)
	}
}

// What Kubernetes lacks is printed as it is to be applied.
func TestDoctorKubernetes(t *testing.T) {
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","message":"endpointslices.discovery.k8s.io is forbidden"}`)
	}))
	defer api.Close()
	credentials := t.TempDir()
	for _, name := range []string{"token", "namespace"} {
		require.NoError(t, os.WriteFile(filepath.Join(credentials, name), []byte("shop"), 0o600))
	}
	file := clusterFile(t, `node: {name: z, listen: "127.0.0.1:0"}
security: {secrets: ["file:secret"]}
join:
  discovery:
    - kubernetes: {service: orders, api_url: "`+api.URL+`", credentials_dir: "`+credentials+`", insecure_skip_verify: true}
    - dns: {queries: [orders.shop.svc.cluster.local.], server: "`+noNames(t)+`"}
`)
	status, out, errs := call(t, "doctor", "--config", file)
	require.Equal(t, exitFailed, status, errs)
	for _, says := range []string{"403 Forbidden", "kind: Role\n", "kind: RoleBinding", "resources: [endpointslices]", "kind: Service\n", "clusterIP: None", "metadata: {name: orders, namespace: shop}"} {
		require.Contains(t, out, says)
	}
}
