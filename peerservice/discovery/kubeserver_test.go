package discovery

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"context"

	"github.com/stretchr/testify/require"
)

// pipeListener accepts connections over net.Pipe, which is idle for synctest.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.close.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "127.0.0.1:1" }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case l.conns <- b:
		return a, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve runs a handler in virtual time and counts what it is asked and says.
func serve(t *testing.T, h http.Handler, tls bool) (*httptest.Server, *pipeListener, *traffic) {
	l, tr := newPipeListener(), &traffic{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tr.mu.Lock()
		tr.requests++
		tr.mu.Unlock()
		h.ServeHTTP(&countingWriter{w, tr}, r)
	}))
	s.Listener.Close()
	s.Listener = l
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s, l, tr
}

type traffic struct {
	mu              sync.Mutex
	requests, bytes int
}

func (tr *traffic) take() (requests, bytes int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	requests, bytes, tr.requests, tr.bytes = tr.requests, tr.bytes, 0, 0
	return
}

type countingWriter struct {
	http.ResponseWriter
	tr *traffic
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.tr.mu.Lock()
	w.tr.bytes += len(p)
	w.tr.mu.Unlock()
	return w.ResponseWriter.Write(p)
}
func (w *countingWriter) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

// kubeServer speaks the list and watch protocol of an API server
// (kubernetes.io/docs/reference/using-api/api-concepts) for one resource.
type kubeServer struct {
	t    *testing.T
	path string
	*traffic
	listener *pipeListener
	dir      string // credentials

	mu       sync.Mutex
	version  int
	objects  map[string]map[string]any
	history  []kubeChange
	oldest   int // versions before are compacted
	token    string
	selector string
	refuse   func(r *http.Request) (code int, header http.Header)
	streams  map[chan struct{}]bool // closed to wake a watch
	drop     chan struct{}          // closed to break all watches
	lists    int
	watches  int
}

type kubeChange struct {
	version int
	kind    string
	object  map[string]any
}

func newKubeServer(t *testing.T, path string) *kubeServer {
	s := &kubeServer{t: t, path: path, version: 100, objects: map[string]map[string]any{}, token: "one", streams: map[chan struct{}]bool{}, drop: make(chan struct{}), dir: t.TempDir()}
	server, l, tr := serve(t, s, true)
	s.traffic, s.listener = tr, l
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, data := range map[string]string{"ca.crt": string(ca), "token": "one\n", "namespace": "shop"} {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(data), 0o600))
	}
	return s
}

// strategy talks to the server.
func (s *kubeServer) strategy(k Kubernetes) Kubernetes {
	k.APIURL, k.CredentialsDir, k.dial = "https://example.com", s.dir, s.listener.dial
	return k
}

func (s *kubeServer) put(object map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	meta := object["metadata"].(map[string]any)
	meta["resourceVersion"] = strconv.Itoa(s.version)
	meta["namespace"] = "shop"
	name := meta["name"].(string)
	kind := "ADDED"
	if s.objects[name] != nil {
		kind = "MODIFIED"
	}
	s.objects[name] = object
	s.changed(kind, object)
}

func (s *kubeServer) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	o := s.objects[name]
	delete(s.objects, name)
	s.changed("DELETED", map[string]any{"metadata": map[string]any{"name": name, "resourceVersion": strconv.Itoa(s.version)}, "kind": o["kind"]})
}

func (s *kubeServer) changed(kind string, object map[string]any) {
	s.history = append(s.history, kubeChange{s.version, kind, object})
	for c := range s.streams {
		close(c)
		delete(s.streams, c)
	}
}

// compact forgets all changes so far.
func (s *kubeServer) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.history, s.oldest = nil, s.version
}

// breakStreams ends all watches in the middle of a line.
func (s *kubeServer) breakStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.drop)
	s.drop = make(chan struct{})
}

func (s *kubeServer) refusing(f func(r *http.Request) (int, http.Header)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

func (s *kubeServer) counts() (lists, watches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists, s.watches
}

func kubeStatus(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "status": "Failure", "code": code, "message": text})
}

