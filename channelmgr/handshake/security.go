package handshake

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"sync"
	"time"
)

// Mode is how links are secured.
type Mode uint8

// Modes. Their values travel in the preface.
const (
	ModeSecret   Mode = 1 // TLS 1.3 both ways, from a shared secret
	ModeMTLS     Mode = 2 // TLS 1.3 both ways, with certificates of an own authority
	ModeInsecure Mode = 3 // plain
)

// String returns the mode's name.
func (m Mode) String() string {
	switch m {
	case ModeSecret:
		return "secret"
	case ModeMTLS:
		return "mtls"
	case ModeInsecure:
		return "insecure"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// MinSecret is the least number of bytes of a secret.
const MinSecret = 16

// SecurityConfig says how links are secured.
type SecurityConfig struct {
	Mode    Mode
	Secrets []string // ModeSecret: the first is used, all are accepted
	// ModeMTLS: files in PEM, read again when they change. The node's name
	// must be in its certificate, as URI maquis://CLUSTER/NODE or as DNS name.
	CertFile, KeyFile, CAFile string
	Cluster, Node             string
}

// Security is the material for handshakes. It is safe for concurrent use.
type Security struct {
	mode    Mode
	cluster string
	cert    *tls.Certificate
	pool    *x509.CertPool
	cfg     SecurityConfig

	mu     sync.Mutex
	loaded [3]time.Time // modification times of the files
}

// serverName is what every certificate in ModeSecret is for.
const serverName = "node.maquis.internal"

// NewSecurity checks the configuration and derives or loads what it needs.
func NewSecurity(cfg SecurityConfig) (*Security, error) {
	s := &Security{mode: cfg.Mode, cluster: cfg.Cluster, cfg: cfg}
	switch cfg.Mode {
	case ModeInsecure:
		return s, nil
	case ModeSecret:
		return s, s.fromSecrets()
	case ModeMTLS:
		return s, s.reload()
	}
	return nil, fmt.Errorf("handshake: unknown security mode %d; use secret, mtls or insecure", cfg.Mode)
}

// Mode returns the mode.
func (s *Security) Mode() Mode { return s.mode }

// SetSecrets replaces the secrets of ModeSecret for handshakes to come; links
// that stand are left alone. With an error, the old ones stay.
func (s *Security) SetSecrets(secrets []string) error {
	if s.mode != ModeSecret {
		return fmt.Errorf("handshake: links are secured by mode %s, which has no secrets", s.mode)
	}
	cfg := s.cfg
	cfg.Secrets = secrets
	fresh, err := NewSecurity(cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cert, s.pool = fresh.cert, fresh.pool
	return nil
}

// fromSecrets derives a certificate authority from each secret. The first one
// signs this process's own leaf, whose key never leaves it.
func (s *Security) fromSecrets() error {
	if len(s.cfg.Secrets) == 0 {
		return errors.New("handshake: no secret is set; make one with `openssl rand -hex 32` and give it to every node")
	}
	s.pool = x509.NewCertPool()
	for i, secret := range s.cfg.Secrets {
		if len(secret) < MinSecret {
			return fmt.Errorf("handshake: secret %d has %d bytes, at least %d are needed; make one with `openssl rand -hex 32`", i+1, len(secret), MinSecret)
		}
		ca, key, err := authority(secret)
		if err != nil {
			return fmt.Errorf("handshake: deriving an authority: %w", err)
		}
		s.pool.AddCert(ca)
		if i == 0 {
			if s.cert, err = leaf(ca, key, s.cfg.Node); err != nil {
				return fmt.Errorf("handshake: making a certificate: %w", err)
			}
		}
	}
	return nil
}

// Validity of derived certificates: the secret is what expires, not they. It
// begins before 2000 for tests on virtual time.
var (
	notBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)
)

func authority(secret string) (*x509.Certificate, ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, []byte(secret), nil, "maquis v1 certificate authority", ed25519.SeedSize)
	if err != nil {
		return nil, nil, err
	}
	key := ed25519.NewKeyFromSeed(seed)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "maquis secret " + fmt.Sprintf("%x", sha256.Sum256(key.Public().(ed25519.PublicKey)))[:16]},
		NotBefore: notBefore, NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	return ca, key, err
}

func leaf(ca *x509.Certificate, caKey ed25519.PrivateKey, node string) (*tls.Certificate, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: node[:min(len(node), 60)]},
		NotBefore: notBefore, NotAfter: notAfter, DNSNames: []string{serverName},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, pub, caKey)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// reload reads the files of ModeMTLS if one has changed.
func (s *Security) reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var times [3]time.Time
	for i, name := range []string{s.cfg.CertFile, s.cfg.KeyFile, s.cfg.CAFile} {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("handshake: mtls needs a certificate, a key and an authority's file: %w", err)
		}
		times[i] = info.ModTime()
	}
	if s.cert != nil && times == s.loaded {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(s.cfg.CertFile, s.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("handshake: loading %q and %q: %w", s.cfg.CertFile, s.cfg.KeyFile, err)
	}
	pem, err := os.ReadFile(s.cfg.CAFile)
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("handshake: %q holds no certificate in PEM", s.cfg.CAFile)
	}
	s.cert, s.pool, s.loaded = &cert, pool, times
	return nil
}

// material returns the current certificate and authorities. A broken file
// keeps the old ones.
func (s *Security) material() (*tls.Certificate, *x509.CertPool) {
	if s.mode == ModeMTLS {
		_ = s.reload()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cert, s.pool
}

// Certificate is what this node shows in ModeMTLS, nil in other modes.
func (s *Security) Certificate() *x509.Certificate {
	if s.mode != ModeMTLS {
		return nil
	}
	cert, _ := s.material()
	return cert.Leaf
}

// server and client make the TLS configurations of one handshake.
func (s *Security) server() *tls.Config {
	cert, pool := s.material()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*cert}, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, SessionTicketsDisabled: true,
	}
}

func (s *Security) client(host string) *tls.Config {
	cert, pool := s.material()
	name := serverName
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*cert}, RootCAs: pool, ServerName: name}
	if s.mode == ModeMTLS {
		// Whose certificate it is, is checked against the name in the hello;
		// the chain is verified here in full.
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			inter := x509.NewCertPool()
			for _, c := range cs.PeerCertificates[1:] {
				inter.AddCert(c)
			}
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: inter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		}
		cfg.ServerName = host
	}
	return cfg
}

// nameInCertificate reports whether a node's name is bound to its certificate.
func (s *Security) nameInCertificate(cert *x509.Certificate, node string) bool {
	want := (&url.URL{Scheme: "maquis", Host: s.cluster, Path: "/" + node}).String()
	for _, u := range cert.URIs {
		if u.String() == want {
			return true
		}
	}
	for _, d := range cert.DNSNames {
		if d == node {
			return true
		}
	}
	return false
}
