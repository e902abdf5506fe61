package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPacket(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	p := packet{kind: packetWho, run: 1, seq: 2, at: at, valid: 20 * time.Second, name: "a", zone: "z", addrs: []string{"10.0.0.1:6278", "[::1]:7"}}
	keys := func(cluster string, secrets ...string) mcKeys {
		k, err := newKeys(cluster, secrets)
		require.NoError(t, err)
		return k
	}
	mine := keys("shop", "new", "old")
	b, err := mine.encode(p)
	require.NoError(t, err)
	got, drop := mine.decode(b)
	require.Empty(t, drop)
	require.Equal(t, p, got)
	for _, c := range []struct {
		what string
		k    mcKeys
		b    []byte
		drop string
	}{
		{"rotated", keys("shop", "newer", "new"), b, ""},
		{"other secret", keys("shop", "other"), b, DropSecret},
		{"no secret", keys("shop"), b, DropSecret},
		{"other cluster", keys("shops", "new"), b, DropCluster},
		{"cut", mine, b[:len(b)-1], DropSecret},
		{"short", mine, b[:50], DropForeign},
		{"empty", mine, nil, DropForeign},
		{"libcluster's", mine, []byte("heartbeat::" + string(make([]byte, 100))), DropForeign},
	} {
		_, drop := c.k.decode(c.b)
		require.Equal(t, c.drop, drop, c.what)
	}
	for i := range b { // no bit is without a signature
		c := append([]byte(nil), b...)
		c[i] ^= 1
		_, drop := mine.decode(c)
		require.NotEmpty(t, drop, "byte %d", i)
	}
	p.addrs = []string{"no address"}
	b, err = mine.encode(p)
	require.NoError(t, err)
	_, drop = mine.decode(b)
	require.Equal(t, DropMalformed, drop)
	p.addrs, p.name = nil, string(make([]byte, 256))
	_, err = mine.encode(p)
	require.ErrorContains(t, err, "more than 255 bytes")
}

func FuzzPacket(f *testing.F) {
	k, _ := newKeys("c", []string{"s"})
	b, _ := k.encode(packet{kind: packetHere, name: "n", addrs: []string{"h:1"}})
	f.Add(b, true)
	f.Add(b[:60], false)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign && len(b) > packetHeader+packetMAC { // so that the parser behind the signature is reached
			copy(b, packetMagic)
			copy(b[5:], k.tag[:])
			copy(b[len(b)-packetMAC:], mac(k.keys[0], b[:len(b)-packetMAC]))
		}
		p, drop := k.decode(b)
		if drop == "" {
			again, err := k.encode(p)
			require.NoError(t, err)
			require.Equal(t, b, again)
		}
	})
}

func TestHearing(t *testing.T) {
	now := time.Unix(1000, 0)
	h := newHearing(7)
	say := func(run, seq uint64, at time.Time, kind packetKind, addr string) string {
		_, _, drop := h.hear(now, packet{kind: kind, run: run, seq: seq, at: at, valid: 10 * time.Second, addrs: []string{addr}})
		return drop
	}
	require.Equal(t, "own", say(7, 1, now, packetHere, "me"))
	require.Empty(t, say(1, 5, now, packetHere, "a"))
	require.Equal(t, "again", say(1, 5, now, packetHere, "a"))
	require.Equal(t, DropReplay, say(1, 4, now, packetHere, "a"))
	require.Equal(t, DropClock, say(2, 1, now.Add(-31*time.Second), packetHere, "b"))
	require.Equal(t, DropClock, say(2, 1, now.Add(31*time.Second), packetHere, "b"))
	require.Len(t, h.candidates(), 1)
	require.Empty(t, say(1, 6, now, packetBye, "a"))
	require.Empty(t, h.candidates())
	require.Equal(t, DropReplay, say(1, 5, now, packetHere, "a"), "a farewell is not undone by a recording")
	sent := now
	now = now.Add(61 * time.Second)
	require.False(t, h.expire(now))
	require.Empty(t, h.senders)
	require.Equal(t, DropClock, say(1, 5, sent, packetHere, "a"), "nor when the sender is forgotten")
	require.Empty(t, say(3, 1, now, packetHere, "c"))
	now = now.Add(11 * time.Second)
	require.True(t, h.expire(now), "silent for longer than it said")
	require.Empty(t, h.candidates())
	for run := range uint64(maxSenders + 10) {
		say(100+run, 1, now, packetHere, "x")
	}
	require.Len(t, h.senders, maxSenders)
	require.Equal(t, DropLimit, say(9, 1, now, packetHere, "y"))
}

