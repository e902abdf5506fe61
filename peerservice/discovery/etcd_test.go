package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// etcdServer is etcd's JSON gateway, with what Etcd asks of it.
type etcdServer struct {
	mu       sync.Mutex
	revision int64
	compact  int64
	keys     map[string][]byte
	lease    map[string]string // by key
	leases   map[string]time.Time
	history  []etcdChange
	changed  chan struct{}
	drop     chan struct{}
	token    string
	down     bool
	reads    int
	watches  int
}

type etcdChange struct {
	revision int64
	del      bool
	kv       etcdKV
}

func newEtcdServer() *etcdServer {
	return &etcdServer{revision: 5, keys: map[string][]byte{}, lease: map[string]string{}, leases: map[string]time.Time{}, changed: make(chan struct{}), drop: make(chan struct{})}
}

// put changes a key; nil deletes it. The lock is held.
func (s *etcdServer) put(key string, value []byte) {
	s.revision++
	if s.keys[key] = value; value == nil {
		delete(s.keys, key)
	}
	s.history = append(s.history, etcdChange{s.revision, value == nil, etcdKV{[]byte(key), value}})
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *etcdServer) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *etcdServer) expire() {
	for id, end := range s.leases {
		if time.Now().After(end) {
			s.revoke(id)
		}
	}
}

func (s *etcdServer) revoke(id string) {
	delete(s.leases, id)
	for key, l := range s.lease {
		if l == id {
			delete(s.lease, key)
			s.put(key, nil)
		}
	}
}

func (s *etcdServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Key, RangeEnd, Value []byte
		Range                []byte `json:"range_end"`
		Lease, ID            string
		Name, Password       string
		Create               struct {
			Key   []byte `json:"key"`
			Range []byte `json:"range_end"`
			Start int64  `json:"start_revision,string"`
		} `json:"create_request"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	say := func(v any) { json.NewEncoder(w).Encode(v) }
	header := map[string]any{"revision": strconv.FormatInt(s.revision, 10)}
	switch {
	case s.down:
		http.Error(w, `{"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14}`, 503)
	case r.URL.Path == "/v3/auth/authenticate":
		if in.Name != "me" || in.Password != "pw" {
			http.Error(w, `{"error":"authentication failed"}`, 400)
			return
		}
		say(map[string]any{"token": s.token})
	case r.Header.Get("Authorization") != s.token:
		http.Error(w, `{"error":"etcdserver: invalid auth token"}`, 401)
	case r.URL.Path == "/v3/kv/range":
		s.reads++
		kvs := []etcdKV{}
		for _, k := range sortedKeys(s.keys) {
			if k >= string(in.Key) && k < string(in.Range) {
				kvs = append(kvs, etcdKV{[]byte(k), s.keys[k]})
			}
		}
		say(map[string]any{"header": header, "kvs": kvs})
	case r.URL.Path == "/v3/kv/put":
		if _, live := s.leases[in.Lease]; !live {
			http.Error(w, `{"error":"etcdserver: requested lease not found"}`, 404)
			return
		}
		s.lease[string(in.Key)] = in.Lease
		s.put(string(in.Key), in.Value)
		say(map[string]any{"header": header})
	case r.URL.Path == "/v3/lease/grant":
		id := fmt.Sprint("77", s.revision, len(s.leases), time.Now().UnixNano())
		s.leases[id] = time.Now().Add(etcdTTL)
		say(map[string]any{"ID": id, "TTL": "30"})
	case r.URL.Path == "/v3/lease/keepalive":
		if _, live := s.leases[in.ID]; !live {
			say(map[string]any{"result": map[string]any{"header": header, "ID": in.ID}})
			return
		}
		s.leases[in.ID] = time.Now().Add(etcdTTL)
		say(map[string]any{"result": map[string]any{"header": header, "ID": in.ID, "TTL": "30"}})
	case r.URL.Path == "/v3/lease/revoke":
		s.revoke(in.ID)
		say(map[string]any{"header": header})
	case r.URL.Path == "/v3/watch":
		s.watch(w, r, in.Create.Start, string(in.Create.Key), string(in.Create.Range))
	default:
		http.NotFound(w, r)
	}
}

