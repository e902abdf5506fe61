package handshake_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secretA = "the first secret of the test"
	secretB = "the other secret of the test"
)

func security(t *testing.T, node string, mode handshake.Mode, secrets ...string) *handshake.Security {
	t.Helper()
	s, err := handshake.NewSecurity(handshake.SecurityConfig{Mode: mode, Secrets: secrets, Cluster: "c", Node: node})
	require.NoError(t, err)
	return s
}

func hello(name, cluster string) handshake.Hello {
	return handshake.Hello{Class: handshake.Control, Cluster: cluster, Name: name, Incarnation: 7, Generation: 1, Addrs: []string{"127.0.0.1:1"}, MaxMessage: 1}
}

type outcome struct {
	stream *handshake.Stream
	hello  handshake.Hello
	answer handshake.Answer
	err    error
}

// meet lets two ends shake hands over loopback TCP.
func meet(t *testing.T, dialer, acceptor *handshake.Security, mine handshake.Hello, a handshake.Answer) (d, acc outcome) {
	t.Helper()
	tr := transport.TCP{}
	ln, err := tr.Listen(context.Background(), "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			acc.err = err
			return
		}
		acc.stream, acc.hello, acc.answer, acc.err = handshake.Accept(ctx, conn, acceptor, "c", func(handshake.Hello, net.Addr) (handshake.Hello, handshake.Answer) {
			return hello("b", "c"), a
		})
	}()
	conn, err := tr.Dial(ctx, ln.Addr().String())
	require.NoError(t, err)
	d.stream, d.hello, d.answer, d.err = handshake.Dial(ctx, conn, dialer, mine)
	<-done
	t.Cleanup(func() {
		for _, s := range []*handshake.Stream{d.stream, acc.stream} {
			if s != nil {
				_ = s.Close()
			}
		}
	})
	return d, acc
}

func reason(err error) messages.Reason {
	var he *handshake.Error
	if errors.As(err, &he) {
		return he.Reason
	}
	return ""
}

// Both ends learn who the other is, and bytes pass in every mode.
func TestMeet(t *testing.T) {
	for _, mode := range []handshake.Mode{handshake.ModeSecret, handshake.ModeInsecure} {
		t.Run(mode.String(), func(t *testing.T) {
			d, a := meet(t, security(t, "a", mode, secretA), security(t, "b", mode, secretA), hello("a", "c"), handshake.Answer{Known: 4})
			require.NoError(t, d.err)
			require.NoError(t, a.err)
			require.Equal(t, "b", d.hello.Name)
			require.Equal(t, "a", a.hello.Name)
			require.EqualValues(t, 4, d.answer.Known)
			big := make([]byte, 300<<10)
			got := make(chan int)
			go func() {
				n, b := 0, make([]byte, 4096)
				for n < len(big)+5 {
					k, err := a.stream.Read(b)
					if err != nil {
						break
					}
					n += k
				}
				got <- n
			}()
			pending, err := d.stream.TryWrite(big)
			require.NoError(t, err)
			require.Equal(t, pending, d.stream.Pending())
			_, err = d.stream.Write([]byte("hello"))
			require.NoError(t, err)
			require.Equal(t, len(big)+5, <-got)
		})
	}
}

// Each way not to fit has its reason at both ends.
func TestRefusals(t *testing.T) {
	sec := func(secrets ...string) func(*testing.T, string) *handshake.Security {
		return func(t *testing.T, n string) *handshake.Security {
			return security(t, n, handshake.ModeSecret, secrets...)
		}
	}
	plain := func(t *testing.T, n string) *handshake.Security { return security(t, n, handshake.ModeInsecure) }
	for name, k := range map[string]struct {
		dialer, acceptor func(*testing.T, string) *handshake.Security
		hello            handshake.Hello
		answer           handshake.Answer
		atDialer, atAcc  messages.Reason
	}{
		"secret":     {sec(secretA), sec(secretB), hello("a", "c"), handshake.Answer{}, messages.ReasonWrongSecret, messages.ReasonWrongSecret},
		"cluster":    {sec(secretA), sec(secretA), hello("a", "other"), handshake.Answer{}, messages.ReasonWrongCluster, messages.ReasonWrongCluster},
		"plain":      {plain, sec(secretA), hello("a", "c"), handshake.Answer{}, messages.ReasonWrongMode, messages.ReasonWrongMode},
		"tls":        {sec(secretA), plain, hello("a", "c"), handshake.Answer{}, messages.ReasonWrongMode, messages.ReasonWrongMode},
		"name taken": {sec(secretA), sec(secretA), hello("a", "c"), handshake.Answer{Reason: messages.ReasonNameTaken, Known: 3}, messages.ReasonNameTaken, messages.ReasonNameTaken},
		"down":       {sec(secretA), sec(secretA), hello("a", "c"), handshake.Answer{Reason: messages.ReasonDown, Known: 9}, messages.ReasonDown, messages.ReasonDown},
	} {
		t.Run(name, func(t *testing.T) {
			d, a := meet(t, k.dialer(t, "a"), k.acceptor(t, "b"), k.hello, k.answer)
			require.Equal(t, k.atDialer, reason(d.err), "%v", d.err)
			require.Equal(t, k.atAcc, reason(a.err), "%v", a.err)
			var he *handshake.Error
			require.ErrorAs(t, d.err, &he)
			require.Equal(t, k.answer.Known, he.Known)
		})
	}
}

