package discovery

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds an answer that is read whole: a thousand pods take some 10 MB
// as JSON where annotations are large.
const maxBody = 64 << 20

// askTimeout bounds a request that does not wait for changes.
const askTimeout = 15 * time.Second

// client is an HTTP client for one source, plain net/http.
type client struct {
	http *http.Client
	name string // of the strategy, for errors
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// newClient trusts the authorities in caFile, or the system's without one.
func newClient(name, caFile string, insecure bool, dial dialFunc) (*client, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dial,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 0, // a blocking query answers when it likes
		MaxIdleConns:          4,
		IdleConnTimeout:       time.Minute,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure},
	}
	if dial == nil {
		t.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if caFile != "" {
		pem, err := readFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("discovery: %s: the authority's certificate: %w", name, err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("discovery: %s: %s holds no certificate in PEM", name, caFile)
		}
	}
	return &client{&http.Client{Transport: t}, name}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// statusError is an answer other than 2xx.
type statusError struct {
	name   string
	url    string
	code   int
	body   string
	wait   time.Duration // asked for by Retry-After
	remedy string
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("discovery: %s: %s answered %d %s", e.name, e.url, e.code, http.StatusText(e.code))
	if e.body != "" {
		text += ": " + e.body
	}
	if e.remedy != "" {
		text += "; " + e.remedy
	}
	return text
}

// codeOf is the status of an error that is one, or 0.
func codeOf(err error) int {
	var s *statusError
	if errors.As(err, &s) {
		return s.code
	}
	return 0
}

// waitOf is how long a source asked to be left alone.
func waitOf(err error) time.Duration {
	var s *statusError
	if errors.As(err, &s) {
		return s.wait
	}
	return 0
}

// do sends a request. Its answer's body must be closed; an answer other than
// 2xx is a *statusError.
func (c *client) do(req *http.Request) (*http.Response, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("discovery: %s: %w", c.name, err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	e := &statusError{name: c.name, url: req.URL.Redacted(), code: res.StatusCode, body: message(said)}
	if i := strings.IndexByte(e.url, '?'); i >= 0 {
		e.url = e.url[:i]
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		e.wait = min(time.Duration(s)*time.Second, 10*time.Minute)
	}
	return nil, e
}

// message is what an error's body says, in the forms of the APIs used here.
func message(body []byte) string {
	var m struct{ Message, Error string }
	if json.Unmarshal(body, &m) == nil && m.Message+m.Error != "" {
		if m.Message != "" {
			return m.Message
		}
		return m.Error
	}
	return strings.ToValidUTF8(strings.Join(strings.Fields(string(body)), " "), "")
}

// getJSON asks for a document and reads it whole.
func (c *client) getJSON(ctx context.Context, method, url string, header http.Header, in, out any) (http.Header, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, fmt.Errorf("discovery: %s: %w", c.name, err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := readAll(res.Body, maxBody)
	if err == nil && out != nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		return nil, fmt.Errorf("discovery: %s: the answer of %s: %w", c.name, req.URL.Host, err)
	}
	return res.Header, nil
}

// secretFile reads a token or password, without the newline at its end.
func secretFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}