// watch is called with the lock held.
func (s *etcdServer) watch(w http.ResponseWriter, r *http.Request, next int64, first, behind string) {
	s.watches++
	enc := json.NewEncoder(w)
	result := func(m map[string]any) {
		m["header"] = map[string]any{"revision": strconv.FormatInt(s.revision, 10)}
		enc.Encode(map[string]any{"result": m})
	}
	result(map[string]any{"created": true})
	w.(http.Flusher).Flush()
	drop := s.drop
	for {
		if next <= s.compact {
			result(map[string]any{"canceled": true, "compact_revision": strconv.FormatInt(s.compact, 10)})
			return
		}
		for _, c := range s.history {
			if c.revision >= next && string(c.kv.Key) >= first && string(c.kv.Key) < behind {
				ev := map[string]any{"kv": c.kv}
				if c.del {
					ev["type"] = "DELETE"
				}
				result(map[string]any{"events": []any{ev}})
			}
		}
		next = s.revision + 1
		w.(http.Flusher).Flush()
		changed := s.changed
		s.mu.Unlock()
		end := false
		select {
		case <-changed:
		case <-drop:
			end = true
		case <-r.Context().Done():
			end = true
		}
		s.mu.Lock()
		if end {
			return
		}
	}
}

func TestEtcd(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newEtcdServer()
		_, pipe, _ := serve(t, s, false)
		pace := new(Pace)
		l := listen(t, WithPace(ctx, pace), Etcd{Endpoints: []string{"http://etcd:2379"}, Prefix: "/x/", dial: pipe.dial})
		s.do(func() { s.put("/x/a", []byte(`[{"addr":"10.0.0.1:7","name":"a"}]`)); s.put("/xx", []byte("no:1")) })
		require.Equal(t, []Candidate{{Addr: "10.0.0.1:7", Name: "a"}}, l.settled(time.Second).Candidates)
		s.do(func() { s.put("/x/b", []byte("10.0.0.2:7")) })
		require.Equal(t, []string{"10.0.0.1:7", "10.0.0.2:7"}, addrs(l.settled(time.Second)))
		s.do(func() { s.put("/x/a", nil); s.put("/x/c", []byte("?")) })
		got := l.settled(time.Second)
		require.Equal(t, []string{"10.0.0.2:7"}, addrs(got))
		require.ErrorContains(t, got.Err, `key "/x/c"`)
		s.do(func() { s.put("/x/c", nil) })
		for range 3 { // streams break; nothing is read anew
			s.do(func() { close(s.drop); s.drop = make(chan struct{}) })
			l.settled(time.Minute)
		}
		s.do(func() {
			require.Equal(t, 1, s.reads)
			s.put("/x/d", []byte("10.0.0.4:7"))
			s.history, s.compact = nil, s.revision+1
			s.revision++
			close(s.drop)
			s.drop = make(chan struct{})
		})
		require.Equal(t, []string{"10.0.0.2:7", "10.0.0.4:7"}, addrs(l.settled(10*time.Second)))
		s.do(func() { s.down = true; close(s.drop); s.drop = make(chan struct{}) })
		got = l.settled(time.Minute)
		require.ErrorContains(t, got.Err, "503 Service Unavailable: etcdserver: no leader")
		require.False(t, got.OK())
		s.do(func() { s.down = false })
		require.True(t, l.settled(2*time.Minute).OK())
		pace.SetCalm(true)
		l.settled(time.Minute)
		s.do(func() { s.reads, s.watches = 0, 0 })
		l.settled(time.Hour)
		s.do(func() {
			require.InDelta(t, 6, s.reads, 2)
			require.Zero(t, s.watches)
		})
	})
}