// ether is a network segment in virtual time.
type ether struct {
	mu     sync.Mutex
	ends   map[*etherEnd]bool
	sent   int
	broken bool
	tape   [][]byte
}

type etherEnd struct {
	e    *ether
	from netip.AddrPort
	in   chan heardPacket
}

func (e *ether) end(host int) *etherEnd {
	e.mu.Lock()
	defer e.mu.Unlock()
	end := &etherEnd{e, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(host >> 8), byte(host)}), 1), make(chan heardPacket, 4096)}
	e.ends[end] = true
	return end
}

func (x *etherEnd) send(b []byte) error {
	x.e.mu.Lock()
	defer x.e.mu.Unlock()
	if x.e.broken {
		return errors.New("network is unreachable")
	}
	x.e.sent++
	x.e.tape = append(x.e.tape, b)
	for end := range x.e.ends {
		select {
		case end.in <- heardPacket{b, x.from}:
		default:
		}
	}
	return nil
}
func (x *etherEnd) heard() <-chan heardPacket { return x.in }
func (x *etherEnd) local(a netip.Addr) bool   { return a == x.from.Addr() }
func (x *etherEnd) close() {
	x.e.mu.Lock()
	defer x.e.mu.Unlock()
	delete(x.e.ends, x)
}

// onAir is Multicast on an ether.
type onAir struct {
	m    Multicast
	self Self
	air  *etherEnd
}

func (o onAir) Run(ctx context.Context, emit func(Snapshot)) error {
	keys, err := newKeys(o.self.Cluster, o.self.Secrets)
	if err != nil {
		return err
	}
	r := &mcRun{Multicast: o.m, self: o.self, keys: keys, emit: emit, hearing: newHearing(uint64(o.air.from.Addr().As4()[3]) + uint64(o.air.from.Addr().As4()[2])<<8)}
	defer o.air.close()
	return r.loop(ctx, o.air)
}

// Sixty nodes: a newcomer knows all in seconds, and the network stays
// quiet.
func TestMulticastMany(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		e := &ether{ends: map[*etherEnd]bool{}}
		const nodes = 60
		start := func(i int) *listener {
			name := fmt.Sprint("n", i)
			return listen(t, ctx, onAir{Multicast{}, Self{Cluster: "c", Name: name, Addrs: []string{name + ":1"}, Secrets: []string{"s"}}, e.end(i)})
		}
		a, b := start(1), start(2)
		a.untilAddrs("n2:1")
		b.untilAddrs("n1:1")
		var some *listener
		for i := 3; i < nodes; i++ {
			some = start(i)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		s, _ := some.last()
		require.Len(t, s.Candidates, nodes-2)
		e.mu.Lock()
		e.sent = 0
		e.mu.Unlock()
		began := time.Now()
		late := start(nodes)
		late.until("some answer", func(s Snapshot) bool { return len(s.Candidates) > 3 })
		require.Less(t, time.Since(began), time.Second)
		time.Sleep(time.Minute)
		synctest.Wait()
		e.mu.Lock()
		sent := e.sent
		e.mu.Unlock()
		require.Less(t, sent, 60*nodes/5*3/2+50, "each about every five seconds, and a few answers")
		s, _ = late.last()
		require.Len(t, s.Candidates, nodes-1)
		late.end()
		time.Sleep(time.Second)
		synctest.Wait()
		s, _ = some.last()
		require.Len(t, s.Candidates, nodes-2, "it said farewell")
	})
}

