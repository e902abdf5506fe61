package discovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// dnsServer answers over UDP and TCP on loopback.
type dnsServer struct {
	addr string

	mu      sync.Mutex
	zone    map[string]dnsAnswer // by type and name
	queries int
	tcp     int
}

type dnsAnswer struct {
	code  dnsmessage.RCode
	hosts []string // addresses, or SRV targets, of port 7
	ttl   uint32
	show  int // so many of hosts at once, in turn
	turn  int
	hang  bool
}

func newDNSServer(t *testing.T) *dnsServer {
	s := &dnsServer{zone: map[string]dnsAnswer{}}
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = tcp.Addr().String()
	udp, err := net.ListenPacket("udp4", s.addr)
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { tcp.Close(); udp.Close(); wg.Wait() })
	wg.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := s.answer(buf[:n], 1232); out != nil {
				udp.WriteTo(out, from)
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				var size [2]byte
				for {
					if _, err := io.ReadFull(c, size[:]); err != nil {
						return
					}
					q := make([]byte, binary.BigEndian.Uint16(size[:]))
					if _, err := io.ReadFull(c, q); err != nil {
						return
					}
					s.mu.Lock()
					s.tcp++
					s.mu.Unlock()
					out := s.answer(q, 65535)
					c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
				}
			})
		}
	})
	return s
}

func (s *dnsServer) set(kind dnsmessage.Type, name string, a dnsAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone[kind.String()+" "+name+"."] = a
}

// answer leaves out what does not fit, with the truncated bit over UDP only,
// as some servers do.
func (s *dnsServer) answer(query []byte, limit int) []byte {
	var q dnsmessage.Message
	if q.Unpack(query) != nil || len(q.Questions) != 1 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries++
	key := q.Questions[0].Type.String() + " " + q.Questions[0].Name.String()
	a, ok := s.zone[key]
	if a.hang {
		return nil
	}
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true, RCode: a.code}, Questions: q.Questions}
	if !ok {
		out.RCode = dnsmessage.RCodeNameError
		for k := range s.zone {
			if _, name, _ := strings.Cut(k, " "); name == q.Questions[0].Name.String() {
				out.RCode = dnsmessage.RCodeSuccess // the name exists, with other records
			}
		}
	}
	hosts := a.hosts
	if a.show > 0 {
		hosts = nil
		for i := range a.show {
			hosts = append(hosts, a.hosts[(a.turn+i)%len(a.hosts)])
		}
		a.turn += a.show
		s.zone[key] = a
	}
	size := 12 + len(key) + 8
	for _, h := range hosts {
		rr := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: a.ttl}}
		cost := 12
		switch q.Questions[0].Type {
		case dnsmessage.TypeA:
			rr.Body, cost = &dnsmessage.AResource{A: [4]byte(net.ParseIP(h).To4())}, cost+4
		case dnsmessage.TypeAAAA:
			rr.Body, cost = &dnsmessage.AAAAResource{AAAA: [16]byte(net.ParseIP(h))}, cost+16
		case dnsmessage.TypeSRV:
			rr.Body, cost = &dnsmessage.SRVResource{Target: dnsmessage.MustNewName(h), Port: 7}, cost+8+len(h)
		}
		if size += cost; size > limit {
			out.Truncated = limit < 65535
			break
		}
		out.Answers = append(out.Answers, rr)
	}
	b, err := out.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

func (s *dnsServer) counts() (queries, tcp int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries, s.tcp
}

func ips(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("10.9.%d.%d", i/250, i%250+1))
	}
	return list
}