// Another node than the expected one is refused by the dialer.
func TestWrongName(t *testing.T) {
	h := hello("a", "c")
	h.Expect = "z"
	d, _ := meet(t, security(t, "a", handshake.ModeSecret, secretA), security(t, "b", handshake.ModeSecret, secretA), h, handshake.Answer{})
	require.Equal(t, messages.ReasonWrongName, reason(d.err))
}

// A secret is changed without a break: first accepted everywhere, then used.
func TestRotation(t *testing.T) {
	for _, k := range [][2][]string{{{secretA}, {secretA, secretB}}, {{secretB, secretA}, {secretA, secretB}}, {{secretB, secretA}, {secretB}}} {
		d, a := meet(t, security(t, "a", handshake.ModeSecret, k[0]...), security(t, "b", handshake.ModeSecret, k[1]...), hello("a", "c"), handshake.Answer{})
		require.NoError(t, d.err)
		require.NoError(t, a.err)
	}
}

// What is no preface of ours is recognized, ends in time, and ends nothing
// else.
func TestStrangers(t *testing.T) {
	sec := security(t, "b", handshake.ModeSecret, secretA)
	for name, k := range map[string]struct {
		say  func(net.Conn)
		want messages.Reason
	}{
		"http":           {func(c net.Conn) { _, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")) }, messages.ReasonNotMaquis},
		"tls":            {func(c net.Conn) { _ = tls.Client(c, &tls.Config{ServerName: "x"}).Handshake() }, messages.ReasonNotMaquis},
		"noise":          {func(c net.Conn) { _, _ = c.Write([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09")) }, messages.ReasonNotMaquis},
		"version":        {func(c net.Conn) { _, _ = c.Write([]byte("MAQ\x01\x09\x0a\x01\x00")) }, messages.ReasonVersion},
		"half a preface": {func(c net.Conn) { _, _ = c.Write([]byte("MAQ")) }, messages.ReasonTimeout},
		"then silence":   {func(c net.Conn) { _, _ = c.Write([]byte("MAQ\x01\x01\x01\x01\x00")) }, messages.ReasonTimeout},
		"then noise":     {func(c net.Conn) { _, _ = c.Write([]byte("MAQ\x01\x01\x01\x01\x00garbage garbage garbage")) }, messages.ReasonNotMaquis},
		"nothing":        {func(net.Conn) {}, messages.ReasonTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer ln.Close()
			client, err := net.Dial("tcp", ln.Addr().String())
			require.NoError(t, err)
			defer client.Close()
			said := make(chan struct{})
			go func() { defer close(said); k.say(client) }()
			conn, err := ln.Accept()
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			_, _, _, err = handshake.Accept(ctx, conn, sec, "c", nil)
			require.Equal(t, k.want, reason(err), "%v", err)
			_ = client.Close()
			<-said
		})
	}
}

// A hello beyond its limit, truncated, or full of nonsense is a typed refusal.
func TestHostileHello(t *testing.T) {
	sec := security(t, "b", handshake.ModeInsecure)
	for name, k := range map[string]struct {
		bytes string
		want  messages.Reason
	}{
		"oversize": {"\xff\xff", messages.ReasonOversize},
		"empty":    {"\x00\x00", messages.ReasonBadFrame},
		"short":    {"\x00\x04\x01\x01\x00\x00", messages.ReasonBadFrame},
	} {
		t.Run(name, func(t *testing.T) {
			near, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer near.Close()
			client, err := net.Dial("tcp", near.Addr().String())
			require.NoError(t, err)
			defer client.Close()
			_, err = client.Write([]byte("MAQ\x01\x01\x01\x03\x00" + k.bytes))
			require.NoError(t, err)
			conn, err := near.Accept()
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_, _, _, err = handshake.Accept(ctx, conn, sec, "c", nil)
			require.Equal(t, k.want, reason(err), "%v", err)
		})
	}
}

// Weak or missing secrets are named with the remedy.
func TestSecrets(t *testing.T) {
	for _, s := range [][]string{nil, {""}, {"short"}, {secretA, "short"}} {
		_, err := handshake.NewSecurity(handshake.SecurityConfig{Mode: handshake.ModeSecret, Secrets: s})
		require.ErrorContains(t, err, "openssl rand -hex 32")
	}
}

// certs makes an authority and a certificate for a node, in files.
func certs(t *testing.T, ca *x509.Certificate, caKey *ecdsa.PrivateKey, node string, notAfter time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: node}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter,
		URIs: []*url.URL{{Scheme: "maquis", Host: "c", Path: "/" + node}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, key.Public(), caKey)
	require.NoError(t, err)
	return pemFile(t, "CERTIFICATE", der), keyPEM(t, key)
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) string {
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	return pemFile(t, "EC PRIVATE KEY", der)
}

func pemFile(t *testing.T, kind string, der []byte) string {
	f := filepath.Join(t.TempDir(), "x.pem")
	require.NoError(t, os.WriteFile(f, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return f
}

func authority(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey, string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-3 * time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	ca, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return ca, key, pemFile(t, "CERTIFICATE", der)
}

// With certificates, a node's name is bound to its own.
func TestMTLS(t *testing.T) {
	ca, key, caFile := authority(t)
	other, otherKey, _ := authority(t)
	make := func(ca *x509.Certificate, key *ecdsa.PrivateKey, node string, notAfter time.Time) *handshake.Security {
		cert, k := certs(t, ca, key, node, notAfter)
		s, err := handshake.NewSecurity(handshake.SecurityConfig{Mode: handshake.ModeMTLS, CertFile: cert, KeyFile: k, CAFile: caFile, Cluster: "c", Node: node})
		require.NoError(t, err)
		return s
	}
	later := time.Now().Add(time.Hour)
	b := make(ca, key, "b", later)
	d, a := meet(t, make(ca, key, "a", later), b, hello("a", "c"), handshake.Answer{})
	require.NoError(t, d.err)
	require.NoError(t, a.err)
	d, a = meet(t, make(ca, key, "a", later), b, hello("someone else", "c"), handshake.Answer{})
	require.Equal(t, messages.ReasonCertificate, reason(d.err))
	require.Equal(t, messages.ReasonCertificate, reason(a.err))
	_, a = meet(t, make(other, otherKey, "a", later), b, hello("a", "c"), handshake.Answer{})
	require.Equal(t, messages.ReasonWrongSecret, reason(a.err), "%v", a.err)
	_, a = meet(t, make(ca, key, "a", time.Now().Add(-time.Hour)), b, hello("a", "c"), handshake.Answer{})
	require.Equal(t, messages.ReasonCertificate, reason(a.err), "%v", a.err)
}

// Who only looks learns who is there and what it would answer, refused or not, and
// what the clock says there.
func TestLookAt(t *testing.T) {
	for _, a := range []handshake.Answer{{Known: 4}, {Reason: messages.ReasonNameTaken, Known: 3}} {
		sec := security(t, "b", handshake.ModeSecret, secretA)
		d, c := net.Pipe()
		accepted := make(chan handshake.Hello, 1)
		go func() {
			st, theirs, _, err := handshake.Accept(context.Background(), c, sec, "c", func(handshake.Hello, net.Addr) (handshake.Hello, handshake.Answer) { return hello("b", "c"), a })
			if err == nil {
				_ = st.Close()
			}
			accepted <- theirs
		}()
		theirs, err := handshake.LookAt(context.Background(), d, security(t, "a", handshake.ModeSecret, secretA), hello("a", "c"))
		require.Equal(t, a.Reason, reason(err))
		require.Equal(t, "b", theirs.Name)
		require.InDelta(t, time.Now().UnixMilli(), theirs.Clock, 5000)
		require.Equal(t, handshake.Look, (<-accepted).Class)
		_, err = d.Write([]byte("x"))
		require.Error(t, err, "it is closed")
	}
}
