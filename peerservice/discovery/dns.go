package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds on when DNS is asked again. Our choice.
const (
	dnsMinTTL = time.Second
	dnsMaxTTL = 30 * time.Second
	dnsCalm   = time.Minute
	dnsLinger = time.Minute
)

// DNS finds the addresses that names resolve to, as of a headless service. It
// asks again when the answer's time to live is over, between one and thirty
// seconds, and about once a minute while calm.
//
// No answer of DNS is known to be whole: servers give some addresses of many,
// in turn, and what does not fit into a message is cut without a sign. So an
// address stays for Linger after it was last named, and as long as one is
// missing the snapshot is partial; so it is when an answer was truncated or
// near the size at which they are (64 KB; some 900 SRV records). A name that
// does not exist is an error, not an empty answer.
//
// It asks over UDP, and over TCP where that is too short, by the system's
// configuration (resolv.conf, hosts file) or one Server.
type DNS struct {
	Queries []string // names; one that begins with '_' asks for SRV
	// Record is "ip" (A and AAAA, the default), "a", "aaaa" or "srv". An SRV
	// record names the port too; its target is the candidate's host.
	Record   string
	Port     int           // of addresses: DefaultPort
	Interval time.Duration // where no time to live is known: 5 s
	Linger   time.Duration // 1 min
	Timeout  time.Duration // of a question: 5 s
	Server   string        // "host" or "host:port", instead of the system's
}

// Validate reports every option that cannot be.
func (d DNS) Validate() error {
	errs := []error{checkPort("dns", d.Port), checkInterval("dns", d.Interval)}
	if len(d.Queries) == 0 {
		errs = append(errs, errors.New("discovery: dns: Queries is empty; name at least one, as orders.shop.svc.cluster.local"))
	}
	for _, q := range d.Queries {
		if err := checkHost(q); err != nil {
			errs = append(errs, fmt.Errorf("discovery: dns: query %q: %w", q, err))
		}
	}
	switch d.Record {
	case "", "ip", "a", "aaaa", "srv":
	default:
		errs = append(errs, fmt.Errorf("discovery: dns: Record is %q; use ip, a, aaaa or srv", d.Record))
	}
	if d.Linger < 0 || d.Timeout < 0 {
		errs = append(errs, fmt.Errorf("discovery: dns: Linger and Timeout are %v and %v; use positive times", d.Linger, d.Timeout))
	}
	if d.Server != "" {
		if _, err := Address(d.Server, 53); err != nil {
			errs = append(errs, fmt.Errorf("discovery: dns: Server: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (d DNS) String() string {
	text := "dns " + strings.Join(d.Queries, ",")
	if d.Record != "" {
		text += " (" + d.Record + ")"
	}
	return text
}

// Run implements Strategy.
func (d DNS) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := d.Validate(); err != nil {
		return err
	}
	interval := cmp.Or(d.Interval, 5*time.Second)
	seen := map[string]lingering{}
	poller{interval: interval, calm: max(interval, dnsCalm)}.run(ctx, emit, func(ctx context.Context) (Snapshot, time.Duration) {
		s, ttl := d.ask(ctx)
		next := time.Duration(0)
		if ttl > 0 {
			next = jitterUp(min(max(ttl, dnsMinTTL), dnsMaxTTL))
		}
		return linger(seen, s, time.Now(), cmp.Or(d.Linger, dnsLinger)), next
	})
	return nil
}

// jitterUp spreads a time that should not be undercut.
func jitterUp(t time.Duration) time.Duration { return jitter(t * 5 / 4) }

type lingering struct {
	Candidate
	at time.Time
}

// linger adds to an answer what was named by one not long ago.
func linger(seen map[string]lingering, s Snapshot, now time.Time, keep time.Duration) Snapshot {
	named := make(map[string]bool, len(s.Candidates))
	for _, c := range s.Candidates {
		named[c.Addr] = true
		seen[c.Addr] = lingering{c, now}
	}
	all := append([]Candidate(nil), s.Candidates...)
	for addr, c := range seen {
		switch {
		case named[addr]:
		case now.Sub(c.at) >= keep && s.OK(), len(seen) > MaxCandidates:
			delete(seen, addr)
		default:
			all = append(all, c.Candidate)
			s.Partial = true
		}
	}
	out := whole(all)
	out.Partial, out.Err = out.Partial || s.Partial, errors.Join(s.Err, out.Err)
	return out
}

// ask sends all queries and puts the answers together; ttl is the least time
// to live in them, 0 where there was none.
func (d DNS) ask(ctx context.Context) (Snapshot, time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.Timeout, 5*time.Second))
	defer cancel()
	tap := &dnsTap{server: d.Server}
	defer tap.close()
	resolver := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: tap.dial}
	answers := make([]Snapshot, len(d.Queries))
	var wg sync.WaitGroup
	for i, q := range d.Queries {
		wg.Go(func() {
			if d.Record == "srv" || strings.HasPrefix(q, "_") {
				answers[i] = d.services(ctx, resolver, q)
			} else {
				answers[i] = d.addresses(ctx, resolver, q)
			}
		})
	}
	wg.Wait()
	var all []Candidate
	var errs []error
	for _, a := range answers {
		all = append(all, a.Candidates...)
		errs = append(errs, a.Err)
	}
	s := whole(all)
	s.Err = errors.Join(append(errs, s.Err)...)
	ttl, cut := tap.heard()
	s.Partial = s.Partial || s.Err != nil || cut
	return s, ttl
}