func TestDNSAsk(t *testing.T) {
	s := newDNSServer(t)
	s.set(dnsmessage.TypeA, "both", dnsAnswer{hosts: []string{"10.0.0.1", "10.0.0.2"}, ttl: 9})
	s.set(dnsmessage.TypeAAAA, "both", dnsAnswer{hosts: []string{"fd00::1"}, ttl: 7})
	s.set(dnsmessage.TypeAAAA, "six", dnsAnswer{hosts: []string{"fd00::6"}, ttl: 7})
	s.set(dnsmessage.TypeA, "sick", dnsAnswer{hosts: []string{"10.0.0.3"}, ttl: 7})
	s.set(dnsmessage.TypeAAAA, "sick", dnsAnswer{code: dnsmessage.RCodeServerFailure})
	s.set(dnsmessage.TypeA, "many", dnsAnswer{hosts: ips(1000), ttl: 5})
	s.set(dnsmessage.TypeA, "hangs", dnsAnswer{hang: true})
	s.set(dnsmessage.TypeSRV, "_maquis._tcp.orders", dnsAnswer{hosts: []string{"orders-0.orders.", "orders-1.orders."}, ttl: 3})
	s.set(dnsmessage.TypeSRV, "orders", dnsAnswer{hosts: []string{"x.", "."}, ttl: 3})
	var long []string
	for i := range 1000 {
		long = append(long, fmt.Sprintf("orders-%04d.orders.some-namespace.svc.cluster.local.", i))
	}
	s.set(dnsmessage.TypeSRV, "_many", dnsAnswer{hosts: long, ttl: 3})
	for _, c := range []struct {
		name    string
		d       DNS
		want    []string
		n       int
		ttl     time.Duration
		partial bool
		err     string
	}{
		{"a and aaaa", DNS{Queries: []string{"both."}}, []string{"10.0.0.1:6278", "10.0.0.2:6278", "[fd00::1]:6278"}, 0, 7 * time.Second, false, ""},
		{"a", DNS{Queries: []string{"both."}, Record: "a", Port: 9}, []string{"10.0.0.1:9", "10.0.0.2:9"}, 0, 9 * time.Second, false, ""},
		{"aaaa", DNS{Queries: []string{"both."}, Record: "aaaa"}, []string{"[fd00::1]:6278"}, 0, 7 * time.Second, false, ""},
		{"only aaaa", DNS{Queries: []string{"six."}}, []string{"[fd00::6]:6278"}, 0, 7 * time.Second, false, ""},
		{"no such name", DNS{Queries: []string{"none."}}, nil, 0, 0, true, "dns none.: no such name"},
		{"no such record", DNS{Queries: []string{"six."}, Record: "a"}, nil, 0, 0, true, "no such name or no such record"},
		{"servfail hides nothing", DNS{Queries: []string{"sick."}}, []string{"10.0.0.3:6278"}, 0, 7 * time.Second, true, "server misbehaving"},
		{"one of two", DNS{Queries: []string{"none.", "both."}, Record: "a"}, []string{"10.0.0.1:6278", "10.0.0.2:6278"}, 0, 9 * time.Second, true, "dns none."},
		{"truncated, then tcp", DNS{Queries: []string{"many."}, Record: "a"}, nil, 1000, 5 * time.Second, false, ""},
		{"hangs", DNS{Queries: []string{"hangs."}, Record: "a", Timeout: 100 * time.Millisecond}, nil, 0, 0, true, "timeout"},
		{"srv", DNS{Queries: []string{"_maquis._tcp.orders."}}, []string{"orders-0.orders:7", "orders-1.orders:7"}, 0, 3 * time.Second, false, ""},
		{"srv of any name", DNS{Queries: []string{"orders."}, Record: "srv"}, []string{"x:7"}, 0, 3 * time.Second, false, ""},
		{"srv beyond a message", DNS{Queries: []string{"_many."}}, nil, -900, 3 * time.Second, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.d.Server = s.addr
			require.NoError(t, c.d.Validate())
			got, ttl := c.d.ask(t.Context())
			switch {
			case c.n > 0:
				require.Len(t, got.Candidates, c.n)
			case c.n < 0:
				require.Greater(t, len(got.Candidates), -c.n)
				require.Less(t, len(got.Candidates), 1000)
			default:
				require.Equal(t, c.want, addrs(got))
			}
			require.Equal(t, c.ttl, ttl)
			require.Equal(t, c.partial, got.Partial)
			if c.err == "" {
				require.NoError(t, got.Err)
			} else {
				require.ErrorContains(t, got.Err, c.err)
			}
		})
	}
	_, tcp := s.counts()
	require.NotZero(t, tcp)
}

