package peerservice

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/clientserver"
	"github.com/maquis-go/maquis/overlay/fullmesh"
	"github.com/maquis-go/maquis/overlay/hyparview"
	"github.com/maquis-go/maquis/overlay/plumtree"
	"github.com/maquis-go/maquis/overlay/scamp"
	"github.com/maquis-go/maquis/overlay/static"
	"github.com/maquis-go/maquis/overlay/xbot"
	"github.com/maquis-go/maquis/peerservice/route"
)

// Kinds of overlays.
const (
	FullMesh     = "fullmesh"     // everyone is everyone's neighbor
	HyParView    = "hyparview"    // a small symmetric view of each node, for any number of nodes
	XBot         = "xbot"         // HyParView whose links become short
	Scamp        = "scamp"        // views that grow with the logarithm of the number of nodes
	ClientServer = "clientserver" // servers are neighbors of all, clients of the servers
	Static       = "static"       // neighbors as configured
)

// OverlaySpec describes a membership overlay. Its zero value is a full mesh.
type OverlaySpec struct {
	ID   string // in frames and logs; "" means "main"
	Kind string // one of the kinds above; "" means FullMesh

	// Active and Passive are the sizes of HyParView's and X-BOT's views; zero
	// means 5 and 30.
	Active, Passive int
	// ActiveWalk and PassiveWalk are HyParView's and X-BOT's ARWL and PRWL; zero
	// means 6 and 3.
	ActiveWalk, PassiveWalk int
	// Shuffle is the time between HyParView's and X-BOT's shuffles; zero means
	// 10 s.
	Shuffle time.Duration
	// Copies is SCAMP's c; zero means 3.
	Copies int
	// Servers are the names of a ClientServer's servers, the same on all nodes.
	Servers []string
	// Neighbors are the names of the neighbors of this node in a Static overlay.
	Neighbors []string
	// Reserve keeps places of HyParView's and X-BOT's active view, one for each
	// entry, for nodes with one of these tags, "tag=value". They are filled when
	// such a node asks for one, and it is never given up for others. A node is
	// known by its tags as soon as it is a member.
	Reserve []string

	maxHops int                                 // of ways
	tags    func(node string) map[string]string // of members
}

// withDefaults fills ID and Kind.
func (o OverlaySpec) withDefaults() OverlaySpec {
	o.ID, o.Kind = cmp.Or(o.ID, mainInstance), cmp.Or(o.Kind, FullMesh)
	return o
}

// Validate reports everything that is wrong, for a node of that name.
func (o OverlaySpec) Validate(node string) error {
	o = o.withDefaults()
	if strings.ContainsAny(o.ID, "/ ") || len(o.ID) > 64 || o.ID == rosterInstance {
		return fmt.Errorf("peerservice: overlay id %q: use up to 64 bytes without spaces and '/', and not %q", o.ID, rosterInstance)
	}
	if _, ok := overlayKinds[o.Kind]; !ok {
		return fmt.Errorf("peerservice: overlay %q is of kind %q; use one of %s", o.ID, o.Kind, strings.Join(OverlayKinds(), ", "))
	}
	for _, r := range o.Reserve {
		if tag, value, ok := strings.Cut(r, "="); !ok || tag == "" || value == "" {
			return fmt.Errorf("peerservice: overlay %q reserves a place for %q; use tag=value", o.ID, r)
		}
	}
	self := overlay.Peer{Name: node, Incarnation: 1, Addr: "x:1"}
	if _, err := o.stack(self, 0, func() *rand.Rand { return rand.New(rand.NewPCG(1, 1)) }); err != nil {
		return fmt.Errorf("peerservice: overlay %q: %w", o.ID, err)
	}
	return nil
}

// firstMachine is the first number of the first machine of a node's life.
const firstMachine = 1 << 32

// overlayKind is how a kind of overlay is made and fed.
type overlayKind struct {
	make func(o OverlaySpec, self overlay.Peer, rng *rand.Rand) (overlay.Machine, error)
	// rule: it is a dial rule over the members, which it is told. The others
	// find neighbors by themselves, from contacts.
	rule bool
	// partial: nodes have links to few of the others.
	partial bool
}

