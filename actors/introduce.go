package actors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"sync"

	"github.com/maquis-go/maquis/channelmgr/handshake"
	"github.com/maquis-go/maquis/overlay/roster"
	"github.com/maquis-go/maquis/peerservice/discovery"
	"github.com/maquis-go/maquis/peerservice/discovery/introduce"
)

// introduction is the Introducer of the moment, which dials what strategies find.
type introduction struct {
	mu     sync.Mutex
	in     *introduce.Introducer // nil without strategies, and from Leave to Join
	cancel context.CancelFunc
	done   chan struct{}
	past   map[string]uint64 // counters of those before
}

// introduce begins to dial what the strategies find, unless that goes on.
func (d *Distribution) introduce() error {
	i, o := &d.introduction, &d.opts
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(o.discovery) == 0 || i.in != nil {
		return nil
	}
	in, err := introduce.New(introduce.Config{
		Strategies: o.discovery, Self: d.DiscoverySelf(), Members: d.introduced, Reason: joinReason, Expected: o.expected, Logger: o.logger,
		Join: func(ctx context.Context, addr string) error { return joinError(d.service.Try(ctx, addr)) },
	})
	if err != nil {
		return fmt.Errorf("maquis: %w", err)
	}
	ctx, cancel := context.WithCancel(d.ctx)
	done := make(chan struct{})
	i.in, i.cancel, i.done = in, cancel, done
	d.pump(func() {
		defer close(done)
		in.Run(ctx)
	})
	return nil
}

// DiscoverySelf is this node as strategies announce it: for those that are run by
// others than the node itself, see discovery.WithSelf. It holds the secrets.
func (d *Distribution) DiscoverySelf() discovery.Self {
	self, o := d.service.Self(), &d.opts
	me := discovery.Self{Cluster: o.cluster, Name: self.Peer.Name, Zone: self.Tags["zone"], Addrs: self.Addrs}
	if o.security.Mode == handshake.ModeSecret {
		me.Secrets = o.security.Secrets
	}
	return me
}

// end ends it and waits for that.
func (i *introduction) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.in != nil {
		i.cancel()
		<-i.done
		i.past = i.counters()
		i.in = nil
	}
}

// introduced are those whom nobody need introduce.
func (d *Distribution) introduced() []introduce.Member {
	var list []introduce.Member
	for _, m := range d.service.Known() {
		if m.Status != roster.StatusDown {
			list = append(list, introduce.Member{Name: m.Peer.Name, Addrs: m.Addrs, Left: m.Status == roster.StatusLeft})
		}
	}
	return list
}

// joinReason is why one contact did not let us in.
func joinReason(err error) string {
	var je *JoinError
	if errors.As(err, &je) && len(je.Contacts) == 1 {
		return string(je.Contacts[0].Reason)
	}
	return ""
}

// Discovery returns what the strategies have found and how calling it went, for a
// doctor; its zero value where there are no strategies, and after Leave.
func (d *Distribution) Discovery() introduce.Status {
	d.introduction.mu.Lock()
	defer d.introduction.mu.Unlock()
	if d.introduction.in == nil {
		return introduce.Status{}
	}
	return d.introduction.in.Status()
}

// kindOf is the word of a strategy's description that names its kind.
var kindOf = regexp.MustCompile(`[\w.]+`)

// counters adds the counters of the introducer of the moment to those of the ones
// before, see Stats. The lock is held.
func (i *introduction) counters() map[string]uint64 {
	all := maps.Clone(i.past)
	if i.in == nil {
		return all
	}
	if all == nil {
		all = make(map[string]uint64)
	}
	for _, s := range i.in.Status().Sources {
		prefix := "discovery_" + kindOf.FindString(s.Name) + "_"
		all[prefix+"ok"] += s.Answers - s.Errors - s.Partials
		all[prefix+"partial"] += s.Partials
		all[prefix+"error"] += s.Errors
		all[prefix+"dialed"] += s.Dialed
		all[prefix+"accepted"] += s.Accepted
		for why, n := range s.Reasons {
			all[prefix+"refused_"+why] += n
		}
	}
	return all
}

// stats are counters with the number of candidates, which is no counter.
func (i *introduction) stats() map[string]uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.counters()
	if i.in != nil {
		for _, s := range i.in.Status().Sources {
			all["discovery_"+kindOf.FindString(s.Name)+"_candidates"] += uint64(s.Candidates)
		}
	}
	return all
}
