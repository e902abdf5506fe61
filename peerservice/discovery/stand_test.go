package discovery

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// Stand is a source that a test plays, for the scenarios of package discovery_test.
type Stand struct {
	// Strategy is what node number i asks it with.
	Strategy func(i int, self Self) Strategy
	// Set has the source name these hosts, IPv4 addresses, and nobody else; nil where
	// nodes announce themselves.
	Set func(hosts ...string)
	// Down ends the source, or brings it back.
	Down func(down bool)
	// NotAtStart: a node does not start while the source is down.
	NotAtStart bool
}

// one is the Stand of a source that all nodes ask with the same strategy.
func one(s Strategy, set func(...string), down func(bool)) *Stand {
	return &Stand{Strategy: func(int, Self) Strategy { return s }, Set: set, Down: down}
}

// Stands are made inside of a bubble, and those in real before it.
var (
	Stands = map[string]func(t *testing.T) *Stand{
		"file":       fileStand(func(path string) Strategy { return File{Path: path} }),
		"hosts file": fileStand(func(path string) Strategy { return HostsFile{Path: path} }),
		"exec":       fileStand(func(path string) Strategy { return Exec{Command: sh("cat " + path)} }),
		"kubernetes": kubeStand, "consul": consulStand, "etcd": etcdStand, "rancher": rancherStand,
		"multicast": etherStand, "local": localStand,
	}
	RealStands = map[string]func(t *testing.T) *Stand{"dns": dnsStand}
)

func fileStand(strategy func(path string) Strategy) func(t *testing.T) *Stand {
	return func(t *testing.T) *Stand {
		path := filepath.Join(t.TempDir(), "nodes")
		write := func(hosts ...string) {
			require.NoError(t, os.WriteFile(path, []byte(strings.Join(hosts, "\n")+"\n"), 0o600))
		}
		write()
		return one(strategy(path), write, func(down bool) {
			if down {
				require.NoError(t, os.Rename(path, path+"~"))
			} else {
				require.NoError(t, os.Rename(path+"~", path))
			}
		})
	}
}

func kubeStand(t *testing.T) *Stand {
	s := newKubeServer(t, slicesPath)
	return one(s.strategy(Kubernetes{Service: "orders"}), func(hosts ...string) {
		o := slice("s1", 1)
		var endpoints []any
		for _, h := range hosts {
			endpoints = append(endpoints, map[string]any{"addresses": []string{h}, "conditions": map[string]any{"ready": true}})
		}
		o["endpoints"] = endpoints
		s.put(o)
	}, func(down bool) {
		if s.refusing(nil); down {
			s.refusing(func(*http.Request) (int, http.Header) { return 503, nil })
		}
		s.breakStreams()
	})
}

func consulStand(t *testing.T) *Stand {
	a := newConsulAgent()
	_, pipe, _ := serve(t, a, false)
	return one(Consul{Service: "orders", URL: "http://consul:8500", dial: pipe.dial}, func(hosts ...string) {
		a.change(func() {
			clear(a.services)
			for _, h := range hosts {
				a.services[h] = map[string]any{"ID": h, "Name": "orders", "Address": h, "Port": DefaultPort}
			}
		})
	}, func(down bool) {
		a.change(func() {
			if a.refuse = 0; down {
				a.refuse = 500
			}
		})
	})
}

func etcdStand(t *testing.T) *Stand {
	s := newEtcdServer()
	_, pipe, _ := serve(t, s, false)
	return one(Etcd{Endpoints: []string{"http://etcd:2379"}, dial: pipe.dial}, func(hosts ...string) {
		s.do(func() { s.put("/maquis/c/nodes", []byte(strings.Join(hosts, "\n"))) })
	}, func(down bool) {
		s.do(func() {
			s.down = down
			close(s.drop)
			s.drop = make(chan struct{})
		})
	})
}

func rancherStand(t *testing.T) *Stand {
	var mu sync.Mutex
	body, code := `{"containers":[]}`, 200
	_, pipe, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(code)
		w.Write([]byte(body))
	}), false)
	return one(Rancher{dial: pipe.dial}, func(hosts ...string) {
		var list []string
		for _, h := range hosts {
			list = append(list, fmt.Sprintf(`{"ips":[%q]}`, h))
		}
		mu.Lock()
		defer mu.Unlock()
		body = `{"containers":[` + strings.Join(list, ",") + `]}`
	}, func(down bool) {
		mu.Lock()
		defer mu.Unlock()
		if code = 200; down {
			code = 503
		}
	})
}

// dnsStand answers on real sockets, which virtual time waits for.
func dnsStand(t *testing.T) *Stand {
	s := newDNSServer(t)
	var mu sync.Mutex
	var now []string
	set := func(hosts []string, code dnsmessage.RCode) {
		s.set(dnsmessage.TypeA, "orders", dnsAnswer{hosts: hosts, code: code, ttl: 1})
	}
	set(nil, 0)
	return one(DNS{Queries: []string{"orders."}, Record: "a", Server: s.addr, Interval: 5e9}, func(hosts ...string) {
		mu.Lock()
		defer mu.Unlock()
		now = hosts
		set(now, 0)
	}, func(down bool) {
		mu.Lock()
		defer mu.Unlock()
		if set(now, 0); down {
			set(nil, dnsmessage.RCodeServerFailure)
		}
	})
}

// etherStand is a network on which all nodes hear each other.
func etherStand(*testing.T) *Stand {
	e := &ether{ends: map[*etherEnd]bool{}}
	return &Stand{Strategy: func(i int, self Self) Strategy { return onAir{Multicast{}, self, e.end(i)} }, Down: func(down bool) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.broken = down
	}}
}

// localStand is a directory, which something takes away from all.
func localStand(t *testing.T) *Stand {
	dir := filepath.Join(t.TempDir(), "run")
	return &Stand{Strategy: func(int, Self) Strategy { return Local{Dir: dir} }, NotAtStart: true, Down: func(down bool) {
		if down {
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.WriteFile(dir, nil, 0o600))
		} else if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			require.NoError(t, os.Remove(dir))
		}
	}}
}
