package actors

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// Incarnation is one life of a node; compared for equality only.
type Incarnation = overlay.Incarnation

// Status is what is known of a member.
type Status string

// Statuses.
const (
	Alive   Status = "alive"
	Suspect Status = "suspect" // still sent to
	Leaving Status = "leaving"
	Down    Status = "down"
	Left    Status = "left"
)

// Member is a node of the cluster.
type Member struct {
	Name        string
	Incarnation Incarnation
	Generation  uint64   // orders the records of that name
	Addrs       []string // advertised, best first
	Status      Status
	Tags        map[string]string
	Kinds       []string // what it lets others spawn
	Version     string   // of the application
}

func memberOf(m roster.Member) Member {
	out := Member{
		Name: m.Peer.Name, Incarnation: m.Peer.Incarnation, Generation: m.Generation, Addrs: slices.Clone(m.Addrs),
		Tags: maps.Clone(m.Tags), Kinds: slices.Clone(m.Kinds), Version: m.AppVersion, Status: Status(m.Status.String()),
	}
	if m.Leaving && m.Status == roster.StatusAlive {
		out.Status = Leaving
	}
	return out
}

// Filter chooses members.
type Filter func(Member) bool

// HasTag chooses members with a tag.
func HasTag(key, value string) Filter { return func(m Member) bool { return m.Tags[key] == value } }

// HasKind chooses members that let others spawn a kind.
func HasKind(kind string) Filter {
	return func(m Member) bool { return slices.Contains(m.Kinds, kind) }
}

func all(m Member, where []Filter) bool {
	for _, f := range where {
		if !f(m) {
			return false
		}
	}
	return true
}

// Self returns this node.
func (d *Distribution) Self() Member {
	self := d.service.Self()
	return memberOf(roster.Member{Record: &self})
}

// NodeList returns the names of Members(), this node included, sorted.
func (d *Distribution) NodeList() []string {
	var names []string
	for _, m := range d.service.View().Members {
		names = append(names, m.Peer.Name)
	}
	return names
}

// Members returns the members that are alive or suspect, this node included,
// sorted by name.
func (d *Distribution) Members(where ...Filter) []Member {
	var list []Member
	for _, m := range d.service.View().Members {
		if k := memberOf(m); all(k, where) {
			list = append(list, k)
		}
	}
	return list
}

// Member returns a member by name, also one that is down or has left, while it
// is remembered.
func (d *Distribution) Member(node string) (Member, bool) {
	m, ok := d.service.Lookup(node)
	return memberOf(m), ok
}

// WaitForMembers waits until at least n members, this node included, are
// known. It returns ctx's error, or ErrStopped.
func (d *Distribution) WaitForMembers(ctx context.Context, n int, where ...Filter) error {
	sub := d.service.Subscribe(64)
	defer sub.Close()
	for {
		if len(where) == 0 && d.service.Count() >= n || len(where) > 0 && len(d.Members(where...)) >= n {
			return nil
		}
		if _, ok := sub.Next(ctx); !ok {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return ErrStopped
		}
	}
}

// RTT returns the round trip to a node as the last heartbeat has measured it, at
// most some heartbeats ago; false if there is no link to the node, or no
// heartbeat has come back yet.
func (d *Distribution) RTT(node string) (time.Duration, bool) {
	s := d.registry.Session(node)
	if s == nil || s.RTT() == 0 {
		return 0, false
	}
	return s.RTT(), true
}

// Health is how a node is.
type Health struct {
	Live, Ready                  bool
	Reasons                      []string // why not
	Members, Neighbors, Expected int
}

// Health returns how this node is: live unless its runtime has failed, ready
// when the expected members are known.
func (d *Distribution) Health() Health {
	h := Health{Live: d.Err() == nil && !d.stopped.Load(), Members: d.service.Count(), Expected: int(d.expected.Load())}
	h.Neighbors = len(d.service.Neighbors())
	if !h.Live {
		h.Reasons = append(h.Reasons, "the runtime has stopped")
	}
	if h.Members < h.Expected {
		h.Reasons = append(h.Reasons, "fewer members than expected are known")
	}
	h.Ready = len(h.Reasons) == 0
	return h
}