func (s *kubeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	refuse, token := s.refuse, s.token
	s.mu.Unlock()
	q := r.URL.Query()
	if r.Header.Get("Authorization") != "Bearer "+token {
		kubeStatus(w, 401, "Unauthorized")
		return
	}
	if r.URL.Path != s.path || s.selector != "" && q.Get("labelSelector") != s.selector {
		kubeStatus(w, 404, "no such path or selector: "+r.URL.String())
		return
	}
	if refuse != nil {
		if code, header := refuse(r); code != 0 {
			for k, v := range header {
				w.Header()[k] = v
			}
			kubeStatus(w, code, "refused by the test")
			return
		}
	}
	if q.Get("watch") == "true" {
		s.watch(w, r)
	} else {
		s.list(w, r)
	}
}

func (s *kubeServer) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	q := r.URL.Query()
	var names []string
	for n := range s.objects {
		names = append(names, n)
	}
	slices.Sort(names)
	from, _ := strconv.Atoi(q.Get("continue"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	names = names[min(from, len(names)):]
	meta := map[string]any{"resourceVersion": strconv.Itoa(s.version)}
	if q.Get("resourceVersion") != "0" && limit < len(names) {
		names = names[:limit]
		meta["continue"] = strconv.Itoa(from + limit)
	}
	items := []any{}
	for _, n := range names {
		items = append(items, s.objects[n])
	}
	json.NewEncoder(w).Encode(map[string]any{"kind": "List", "metadata": meta, "items": items})
}

func (s *kubeServer) watch(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	at, _ := strconv.Atoi(q.Get("resourceVersion"))
	seconds, _ := strconv.Atoi(q.Get("timeoutSeconds"))
	end := time.After(time.Duration(seconds) * time.Second)
	bookmark := time.NewTicker(time.Minute)
	defer bookmark.Stop()
	s.mu.Lock()
	s.watches++
	drop := s.drop
	s.mu.Unlock()
	enc := json.NewEncoder(w)
	w.(http.Flusher).Flush()
	for {
		s.mu.Lock()
		old := at < s.oldest
		var news []kubeChange
		for _, c := range s.history {
			if c.version > at {
				news, at = append(news, c), c.version
			}
		}
		more := make(chan struct{})
		s.streams[more] = true
		version := s.version
		s.mu.Unlock()
		if old {
			enc.Encode(map[string]any{"type": "ERROR", "object": map[string]any{"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version"}})
			return
		}
		for _, c := range news {
			enc.Encode(map[string]any{"type": c.kind, "object": c.object})
		}
		w.(http.Flusher).Flush()
		select {
		case <-more:
		case <-bookmark.C:
			at = version
			enc.Encode(map[string]any{"type": "BOOKMARK", "object": map[string]any{"metadata": map[string]any{"resourceVersion": strconv.Itoa(version)}}})
		case <-drop:
			io.WriteString(w, `{"type":"ADDED","obj`)
			return
		case <-end:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// slice makes an endpoint slice of pods; those whose name begins with "-" are
// not ready, with "!" terminating.
func slice(name string, first int, pods ...string) map[string]any {
	var endpoints []any
	for i, p := range pods {
		ready, ending := true, false
		switch p[0] {
		case '-':
			ready, p = false, p[1:]
		case '!':
			ready, ending, p = false, true, p[1:]
		}
		n := first + i
		endpoints = append(endpoints, map[string]any{
			"addresses":  []string{fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)},
			"conditions": map[string]any{"ready": ready, "serving": ready, "terminating": ending},
			"hostname":   p, "zone": "eu-1a", "nodeName": "worker-" + strconv.Itoa(n%7),
			"targetRef": map[string]any{"kind": "Pod", "namespace": "shop", "name": p, "uid": "3a7d1f56-0f0e-4c55-9d3f-" + fmt.Sprintf("%012d", n)},
		})
	}
	return map[string]any{
		"metadata":    map[string]any{"name": name, "labels": map[string]string{"kubernetes.io/service-name": "orders"}},
		"addressType": "IPv4", "endpoints": endpoints,
		"ports": []any{map[string]any{"name": "cluster", "port": 7000, "protocol": "TCP"}},
	}
}
