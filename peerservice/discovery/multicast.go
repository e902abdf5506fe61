package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Defaults and times of Multicast. Our choice; the groups are of
// administrative (RFC 2365) and link-local, transient scope (RFC 4291).
const (
	mcGroup4   = "239.255.62.78"
	mcGroup6   = "ff12::6278"
	mcInterval = 5 * time.Second
	mcAlone    = time.Second            // between packets while nobody is heard
	mcSpread   = 20 * time.Millisecond  // interval for each node heard, where that is longer
	mcReply    = 100 * time.Millisecond // within which a newcomer is answered
	mcGather   = 50 * time.Millisecond
	mcAnswers  = 10   // nodes that answer a newcomer, on average
	mcPerTick  = 1000 // packets that are read in a second
)

// Multicast finds nodes on the local network, and on this host, by UDP
// packets to a group or to the broadcast address. Each node announces itself
// every few seconds, the more nodes the more rarely; a newcomer asks and is
// answered by a few at once.
//
// Packets are signed with a key derived from the cluster's name and secret,
// carry a time and a number, and count once: nobody without the secret can
// make a node dial, neither with a packet of its own nor with one recorded.
// Clocks must agree within 30 s. Addresses are not hidden. Without a secret
// anybody on the network can announce anything.
//
// Clouds mostly carry no multicast; use DNS or Kubernetes there. It announces,
// and needs WithSelf.
type Multicast struct {
	// Mode is "multicast" (default), "broadcast" (IPv4 only) or "both".
	Mode string
	// Groups are joined and sent to: 239.255.62.78 and ff12::6278. A group of a
	// family that the host lacks is passed over, if there is another.
	Groups []string
	Port   int // UDP, the same for all nodes: 6278
	// Listen is the IPv4 or IPv6 address to receive at: all.
	Listen string
	// Interfaces names those used: all that are up, loopback among them.
	Interfaces []string
	TTL        int           // routers that a packet may cross, plus one: 1
	Interval   time.Duration // between announcements of a node: 5 s
	// Secrets: those of Self. The first signs, all are accepted.
	Secrets []string
	// Dropped is told of each packet that is not heeded: why (DropSecret and
	// others), and where it seems to come from. It must not block.
	Dropped func(reason string, from netip.AddrPort)
}

// Validate reports every option that cannot be.
func (m Multicast) Validate() error {
	errs := []error{checkPort("multicast", m.Port), checkInterval("multicast", m.Interval)}
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("discovery: multicast: "+format, args...))
	}
	switch m.Mode {
	case "", "multicast", "broadcast", "both":
	default:
		bad("Mode is %q; use multicast, broadcast or both", m.Mode)
	}
	for _, g := range m.Groups {
		if ip, err := netip.ParseAddr(g); err != nil || !ip.IsMulticast() {
			bad("group %q is no multicast address; use one as %s or %s", g, mcGroup4, mcGroup6)
		}
	}
	if m.Listen != "" {
		if ip, err := netip.ParseAddr(m.Listen); err != nil || ip.IsMulticast() {
			bad("Listen is %q; use an IP address of this host", m.Listen)
		}
	}
	if m.TTL < 0 || m.TTL > 255 {
		bad("TTL is %d; use 1 to 255, or 0 for 1", m.TTL)
	}
	for _, name := range m.Interfaces {
		if _, err := net.InterfaceByName(name); err != nil {
			bad("interface %q: %w", name, err)
		}
	}
	return errors.Join(errs...)
}

func (m Multicast) String() string {
	return fmt.Sprintf("%s udp %d", cmp.Or(m.Mode, "multicast"), cmp.Or(m.Port, DefaultPort))
}

// Run implements Strategy.
func (m Multicast) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := m.Validate(); err != nil {
		return err
	}
	self, err := announced(ctx, "multicast")
	if err != nil {
		return err
	}
	if self.Quiet {
		self.Addrs = nil // it asks, and is nobody's candidate
	}
	if len(m.Secrets) > 0 {
		self.Secrets = m.Secrets
	}
	keys, err := newKeys(self.Cluster, self.Secrets)
	if err != nil {
		return fmt.Errorf("discovery: multicast: %w", err)
	}
	run := &mcRun{Multicast: m, self: self, keys: keys, emit: emit, hearing: newHearing(rand.Uint64())}
	if _, err := run.packet(packetHere); err != nil {
		return fmt.Errorf("discovery: multicast: %w", err)
	}
	wait := newBackoff(time.Second, time.Minute)
	for {
		air, err := m.open()
		if err == nil {
			err = run.loop(ctx, air)
			air.close()
		}
		if ctx.Err() != nil {
			return nil
		}
		emit(failed(fmt.Errorf("discovery: %s: %w", m, err)))
		if !sleep(ctx, wait.next()) {
			return nil
		}
	}
}