// Recordings, strangers and floods: counted, not heeded. A broken network is
// an error; who is silent is forgotten.
func TestMulticastHostile(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		e := &ether{ends: map[*etherEnd]bool{}}
		var mu sync.Mutex
		drops := map[string]int{}
		m := Multicast{Dropped: func(reason string, _ netip.AddrPort) { mu.Lock(); drops[reason]++; mu.Unlock() }}
		node := func(i int, m Multicast, s Self) *listener { return listen(t, ctx, onAir{m, s, e.end(i)}) }
		a := node(1, m, Self{Cluster: "c", Name: "a", Addrs: []string{"127.0.0.1:1", "10.0.0.1:1"}, Secrets: []string{"new", "old"}})
		b := node(2, Multicast{}, Self{Cluster: "c", Name: "b", Addrs: []string{"127.0.0.1:2", "10.0.0.2:2"}, Secrets: []string{"old", "new"}})
		a.untilAddrs("10.0.0.2:2")
		b.untilAddrs("10.0.0.1:1")
		node(3, Multicast{}, Self{Cluster: "c", Name: "x", Addrs: []string{"h:3"}, Secrets: []string{"wrong"}})
		node(4, Multicast{}, Self{Cluster: "d", Name: "y", Addrs: []string{"h:4"}, Secrets: []string{"new"}})
		time.Sleep(2 * time.Second)
		evil := e.end(9)
		e.mu.Lock()
		tape := e.tape[:10:10]
		e.mu.Unlock()
		for range 50 {
			for _, b := range tape {
				require.NoError(t, evil.send(b))
			}
			require.NoError(t, evil.send([]byte("junk")))
		}
		time.Sleep(time.Second)
		for range 2000 {
			require.NoError(t, evil.send([]byte("flood")))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		mu.Lock()
		for _, reason := range []string{DropReplay, DropSecret, DropCluster, DropForeign, DropLimit} {
			require.NotZero(t, drops[reason], reason)
		}
		mu.Unlock()
		a.untilAddrs("10.0.0.2:2")
		e.mu.Lock()
		e.broken = true
		e.mu.Unlock()
		s := a.until("an error", func(s Snapshot) bool { return s.Err != nil })
		require.ErrorContains(t, s.Err, "nothing can be sent: network is unreachable")
		time.Sleep(4 * mcInterval) // for so long what it said last is valid, in virtual time
		a.until("silence", func(s Snapshot) bool { return len(s.Candidates) == 0 })
		e.mu.Lock()
		e.broken = false
		e.mu.Unlock()
		s = a.untilAddrs("10.0.0.2:2")
	})
}

// On real sockets, on loopback: several processes' worth, by each way.
func TestMulticastLoopback(t *testing.T) {
	for i, m := range []Multicast{
		{Groups: []string{mcGroup4}},
		{Groups: []string{mcGroup6}},
		{},
		{Mode: "broadcast"},
		{Mode: "both", Groups: []string{mcGroup4}},
	} {
		t.Run(fmt.Sprint(m.Mode, m.Groups), func(t *testing.T) {
			m.Interfaces, m.Port, m.Interval = []string{loopbackName(t)}, 46300+i, time.Second
			air, err := m.open()
			if err != nil {
				t.Skipf("no such multicast here: %v", err)
			}
			air.close()
			self := func(name, addr string) context.Context {
				return WithSelf(t.Context(), Self{Cluster: "c", Name: name, Addrs: []string{addr}, Secrets: []string{"a secret"}})
			}
			if len(m.Groups) == 1 && m.Groups[0] == mcGroup6 {
				m.Interfaces = nil // Linux has no multicast of IPv6 on loopback; what others send comes back
			}
			a := listen(t, self("a", "127.0.0.1:1"), m)
			if s := a.until("a first answer", func(Snapshot) bool { return true }); s.Err != nil {
				t.Skipf("no way for it here: %v", s.Err)
			}
			b := listen(t, self("b", "127.0.0.1:2"), m)
			start := time.Now()
			a.untilAddrs("127.0.0.1:2")
			b.untilAddrs("127.0.0.1:1")
			t.Logf("found in %v", time.Since(start))
			c := listen(t, self("c", "127.0.0.1:3"), m)
			c.untilAddrs("127.0.0.1:1", "127.0.0.1:2")
			b.end()
			a.untilAddrs("127.0.0.1:3")
		})
	}
}

func TestMulticastOptions(t *testing.T) {
	err := Multicast{Mode: "unicast", Groups: []string{"10.0.0.1", "x"}, Port: -1, Listen: "224.0.0.1", Interfaces: []string{"no0"}, TTL: 256, Interval: 1}.Validate()
	for _, part := range []string{`Mode is "unicast"`, `group "10.0.0.1"`, `group "x"`, "Port is -1", `Listen is "224.0.0.1"`, `interface "no0"`, "TTL is 256", "Interval is 1ns"} {
		require.ErrorContains(t, err, part)
	}
	require.ErrorContains(t, Multicast{}.Run(t.Context(), nil), "run it under WithSelf")
	require.Equal(t, "broadcast udp 6278", Multicast{Mode: "broadcast"}.String())
}

func loopbackName(t *testing.T) string {
	list, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range list {
		if i.Flags&net.FlagLoopback != 0 {
			return i.Name
		}
	}
	t.Skip("no loopback interface")
	return ""
}

// A thousand nodes announce themselves every twenty seconds.
func TestMulticastInterval(t *testing.T) {
	r := &mcRun{hearing: newHearing(0)}
	require.Equal(t, mcInterval, r.interval())
	for run := range uint64(1000) {
		r.hearing.senders[run+1] = &sender{}
	}
	require.Equal(t, 20*time.Second, r.interval())
}