// A node's key lives with its lease, which is taken anew when it was lost, and
// goes with the node; authentication is repeated when the token is refused.
func TestEtcdRegisters(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newEtcdServer()
		s.token = "t1"
		_, pipe, _ := serve(t, s, false)
		l := listen(t, selfCtx(ctx, "shop", "me", "10.0.0.7:6278"), Etcd{Endpoints: []string{"http://etcd:2379"}, Username: "me", Password: "pw", Register: true, dial: pipe.dial})
		want := []Candidate{{Addr: "10.0.0.7:6278", Name: "me"}}
		require.Equal(t, want, l.settled(time.Second).Candidates)
		s.do(func() {
			require.Len(t, s.keys, 1)
			require.True(t, strings.HasPrefix(sortedKeys(s.keys)[0], "/maquis/shop/me-"))
		})
		require.Equal(t, want, l.settled(time.Hour).Candidates)
		s.do(func() { s.token = "t2" })
		require.Equal(t, want, l.settled(time.Minute).Candidates)
		s.do(func() {
			for id := range s.leases {
				s.revoke(id)
			}
			require.Empty(t, s.keys)
		})
		require.Equal(t, want, l.settled(20*time.Second).Candidates, "a new lease")
		s.do(func() { require.Len(t, s.leases, 1) })
		l.end()
		s.do(func() { require.Empty(t, s.keys) })
	})
}

// The first endpoint is dead: the second one is used.
func TestEtcdEndpoints(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		s := newEtcdServer()
		_, pipe, _ := serve(t, s, false)
		s.do(func() { s.put("/maquis/a", []byte("h:1")) })
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "dead") {
				return nil, fmt.Errorf("no route to %s", addr)
			}
			return pipe.dial(ctx, network, addr)
		}
		l := listen(t, ctx, Etcd{Endpoints: []string{"http://dead:1", "http://live:2"}, dial: dial})
		require.Equal(t, []string{"h:1"}, addrs(l.settled(time.Second)))
	})
	err := Etcd{Endpoints: []string{"etcd:2379"}, Password: "x", Port: -1}.Validate()
	for _, part := range []string{`endpoint "etcd:2379"`, "give Username", "Port is -1"} {
		require.ErrorContains(t, err, part)
	}
}

// The real etcd, where it is installed (Debian: etcd-server).
func TestRealEtcd(t *testing.T) {
	path, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	client, peers := "http://"+free.Addr().String(), "http://"+peer.Addr().String()
	free.Close()
	peer.Close()
	dir := t.TempDir()
	start := func() *exec.Cmd {
		cmd := exec.Command(path, "--data-dir", dir, "--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
		require.NoError(t, cmd.Start())
		return cmd
	}
	cmd := start()
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	e := Etcd{Endpoints: []string{client}, Register: true}
	a := listen(t, selfCtx(t.Context(), "shop", "a", "10.0.0.1:1"), e)
	b := listen(t, selfCtx(t.Context(), "shop", "b", "10.0.0.2:2"), e)
	a.untilAddrs("10.0.0.1:1", "10.0.0.2:2")
	b.untilAddrs("10.0.0.1:1", "10.0.0.2:2")
	require.NoError(t, cmd.Process.Kill())
	cmd.Wait()
	a.until("the outage", func(s Snapshot) bool { return s.Err != nil })
	cmd = start()
	a.until("its return", func(s Snapshot) bool { return s.OK() && len(s.Candidates) == 2 })
	b.end()
	a.untilAddrs("10.0.0.1:1")
}

func FuzzEtcdWatch(f *testing.F) {
	f.Add([]byte(`{"result":{"header":{"revision":"9"},"events":[{"kv":{"key":"L3gvYQ==","value":"aDox"}},{"type":"DELETE","kv":{"key":"L3gvYg=="}}]}}{"result":{"canceled":true,"compact_revision":"3"}}{"error":{"message":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &etcdRun{keys: map[string][]byte{}}
		for w := range readStream[etcdWatched](t.Context(), bytes.NewReader(data)) {
			if w.err == nil {
				_, _, _ = r.apply(w.value)
			}
		}
		checkAddrs(t, etcdSnapshot(r.keys, 0))
	})
}