var overlayKinds = map[string]overlayKind{
	FullMesh: {rule: true, make: func(_ OverlaySpec, self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
		return fullmesh.New(fullmesh.DefaultConfig(self, rng))
	}},
	HyParView: {partial: true, make: func(o OverlaySpec, self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
		return hyparview.New(o.hyparview(self, rng))
	}},
	XBot: {partial: true, make: func(o OverlaySpec, self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
		c := xbot.DefaultConfig(self, rng)
		c.HyParView = o.hyparview(self, rng)
		return xbot.New(c)
	}},
	Scamp: {partial: true, make: func(o OverlaySpec, self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
		c := scamp.DefaultConfig(self, rng)
		c.C = cmp.Or(o.Copies, c.C)
		return scamp.New(c)
	}},
	ClientServer: {rule: true, partial: true, make: func(o OverlaySpec, self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
		return clientserver.New(clientserver.Config{Self: self, Rand: rng, Servers: o.Servers})
	}},
	Static: {rule: true, partial: true, make: func(o OverlaySpec, self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
		return static.New(static.Config{Self: self, Rand: rng, Neighbors: o.Neighbors})
	}},
}

// OverlayKinds are the names of all kinds, sorted.
func OverlayKinds() []string {
	names := make([]string, 0, len(overlayKinds))
	for k := range overlayKinds {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// OverlayIDs are the ids of the overlays that these specs describe, the first
// one's first.
func OverlayIDs(specs []OverlaySpec) []string {
	if len(specs) == 0 {
		specs = []OverlaySpec{{}}
	}
	var ids []string
	for _, o := range specs {
		ids = append(ids, o.withDefaults().ID)
	}
	return ids
}

func (o OverlaySpec) hyparview(self overlay.Peer, rng *rand.Rand) hyparview.Config {
	c := hyparview.DefaultConfig(self, rng)
	c.Active, c.Passive = cmp.Or(o.Active, c.Active), cmp.Or(o.Passive, c.Passive)
	c.ActiveWalk, c.PassiveWalk = cmp.Or(o.ActiveWalk, c.ActiveWalk), cmp.Or(o.PassiveWalk, c.PassiveWalk)
	c.Shuffle = cmp.Or(o.Shuffle, c.Shuffle)
	c.Reserved, c.Reserve = len(o.Reserve), o.reserved
	return c
}

// reserved reports whether places are kept for a peer.
func (o OverlaySpec) reserved(p overlay.Peer) bool {
	if o.tags == nil {
		return false
	}
	tags := o.tags(p.Name)
	return slices.ContainsFunc(o.Reserve, func(r string) bool {
		tag, value, _ := strings.Cut(r, "=")
		return tags[tag] == value
	})
}

// kind returns how the overlay is made and fed.
func (o OverlaySpec) kind() overlayKind { return overlayKinds[o.Kind] }

// part is the name of the overlay's host.
func (o OverlaySpec) part() string { return "stack-" + o.ID }

// stack makes the overlay with its broadcast tree and its routes, as one
// machine. What it broadcasts is numbered from first on.
func (o OverlaySpec) stack(self overlay.Peer, first uint64, dice func() *rand.Rand) (overlay.Machine, error) {
	base, err := o.kind().make(o, self, dice())
	if err != nil {
		return nil, err
	}
	cfg := plumtree.DefaultConfig(self)
	cfg.First = first
	cfg.Newcomer = first <= firstMachine // a later machine of the same life has missed something
	// What a tree that the overlay's changes broke does not bring is asked for
	// soon: a message too many costs less than a late one.
	cfg.Missing, cfg.Retry, cfg.LazyBusy = 150*time.Millisecond, 150*time.Millisecond, 200*time.Millisecond
	// The answer to a search comes back by its way, and news of members come from
	// everyone at once.
	cfg.Lift = func(subject string) bool { return subject == castSubject }
	tree, err := plumtree.New(cfg)
	if err != nil {
		return nil, err
	}
	finder := route.DefaultConfig(self)
	finder.First = first
	finder.MaxHops = cmp.Or(o.maxHops, finder.MaxHops)
	routes, err := route.NewFinder(finder)
	if err != nil {
		return nil, err
	}
	return overlay.NewStack(base, tree, routes), nil
}

// overlays checks the specs and fills their defaults; without any, there is one
// full mesh.
func overlays(specs []OverlaySpec, node string) ([]OverlaySpec, error) {
	if len(specs) == 0 {
		specs = []OverlaySpec{{}}
	}
	var list []OverlaySpec
	var errs []error
	for _, o := range specs {
		o = o.withDefaults()
		if err := o.Validate(node); err != nil {
			errs = append(errs, err)
		}
		if slices.ContainsFunc(list, func(x OverlaySpec) bool { return x.ID == o.ID }) {
			errs = append(errs, fmt.Errorf("peerservice: two overlays have the id %q; give each its own", o.ID))
		}
		list = append(list, o)
	}
	return list, errors.Join(errs...)
}
