// Package doctor tries what a node's discovery finds, without being a node: it asks
// each source once, knocks at each candidate, and says what came of it and what can
// be done.
//
// It announces nothing and joins nothing. A candidate is asked by a handshake of
// class Look, which it answers by its rules of admission and forgets.
package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/channelmgr/transport"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/peerservice/discovery"
	"github.com/maquis-go/maquis/peerservice/discovery/introduce"
)

// Bounds of an examination. Our choice.
const (
	knocks     = 32               // candidates tried at once
	maxSkew    = 10 * time.Second // between clocks, before it is told: Multicast allows 30 s, certificates none
	defaultAsk = 10 * time.Second
	defaultTry = 5 * time.Second
)

// Config says for whom, and where, is looked.
type Config struct {
	Strategies []discovery.Strategy
	Seeds      []string // contacts that are tried too
	Self       discovery.Self
	Hello      handshake.Hello // what the node would say of itself
	Security   *handshake.Security
	Transport  transport.Transport
	Ask        time.Duration // for the answer of a source; 10 s
	Try        time.Duration // for a candidate; 5 s
	// Progress is told when there is something to wait for. It may be nil.
	Progress func(text string)
}

// Run asks the sources and tries the candidates. It ends with ctx at the latest:
// candidates that could not be tried by then have the verdict "timeout".
func Run(ctx context.Context, cfg Config) *Report {
	cfg.Ask, cfg.Try = cmp.Or(cfg.Ask, defaultAsk), cmp.Or(cfg.Try, defaultTry)
	cfg.Self.Quiet = true
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	r := &Report{Node: cfg.Self.Name, Cluster: cfg.Self.Cluster, Sources: []Source{}, Candidates: []Candidate{}}
	found := cfg.ask(ctx, r)
	own := make(map[string]bool, len(cfg.Self.Addrs))
	for _, a := range cfg.Self.Addrs {
		own[a] = true
	}
	cfg.Progress(fmt.Sprintf("trying %d candidates", len(found)))
	results := make([]Candidate, len(found))
	room := make(chan struct{}, knocks)
	var wg sync.WaitGroup
	for i, addr := range slices.Sorted(maps.Keys(found)) {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			results[i] = cfg.try(ctx, found[addr], own[addr])
		})
	}
	wg.Wait()
	r.Candidates = append(r.Candidates, results...)
	r.conclude(cfg.Self.Name)
	return r
}

// ask asks all sources, each of several by itself, and returns what they name.
func (cfg *Config) ask(ctx context.Context, r *Report) map[string]*Candidate {
	var parts []discovery.Strategy
	for _, s := range cfg.Strategies {
		parts = append(parts, discovery.Parts(s)...)
	}
	answers, unheeded := make([]discovery.Snapshot, len(parts)), make([]drops, len(parts))
	if len(parts) > 0 {
		cfg.Progress(fmt.Sprintf("asking the sources, for %v at most", cfg.Ask))
	}
	var wg sync.WaitGroup
	for i, s := range parts {
		wg.Go(func() {
			if m, ok := s.(discovery.Multicast); ok {
				m.Dropped = unheeded[i].add
				s = m
			}
			answers[i] = discovery.Ask(discovery.WithSelf(ctx, cfg.Self), s, cfg.Ask)
		})
	}
	wg.Wait()
	found := make(map[string]*Candidate)
	name := func(source string, c discovery.Candidate) {
		e := found[c.Addr]
		if e == nil {
			e = &Candidate{Addr: c.Addr, Said: c.Name, Terminating: c.Terminating}
			found[c.Addr] = e
		}
		e.Said = cmp.Or(e.Said, c.Name)
		if !slices.Contains(e.Sources, source) {
			e.Sources = append(e.Sources, source)
		}
	}
	for i, s := range parts {
		out := Source{Name: discovery.Describe(s), Candidates: len(answers[i].Candidates), Partial: answers[i].Partial, Missing: discovery.Missing(s, answers[i]), Unheeded: unheeded[i].list()}
		if answers[i].Err != nil {
			out.Error = answers[i].Err.Error()
		}
		r.Sources = append(r.Sources, out)
		for _, c := range answers[i].Candidates {
			name(out.Name, c)
		}
	}
	if len(cfg.Seeds) > 0 {
		r.Sources = append(r.Sources, Source{Name: "seeds", Candidates: len(cfg.Seeds)})
	}
	for _, a := range cfg.Seeds {
		name("seeds", discovery.Candidate{Addr: a})
	}
	return found
}

// drops counts the packets that were not heeded, by reason and sender.
type drops struct {
	mu sync.Mutex
	m  map[Unheeded]int
}

func (d *drops) add(reason string, from netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.m == nil {
		d.m = make(map[Unheeded]int)
	}
	if k := (Unheeded{Reason: reason, From: from.Addr().Unmap().String()}); len(d.m) < 100 || d.m[k] > 0 {
		d.m[k]++
	}
}

func (d *drops) list() (out []Unheeded) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, n := range d.m {
		k.Packets = n
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Unheeded) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Reason, b.Reason)) })
	return out
}

// try knocks at a candidate.
func (cfg *Config) try(ctx context.Context, c *Candidate, own bool) Candidate {
	out := *c
	out.own = own
	if why := introduce.Undialable(c.Addr); why != "" {
		return out.is("address", errors.New(why))
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Try)
	defer cancel()
	start := time.Now()
	conn, err := cfg.Transport.Dial(ctx, c.Addr)
	if err != nil {
		why := introduce.ReasonOf(err)
		if ctx.Err() != nil {
			why = string(messages.ReasonTimeout)
		}
		return out.is(why, err)
	}
	theirs, err := handshake.LookAt(ctx, conn, cfg.Security, cfg.Hello)
	out.Took = time.Since(start).Round(10 * time.Microsecond)
	out.Node = theirs.Name
	if theirs.Clock != 0 {
		out.Skew = time.UnixMilli(theirs.Clock).Sub(time.Now()).Round(time.Millisecond)
	}
	var he *handshake.Error
	switch {
	case errors.As(err, &he):
		return out.is(cfg.reason(he), err)
	case out.Skew > maxSkew || out.Skew < -maxSkew:
		out = out.is(clockSkew, fmt.Errorf("its clock is %v off this one's", out.Skew))
		out.Admits = true
	case c.Said != "" && c.Said != theirs.Name:
		out = out.is(nameMismatch, fmt.Errorf("node %q answers where the source says %q", theirs.Name, c.Said))
		out.Admits = true
	default:
		out = out.is("", nil)
	}
	return out
}

// Reasons of our own, beside those of package messages.
const (
	clockSkew    = "clock"
	nameMismatch = "name_mismatch"
)

// reason is a refusal's, with what a certificate's times say: one that is valid by
// its holder's clock and not by the other's means that the clocks differ.
func (cfg *Config) reason(e *handshake.Error) string {
	switch e.Reason {
	case messages.ReasonWrongSecret:
		if cfg.Security.Mode() == handshake.ModeMTLS { // it is nobody's secret, but another authority's signature
			return string(messages.ReasonCertificate)
		}
	case messages.ReasonCertificate:
		now := time.Now()
		var invalid x509.CertificateInvalidError
		if errors.As(e, &invalid) {
			if invalid.Reason == x509.Expired && invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
				return clockSkew
			}
			return string(e.Reason)
		}
		// The peer found ours expired, or not valid yet, which we do not.
		if own := cfg.Security.Certificate(); handshake.SaidExpired(e) && own != nil && now.After(own.NotBefore) && now.Before(own.NotAfter) {
			return clockSkew
		}
	}
	return string(e.Reason)
}