// air carries packets: sockets, or a test's.
type air interface {
	send(b []byte) error
	heard() <-chan heardPacket // closed when nothing more can be heard
	local(netip.Addr) bool     // is the address one of this host?
	close()
}

type heardPacket struct {
	data []byte
	from netip.AddrPort
}

// mcRun is one run: what to say, and what was heard.
type mcRun struct {
	Multicast
	self    Self
	keys    mcKeys
	emit    func(Snapshot)
	hearing *hearing
	seq     uint64
	unsent  error // of the last packet
	read    int   // packets in this second
}

func (r *mcRun) packet(kind packetKind) ([]byte, error) {
	r.seq++
	return r.keys.encode(packet{
		kind: kind, run: r.hearing.run, seq: r.seq, at: time.Now(), valid: max(4*r.interval(), 2*time.Second),
		name: r.self.Name, zone: r.self.Zone, addrs: r.self.Addrs,
	})
}

// interval grows with the number of nodes: all together send some fifty
// packets in a second at most.
func (r *mcRun) interval() time.Duration {
	return max(cmp.Or(r.Interval, mcInterval), time.Duration(r.hearing.count())*mcSpread)
}

// loop talks until ctx ends, when it says farewell, or the air is gone.
func (r *mcRun) loop(ctx context.Context, a air) error {
	send, tick := time.NewTimer(0), time.NewTicker(time.Second)
	defer send.Stop()
	defer tick.Stop()
	next := time.Now() // when send fires
	asks := 3          // a newcomer asks more than once: packets get lost
	var gather <-chan time.Time
	first := time.After(time.Second) // nobody answered: that is an answer too
	for {
		select {
		case <-ctx.Done():
			if b, err := r.packet(packetBye); err == nil {
				_ = a.send(b)
			}
			return nil
		case p, more := <-a.heard():
			if !more {
				return errors.New("the sockets are gone")
			}
			news, answer := r.onPacket(p, a)
			if news && gather == nil {
				gather = time.After(mcGather)
			}
			if soon := time.Now().Add(rand.N(mcReply)); answer && next.After(soon) {
				next = soon
				send.Reset(time.Until(next))
			}
		case <-send.C:
			kind := packetHere
			if asks > 0 || r.hearing.count() == 0 {
				kind = packetWho
			}
			b, err := r.packet(kind)
			if err == nil {
				err = a.send(b)
			}
			if (err == nil) != (r.unsent == nil) {
				gather = time.After(0)
			}
			r.unsent = err
			wait := r.interval()
			if asks > 1 {
				wait = 150 * time.Millisecond
			} else if r.hearing.count() == 0 {
				wait = min(wait, mcAlone)
			}
			asks--
			next = time.Now().Add(jitter(wait))
			send.Reset(time.Until(next))
		case <-gather:
			gather = nil
			r.tell()
		case <-first:
			r.tell()
		case <-tick.C:
			r.read = 0
			if r.hearing.expire(time.Now()) {
				r.tell()
			}
		}
	}
}

func (r *mcRun) tell() {
	s := whole(r.hearing.candidates())
	if r.unsent != nil {
		s.Partial, s.Err = true, errors.Join(s.Err, fmt.Errorf("discovery: %s: nothing can be sent: %w", r.Multicast, r.unsent))
	}
	r.emit(s)
}

// onPacket reports whether the candidates changed, and whether to announce
// ourselves soon.
func (r *mcRun) onPacket(h heardPacket, a air) (news, answer bool) {
	if r.read++; r.read > mcPerTick {
		r.dropped(DropLimit, h.from)
		return false, false
	}
	p, drop := r.keys.decode(h.data)
	if drop == "" {
		if slices.ContainsFunc(p.addrs, isLoopback) && !a.local(h.from.Addr()) {
			p.addrs = beyondHost(p.addrs)
		}
		var stranger bool
		news, stranger, drop = r.hearing.hear(time.Now(), p)
		// Where many hear a newcomer, some answer.
		answer = (stranger || p.kind == packetWho) && drop == "" && p.kind != packetBye && rand.IntN(max(r.hearing.count(), 1)) < mcAnswers
	}
	if drop != "" && drop != "own" && drop != "again" {
		r.dropped(drop, h.from)
	}
	return news, answer
}

func (r *mcRun) dropped(reason string, from netip.AddrPort) {
	if r.Dropped != nil {
		r.Dropped(reason, from)
	}
}

// beyondHost leaves out addresses that mean another host's own.
func beyondHost(addrs []string) []string {
	return slices.DeleteFunc(slices.Clone(addrs), isLoopback)
}

func isLoopback(addr string) bool {
	ap, err := netip.ParseAddrPort(addr)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