// addresses asks for A and AAAA apart from each other: that one of them fails
// is not hidden by the other's answer.
func (d DNS) addresses(ctx context.Context, r *net.Resolver, name string) Snapshot {
	networks := map[string][]string{"a": {"ip4"}, "aaaa": {"ip6"}}[d.Record]
	if networks == nil {
		networks = []string{"ip4", "ip6"}
	}
	lists, errs := make([][]Candidate, len(networks)), make([]error, len(networks))
	var wg sync.WaitGroup
	for i, network := range networks {
		wg.Go(func() {
			ips, err := r.LookupNetIP(ctx, network, name)
			errs[i] = err
			for _, ip := range ips {
				addr := net.JoinHostPort(ip.Unmap().String(), strconv.Itoa(cmp.Or(d.Port, DefaultPort)))
				lists[i] = append(lists[i], Candidate{Addr: addr})
			}
		})
	}
	wg.Wait()
	var s Snapshot
	missing := 0
	for i := range networks {
		s.Candidates = append(s.Candidates, lists[i]...)
		if notFound(errs[i]) {
			missing++
		} else if errs[i] != nil {
			s.Err = errors.Join(s.Err, d.explain(name, errs[i]))
		}
	}
	if missing == len(networks) {
		s.Err = d.explain(name, errs[0])
	}
	return s
}

func (d DNS) services(ctx context.Context, r *net.Resolver, name string) Snapshot {
	_, records, err := r.LookupSRV(ctx, "", "", name)
	var s Snapshot
	if err != nil { // some records may be good nevertheless
		s.Err = d.explain(name, err)
	}
	for _, rec := range records {
		host := strings.TrimSuffix(rec.Target, ".")
		if host == "" { // RFC 2782: the service is decidedly not available
			continue
		}
		if err := checkHost(host); err != nil || rec.Port == 0 {
			s.Err = errors.Join(s.Err, fmt.Errorf("discovery: dns %s: SRV target %q, port %d, cannot be dialed", name, host, rec.Port))
			continue
		}
		first, _, _ := strings.Cut(host, ".")
		s.Candidates = append(s.Candidates, Candidate{Addr: net.JoinHostPort(host, strconv.Itoa(int(rec.Port))), Name: first})
	}
	return s
}

func notFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

func (d DNS) explain(name string, err error) error {
	if notFound(err) {
		return &noName{name}
	}
	return fmt.Errorf("discovery: dns %s: %w", name, err)
}
