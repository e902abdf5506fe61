package discovery

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// consulAgent answers as an agent does: blocking queries with an index, and
// registrations with checks that run out.
type consulAgent struct {
	mu       sync.Mutex
	index    int
	services map[string]map[string]any // registered, by id
	passed   map[string]time.Time
	changed  chan struct{}
	refuse   int
	token    string
	queries  []string
}

func newConsulAgent() *consulAgent {
	return &consulAgent{index: 10, services: map[string]map[string]any{}, passed: map[string]time.Time{}, changed: make(chan struct{})}
}

// change changes the agent's state and wakes those that wait.
func (a *consulAgent) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.index++
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *consulAgent) add(id, host string, port int) {
	a.change(func() { a.services[id] = map[string]any{"ID": id, "Name": "orders", "Address": host, "Port": port} })
}

func (a *consulAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.queries = append(a.queries, r.URL.String())
	refuse, token := a.refuse, a.token
	a.mu.Unlock()
	if refuse != 0 {
		http.Error(w, "No cluster leader", refuse)
		return
	}
	if r.Header.Get("X-Consul-Token") != token {
		http.Error(w, "Permission denied", 403)
		return
	}
	path, put := strings.CutPrefix(r.URL.Path, "/v1/agent/")
	switch id := path[strings.LastIndexByte(path, '/')+1:]; {
	case r.URL.Path == "/v1/health/service/orders":
		a.health(w, r)
	case !put || r.Method != http.MethodPut:
		http.NotFound(w, r)
	case strings.HasPrefix(path, "service/register"):
		var s map[string]any
		if json.NewDecoder(r.Body).Decode(&s) != nil || s["Check"].(map[string]any)["TTL"] != "15s" {
			http.Error(w, "bad service", 400)
			return
		}
		a.change(func() { a.services[s["ID"].(string)], a.passed["service:"+s["ID"].(string)] = s, time.Now() })
	case strings.HasPrefix(path, "service/deregister/"):
		a.change(func() { delete(a.services, id) })
	case strings.HasPrefix(path, "check/pass/"):
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.services[strings.TrimPrefix(id, "service:")] == nil {
			http.Error(w, `Unknown check ID "`+id+`"`, 404)
			return
		}
		a.passed[id] = time.Now()
	default:
		http.NotFound(w, r)
	}
}

func (a *consulAgent) health(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	index, _ := strconv.Atoi(r.URL.Query().Get("index"))
	if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil && index > 0 {
		limit := time.After(wait)
		for index == a.index {
			changed := a.changed
			a.mu.Unlock()
			select {
			case <-changed:
			case <-limit:
				index = -1
			case <-r.Context().Done():
				index = -1
			}
			a.mu.Lock()
		}
	}
	list := []any{}
	for _, id := range sortedKeys(a.services) {
		list = append(list, map[string]any{"Node": map[string]any{"Node": "host", "Address": "10.9.9.9", "Meta": map[string]string{"zone": "z"}}, "Service": a.services[id]})
	}
	w.Header().Set("X-Consul-Index", strconv.Itoa(a.index))
	json.NewEncoder(w).Encode(list)
}

func TestConsul(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		a := newConsulAgent()
		a.token = "t"
		_, pipe, tr := serve(t, a, false)
		a.add("o1", "10.0.0.1", 7)
		a.add("o2", "", 0)
		token := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(token, []byte("t\n"), 0o600))
		pace := new(Pace)
		c := Consul{Service: "orders", Tags: []string{"x"}, URL: "http://consul:8500", TokenFile: token, Datacenter: "dc1", dial: pipe.dial}
		l := listen(t, WithPace(ctx, pace), c)
		got := l.settled(time.Second)
		require.Equal(t, []Candidate{{Addr: "10.0.0.1:7", Name: "o1", Zone: "z"}, {Addr: "10.9.9.9:6278", Name: "o2", Zone: "z"}}, got.Candidates)
		a.mu.Lock()
		require.Equal(t, "/v1/health/service/orders?dc=dc1&tag=x", a.queries[0])
		a.mu.Unlock()
		l.settled(10 * time.Second)
		tr.take()

		a.add("o3", "10.0.0.3", 7)
		require.Len(t, l.settled(50*time.Millisecond).Candidates, 3, "a blocking query answers at once")
		l.settled(time.Hour)
		requests, _ := tr.take()
		require.InDelta(t, 12, requests, 3, "one waits for five minutes")

		a.change(func() { a.index = 3 }) // the servers were set up anew
		a.add("o4", "10.0.0.4", 7)
		require.Len(t, l.settled(5*time.Second).Candidates, 4)

		a.mu.Lock()
		a.refuse = 500
		a.mu.Unlock()
		a.change(func() { clear(a.services) })
		got = l.settled(10 * time.Second)
		require.ErrorContains(t, got.Err, "500 Internal Server Error: No cluster leader")
		require.Empty(t, got.Candidates)
		tr.take()
		l.settled(10 * time.Minute)
		requests, _ = tr.take()
		require.Less(t, requests, 20)
		a.mu.Lock()
		a.refuse = 0
		a.mu.Unlock()
		got = l.settled(2 * time.Minute)
		require.True(t, got.OK(), "empty, and an answer")

		pace.SetCalm(true)
		l.settled(time.Minute)
		tr.take()
		l.settled(time.Hour)
		requests, _ = tr.take()
		require.InDelta(t, 6, requests, 2)
		pace.SetCalm(false)
		a.add("o5", "10.0.0.5", 7)
		require.Len(t, l.settled(time.Second).Candidates, 1)
	})
}

