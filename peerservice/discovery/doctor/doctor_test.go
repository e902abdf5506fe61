package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/peerservice/discovery"
	"github.com/maquis-go/maquis/peerservice/discovery/doctor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "the secret of the doctor's tests"

// serve accepts connections on loopback, each in a goroutine of its own.
func serve(t *testing.T, f func(net.Conn)) (addr string) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); f(c) })
		}
	})
	return ln.Addr().String()
}

func hello(name string) handshake.Hello {
	return handshake.Hello{Class: handshake.Control, Cluster: "c", Name: name, Incarnation: 7, Generation: 1, Addrs: []string{"127.0.0.1:1"}, MaxMessage: 1}
}

// node accepts as a node of cluster c does, and answers a.
func node(name string, sec *handshake.Security, a handshake.Answer) func(net.Conn) {
	return func(c net.Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _, _, _ = handshake.Accept(ctx, c, sec, "c", func(handshake.Hello, net.Addr) (handshake.Hello, handshake.Answer) { return hello(name), a })
	}
}

// elsewhere is a node of cluster d.
func elsewhere(sec *handshake.Security) func(net.Conn) {
	return func(c net.Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _, _, _ = handshake.Accept(ctx, c, sec, "d", nil)
	}
}

func security(t *testing.T, cfg handshake.SecurityConfig) *handshake.Security {
	t.Helper()
	s, err := handshake.NewSecurity(cfg)
	require.NoError(t, err)
	return s
}

func bySecret(t *testing.T, name, secret string) *handshake.Security {
	return security(t, handshake.SecurityConfig{Mode: handshake.ModeSecret, Secrets: []string{secret}, Cluster: "c", Node: name})
}

// authority signs certificates with the times that a test wants.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, a.key.Public(), a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.write("ca", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) {
	require.NoError(a.t, os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (a *authority) node(name string, from, to time.Duration) *handshake.Security {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
		URIs: []*url.URL{{Scheme: "maquis", Host: "c", Path: "/" + name}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	require.NoError(a.t, err)
	a.write(name+".crt", "CERTIFICATE", der)
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	a.write(name+".key", "PRIVATE KEY", pkcs)
	return security(a.t, handshake.SecurityConfig{
		Mode: handshake.ModeMTLS, CertFile: filepath.Join(a.dir, name+".crt"), KeyFile: filepath.Join(a.dir, name+".key"), CAFile: filepath.Join(a.dir, "ca"), Cluster: "c", Node: name,
	})
}

// late is a node whose clock is a minute behind: the last bytes of what a plain one
// says are its clock.
func late(plain func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		outer, inner := net.Pipe()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { plain(inner); inner.Close() })
		wg.Go(func() { _, _ = io.Copy(outer, c) })
		first := make([]byte, 1) // the answer to the preface, which is waited for
		_, _ = io.ReadFull(outer, first)
		_, _ = c.Write(first)
		b, _ := io.ReadAll(outer)
		if n := len(b) - 8; n > 0 {
			binary.BigEndian.PutUint64(b[n:], binary.BigEndian.Uint64(b[n:])-60_000)
		}
		_, _ = c.Write(b)
		c.Close()
	}
}