// It asks when the time to live is over, not before; an outage and an empty
// zone do not look like an answer.
func TestDNSRuns(t *testing.T) {
	s := newDNSServer(t)
	s.set(dnsmessage.TypeA, "zero", dnsAnswer{hosts: []string{"10.0.0.1"}})
	s.set(dnsmessage.TypeA, "long", dnsAnswer{hosts: []string{"10.0.0.1"}, ttl: 60})
	l := listen(t, t.Context(), DNS{Queries: []string{"long."}, Record: "a", Server: s.addr, Interval: 100 * time.Millisecond})
	l.untilAddrs("10.0.0.1:6278")
	z := listen(t, t.Context(), DNS{Queries: []string{"zero."}, Record: "a", Server: s.addr, Interval: 100 * time.Millisecond})
	z.untilAddrs("10.0.0.1:6278")
	s.set(dnsmessage.TypeA, "zero", dnsAnswer{code: dnsmessage.RCodeServerFailure})
	got := z.until("an error", func(s Snapshot) bool { return s.Err != nil })
	require.Equal(t, []string{"10.0.0.1:6278"}, addrs(got), "it lingers")
	s.set(dnsmessage.TypeA, "zero", dnsAnswer{hosts: []string{"10.0.0.2"}})
	got = z.untilAddrs("10.0.0.1:6278", "10.0.0.2:6278")
	require.True(t, got.Partial)
	require.Equal(t, 1, l.count(), "a time to live of a minute is not over")
}

// A server that shows three of nine addresses at a time, in turn, leads to all
// of them; an address that is gone is so after a while.
func TestLinger(t *testing.T) {
	seen, now := map[string]lingering{}, time.Unix(0, 0)
	var got Snapshot
	for i := range 12 {
		now = now.Add(5 * time.Second)
		var s Snapshot
		for j := range 3 {
			s.Candidates = append(s.Candidates, Candidate{Addr: fmt.Sprint((i*3 + j) % 9)})
		}
		got = linger(seen, s, now, time.Minute)
	}
	require.Len(t, got.Candidates, 9)
	require.True(t, got.Partial)
	got = linger(seen, failed(errors.New("down")), now.Add(time.Hour), time.Minute)
	require.Len(t, got.Candidates, 9, "an outage ages nobody")
	got = linger(seen, ok("1"), now.Add(time.Hour), time.Minute)
	require.Equal(t, ok("1"), got)
}

func TestDNSOptions(t *testing.T) {
	err := DNS{Record: "mx", Port: 70000, Linger: -1, Server: "a:b"}.Validate()
	for _, part := range []string{"Queries is empty", `Record is "mx"`, "Port is 70000", "Linger", "Server"} {
		require.ErrorContains(t, err, part)
	}
	require.ErrorContains(t, DNS{Queries: []string{"a b"}}.Validate(), `query "a b"`)
	require.Equal(t, "dns a,b (srv)", DNS{Queries: []string{"a", "b"}, Record: "srv"}.String())
}

func FuzzDNSTap(f *testing.F) {
	m := dnsmessage.Message{Header: dnsmessage.Header{Response: true}, Answers: []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("a."), Class: dnsmessage.ClassINET, TTL: 5}, Body: &dnsmessage.AResource{}}}}
	b, _ := m.Pack()
	f.Add(b, true)
	f.Fuzz(func(t *testing.T, msg []byte, tcp bool) {
		tap := &dnsTap{}
		tap.see(msg, tcp)
		ttl, _ := tap.heard()
		require.GreaterOrEqual(t, ttl, time.Duration(0))
	})
}