// A node is announced as long as it lives, also to an agent that forgot it.
func TestConsulRegisters(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		a := newConsulAgent()
		_, pipe, _ := serve(t, a, false)
		l := listen(t, selfCtx(ctx, "shop", "me", "10.0.0.7:6278"), Consul{Service: "orders", URL: "http://consul:8500", Register: true, dial: pipe.dial})
		me := Candidate{Addr: "10.0.0.7:6278", Name: "me"}
		find := func() Candidate {
			s := l.settled(10 * time.Second)
			require.Len(t, s.Candidates, 1)
			s.Candidates[0].Zone = ""
			return s.Candidates[0]
		}
		require.Equal(t, me, find())
		time.Sleep(time.Hour)
		synctest.Wait()
		a.mu.Lock()
		for _, at := range a.passed {
			require.Less(t, time.Since(at), consulTTL)
		}
		a.mu.Unlock()
		a.change(func() { clear(a.services) })
		require.Equal(t, me, find())
		l.end()
		a.mu.Lock()
		require.Empty(t, a.services)
		a.mu.Unlock()
	})
}

func TestConsulOptions(t *testing.T) {
	err := Consul{URL: "ftp://x", Token: "a", TokenFile: "b", Port: -1}.Validate()
	for _, part := range []string{"Service is empty", "both set", "URL is", "Port is -1"} {
		require.ErrorContains(t, err, part)
	}
	t.Setenv("CONSUL_HTTP_ADDR", "consul.corp:8500")
	require.Equal(t, "http://consul.corp:8500", Consul{}.base())
	require.ErrorContains(t, Consul{Service: "x", Register: true}.Run(t.Context(), nil), "run it under WithSelf")
}

func FuzzConsul(f *testing.F) {
	f.Add([]byte(`[{"Node":{"Address":"10.0.0.1","Meta":{"zone":"z"}},"Service":{"ID":"a","Address":"fd00::1","Port":7,"Meta":{"maquis-node":"n"}}},{"Service":{"Address":"a b"}}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var entries []consulEntry
		if json.Unmarshal(data, &entries) != nil {
			return
		}
		checkAddrs(t, Consul{}.snapshot(entries))
	})
}

// checkAddrs: what comes out can be dialed.
func checkAddrs(t *testing.T, s Snapshot) {
	for _, c := range s.Candidates {
		again, err := Address(c.Addr, 0)
		require.NoError(t, err, c.Addr)
		require.Equal(t, c.Addr, again)
	}
}

func TestRancher(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		var mu sync.Mutex
		body, code := `{"name":"orders","containers":[{"name":"o1","ips":["10.42.0.1","10.42.0.2"],"state":"running"},{"name":"o2","primary_ip":"10.42.0.3","state":"stopping"},{"name":"o3","ips":[]},{"name":"o4","ips":["?"]}]}`, 200
		_, pipe, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if r.URL.String() != "/latest/self/service" || r.Header.Get("Accept") != "application/json" {
				code = 404
			}
			w.WriteHeader(code)
			w.Write([]byte(body))
		}), false)
		l := listen(t, ctx, Rancher{dial: pipe.dial})
		got := l.settled(time.Second)
		require.Equal(t, []Candidate{{Addr: "10.42.0.1:6278", Name: "o1"}, {Addr: "10.42.0.3:6278", Name: "o2", Terminating: true}}, got.Candidates)
		require.ErrorContains(t, got.Err, "container o4")
		require.True(t, got.Partial)
		say := func(text string, status int) Snapshot {
			mu.Lock()
			body, code = text, status
			mu.Unlock()
			return l.settled(2 * time.Minute)
		}
		require.ErrorContains(t, say("oops", 503).Err, "503 Service Unavailable: oops")
		require.ErrorContains(t, say("{}", 200).Err, "names no containers")
		require.ErrorContains(t, say("<html>", 200).Err, "invalid character")
		require.True(t, say(`{"containers":[]}`, 200).OK())
	})
	require.ErrorContains(t, Rancher{URL: "x", Port: -1, Interval: 1}.Validate(), "Port is -1")
}

func FuzzRancher(f *testing.F) {
	f.Add([]byte(`{"containers":[{"name":"o1","ips":["10.42.0.1"]},{"ips":["::1"]},{"primary_ip":"x y"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) { checkAddrs(t, rancherList(data, 0)) })
}