// Each way to fit or not has its verdict and its remedy.
func TestVerdicts(t *testing.T) {
	mine := bySecret(t, "me", secret)
	plain := security(t, handshake.SecurityConfig{Mode: handshake.ModeInsecure, Cluster: "c", Node: "me"})
	ca, other := newAuthority(t), newAuthority(t)
	certified := ca.node("me", -time.Hour, time.Hour)
	gone, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	gone.Close()
	for name, k := range map[string]struct {
		sec     *handshake.Security
		serve   func(net.Conn)
		addr    string // instead of a server
		said    string
		verdict string
		reason  string
		admits  bool
		remedy  string
		node    string
	}{
		"ok":                   {sec: mine, serve: node("b", mine, handshake.Answer{}), said: "b", verdict: "ok", admits: true, node: "b"},
		"refused":              {sec: mine, addr: gone.Addr().String(), verdict: "refused", reason: "refused", remedy: "is the node up"},
		"timeout":              {sec: mine, serve: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, verdict: "timeout", reason: "timeout", remedy: "firewall"},
		"wrong secret":         {sec: mine, serve: node("b", bySecret(t, "b", "another secret, long enough"), handshake.Answer{}), verdict: "wrong secret", reason: "wrong_secret", remedy: "the same secret"},
		"other cluster":        {sec: plain, serve: elsewhere(plain), verdict: "other cluster", reason: "wrong_cluster", remedy: "correct the cluster's name"},
		"another life's name":  {sec: mine, serve: node("b", mine, handshake.Answer{}), said: "x", verdict: "name mismatch", reason: "name_mismatch", admits: true, remedy: "keeps nobody out", node: "b"},
		"name taken":           {sec: mine, serve: node("b", mine, handshake.Answer{Reason: messages.ReasonNameTaken, Known: 3}), verdict: "name taken", reason: "name_taken", remedy: "give one of them another", node: "b"},
		"down":                 {sec: mine, serve: node("b", mine, handshake.Answer{Reason: messages.ReasonDown, Known: 3}), verdict: "ok", admits: true, node: "b"},
		"version":              {sec: mine, serve: func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 8)); _, _ = c.Write([]byte{1}) }, verdict: "version", reason: "version", remedy: "upgrade"},
		"wrong mode":           {sec: mine, serve: node("b", plain, handshake.Answer{}), verdict: "wrong mode", reason: "wrong_mode", remedy: "same security mode"},
		"not maquis":           {sec: mine, serve: func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, verdict: "not maquis", reason: "not_maquis", remedy: "is the port"},
		"closed":               {sec: mine, serve: func(net.Conn) {}, verdict: "reset", reason: "reset", remedy: "may be starting"},
		"with certificates":    {sec: certified, serve: node("b", ca.node("b", -time.Hour, time.Hour), handshake.Answer{}), verdict: "ok", admits: true, node: "b"},
		"expired":              {sec: certified, serve: node("b", ca.node("b2", -2*time.Hour, -time.Hour), handshake.Answer{}), verdict: "certificate", reason: "certificate", remedy: "expired"},
		"of another authority": {sec: certified, serve: node("b", other.node("b", -time.Hour, time.Hour), handshake.Answer{}), verdict: "certificate", reason: "certificate", remedy: "authority"},
		"another's":            {sec: certified, serve: node("z", ca.node("b3", -time.Hour, time.Hour), handshake.Answer{}), verdict: "certificate", reason: "certificate", remedy: "certificate"},
		"not valid yet":        {sec: certified, serve: node("b", ca.node("b4", time.Hour, 2*time.Hour), handshake.Answer{}), verdict: "clock skew", reason: "clock", remedy: "NTP"},
		"clock":                {sec: plain, serve: late(node("b", plain, handshake.Answer{})), verdict: "clock skew", reason: "clock", admits: true, remedy: "NTP", node: "b"},
		"no such host":         {sec: mine, addr: "nowhere.invalid:6278", verdict: "no such host", reason: "name", remedy: "does it exist"},
		"link-local":           {sec: mine, addr: "[fe80::1]:6278", verdict: "not to be dialed", reason: "address", remedy: "cannot be dialed from here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := k.addr
			if addr == "" {
				addr = serve(t, k.serve)
			}
			try := 10 * time.Second
			if k.reason == "timeout" {
				try = 300 * time.Millisecond
			}
			r := doctor.Run(t.Context(), doctor.Config{
				Strategies: []discovery.Strategy{one{discovery.Candidate{Addr: addr, Name: k.said}}}, Self: discovery.Self{Cluster: "c", Name: "me"},
				Hello: hello("me"), Security: k.sec, Transport: transport.TCP{}, Try: try,
			})
			require.Len(t, r.Candidates, 1)
			c := r.Candidates[0]
			require.Equal(t, k.verdict, c.Verdict, "%+v", c)
			require.Equal(t, k.reason, c.Reason)
			require.Equal(t, k.admits, c.Admits)
			require.Equal(t, k.admits, r.OK)
			require.Equal(t, k.node, c.Node)
			require.Contains(t, c.Remedy, k.remedy)
			require.Contains(t, r.String(), k.verdict)
			require.Contains(t, r.String(), k.remedy)
			b, err := json.Marshal(r)
			require.NoError(t, err)
			require.Contains(t, string(b), `"verdict":"`+k.verdict+`"`)
		})
	}
}

// one is a source that names one candidate.
type one struct{ discovery.Candidate }

func (o one) Run(ctx context.Context, emit func(discovery.Snapshot)) error {
	emit(discovery.Snapshot{Candidates: []discovery.Candidate{o.Candidate}})
	<-ctx.Done()
	return nil
}

// What sources lack and fail in is told; a candidate of several is tried once; the
// node's own address is its own, and explains that its name is taken.
func TestReport(t *testing.T) {
	sec := bySecret(t, "me", secret)
	taken := handshake.Answer{Reason: messages.ReasonNameTaken}
	self, peer := serve(t, node("me", sec, taken)), serve(t, node("b", sec, taken))
	broken := func(text string) discovery.Strategy { return discovery.Exec{Command: []string{"/bin/sh", "-c", text}} }
	cfg := doctor.Config{
		Strategies: []discovery.Strategy{discovery.Merge(discovery.Static{Addrs: []string{self, peer}}, broken("echo no >&2; exit 3"))}, Seeds: []string{peer},
		Self: discovery.Self{Cluster: "c", Name: "me", Addrs: []string{self}}, Hello: hello("me"), Security: sec, Transport: transport.TCP{},
	}
	r := doctor.Run(t.Context(), cfg)
	require.True(t, r.OK)
	require.Len(t, r.Candidates, 2)
	for _, c := range r.Candidates {
		switch c.Addr {
		case self:
			require.Equal(t, []string{"this node", "it runs"}, []string{c.Verdict, c.Detail})
		case peer:
			require.Equal(t, []string{"ok", "it knows this node"}, []string{c.Verdict, c.Detail})
			require.Len(t, c.Sources, 2)
		}
	}
	require.Len(t, r.Sources, 3)
	require.Contains(t, r.Sources[1].Error, "exit status 3")
	require.Contains(t, r.String(), "1 of 2 candidates would let this node in")
	cfg.Self.Addrs = nil
	require.False(t, doctor.Run(t.Context(), cfg).OK, "another has the name")

	cfg.Strategies, cfg.Seeds = nil, nil
	require.Contains(t, doctor.Run(t.Context(), cfg).String(), "neither seeds nor discovery")
	cfg.Strategies = []discovery.Strategy{discovery.File{Path: "/no/such/file"}}
	require.Contains(t, doctor.Run(t.Context(), cfg).String(), "there is no file")
}

// Of packets that were not heeded it is told whose they are, and what to do.
func TestUnheeded(t *testing.T) {
	text := (&doctor.Report{Sources: []doctor.Source{{Name: "multicast udp 6278", Unheeded: []doctor.Unheeded{
		{From: "10.0.0.7", Reason: discovery.DropClock, Packets: 3}, {From: "10.0.0.8", Reason: discovery.DropSecret, Packets: 2}, {From: "10.0.0.9", Reason: discovery.DropForeign, Packets: 1},
	}}}}).String()
	for _, says := range []string{
		"3 packets from 10.0.0.7 not heeded (clock skew)", "clock skew: set the clocks", "2 packets from 10.0.0.8 not heeded (wrong secret)", "wrong secret: give both nodes the same",
		"1 packets from 10.0.0.9 not heeded (foreign)", "no source names a candidate",
	} {
		require.Contains(t, text, says)
	}
}

// Many candidates that say nothing are given up together, with the context.
func TestMany(t *testing.T) {
	var mu sync.Mutex
	open, most := 0, 0
	addr := serve(t, func(c net.Conn) {
		mu.Lock()
		open++
		most = max(most, open)
		mu.Unlock()
		_, _ = io.Copy(io.Discard, c)
		mu.Lock()
		open--
		mu.Unlock()
	})
	_, port, _ := net.SplitHostPort(addr)
	var list []string
	for i := range 200 {
		list = append(list, "127.0.0."+big.NewInt(int64(i+1)).String()+":"+port)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r := doctor.Run(ctx, doctor.Config{
		Seeds: list, Self: discovery.Self{Cluster: "c", Name: "me"}, Hello: hello("me"), Security: bySecret(t, "me", secret), Transport: toOne{addr: addr}, Try: time.Minute,
	})
	require.Len(t, r.Candidates, 200)
	for _, c := range r.Candidates {
		require.Equal(t, "timeout", c.Verdict)
	}
	mu.Lock()
	defer mu.Unlock()
	require.LessOrEqual(t, most, 32)
	require.Equal(t, 1, strings.Count(r.String(), "firewall"), "a remedy is told once")
}

// toOne dials one address for all.
type toOne struct {
	transport.TCP
	addr string
}

func (o toOne) Dial(ctx context.Context, _ string) (net.Conn, error) { return o.TCP.Dial(ctx, o.addr) }
