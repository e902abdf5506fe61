package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/clientserver"
	"github.com/maquis-go/maquis/overlay/fullmesh"
	"github.com/maquis-go/maquis/overlay/hyparview"
	"github.com/maquis-go/maquis/overlay/plumtree"
	"github.com/maquis-go/maquis/overlay/scamp"
	"github.com/maquis-go/maquis/overlay/sim"
	"github.com/maquis-go/maquis/overlay/sim/baseline"
	"github.com/maquis-go/maquis/overlay/static"
	"github.com/maquis-go/maquis/overlay/xbot"
)

// maker makes a machine of one node.
type maker func(self overlay.Peer, rng *rand.Rand) (overlay.Machine, error)

// kind is an overlay that can be simulated.
type kind struct {
	name string
	make func(s *Scenario) maker
	// members: the overlay is a rule over the list of members, which the
	// simulation gives it, as the roster does in a node.
	members bool
	// gossips: it broadcasts itself, without a tree. Only for comparison.
	gossips bool
	// anyone: nodes join through any node that lives, not through the first.
	anyone bool
}

var kinds = []kind{
	{name: "hyparview", make: func(s *Scenario) maker {
		return func(self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
			return hyparview.New(s.hyparview(self, rng))
		}
	}},
	{name: "xbot", make: func(s *Scenario) maker {
		return func(self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
			c := xbot.DefaultConfig(self, rng)
			c.HyParView = s.hyparview(self, rng)
			return xbot.New(c)
		}
	}},
	{name: "scamp", make: func(s *Scenario) maker {
		return func(self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
			return scamp.New(s.scamp(self, rng))
		}
	}},
	{name: "clientserver", members: true, make: func(s *Scenario) maker {
		servers := []string{"n0", "n1", "n2"} // of so many as there are
		return func(self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
			return clientserver.New(clientserver.Config{Self: self, Rand: rng, Servers: servers[:min(len(servers), s.Nodes)]})
		}
	}},
	{name: "static", members: true, make: func(s *Scenario) maker {
		return func(self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
			return static.New(static.Config{Self: self, Rand: rng, Neighbors: s.chords(self.Name)})
		}
	}},
	{name: "cyclon", gossips: true, make: cyclon(false)},
	{name: "cyclon-acked", gossips: true, make: cyclon(true)},
	{name: "scamp-2001", gossips: true, anyone: true, make: func(*Scenario) maker {
		return func(self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
			return baseline.NewScamp(self, rng, copies, fanout), nil
		}
	}},
	{name: "fullmesh", members: true, make: func(*Scenario) maker {
		return func(self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
			return fullmesh.New(fullmesh.DefaultConfig(self, rng))
		}
	}},
}

// Of gossip and of SCAMP (its c) in the HyParView paper.
const (
	fanout = 4
	copies = 4
)

func cyclon(acked bool) func(*Scenario) maker {
	return func(*Scenario) maker {
		return func(self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
			return baseline.NewCyclon(self, rng, Cycle, fanout, acked), nil
		}
	}
}

// hyparview is the configuration with what the scenario says of views.
func (s *Scenario) hyparview(self overlay.Peer, rng *rand.Rand) hyparview.Config {
	c := hyparview.DefaultConfig(self, rng)
	if s.Active > 0 {
		c.Active = s.Active
	}
	if s.Passive > 0 {
		c.Passive = s.Passive
	}
	return c
}

// scamp is the configuration with the c of the HyParView paper.
func (s *Scenario) scamp(self overlay.Peer, rng *rand.Rand) scamp.Config {
	c := scamp.DefaultConfig(self, rng)
	c.C = copies
	return c
}

// chords are the neighbors of a node in a static overlay: on a ring, the next on
// either side, and those at a quarter of the ring.
func (s *Scenario) chords(name string) []string {
	i, err := strconv.Atoi(strings.TrimPrefix(name, "n"))
	if err != nil {
		return nil
	}
	var list []string
	for _, d := range []int{1, s.Nodes - 1, s.Nodes / 4, s.Nodes - s.Nodes/4} {
		if n := fmt.Sprint("n", (i+d)%s.Nodes); d%s.Nodes != 0 && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// Overlays are the names of the overlays that can be simulated.
func Overlays() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// tree is a way to broadcast.
type tree struct {
	name string
	make func(self overlay.Peer, rng *rand.Rand, base overlay.Machine) (overlay.Layer, error)
}

var trees = []tree{
	{name: "plumtree", make: func(self overlay.Peer, _ *rand.Rand, _ overlay.Machine) (overlay.Layer, error) {
		c := plumtree.DefaultConfig(self)
		c.LazyTick = 0 // announcements are counted one by one, as in the paper
		// What a simulation of thousands has no memory for.
		c.KeepMessages, c.Origins = 16, 32
		return plumtree.New(c)
	}},
	{name: "flood", make: func(self overlay.Peer, _ *rand.Rand, _ overlay.Machine) (overlay.Layer, error) {
		return baseline.NewFlood(self), nil
	}},
	{name: "gossip", make: func(self overlay.Peer, rng *rand.Rand, base overlay.Machine) (overlay.Layer, error) {
		// To some of a partial view, as SCAMP's.
		f := baseline.NewFlood(self)
		if v, ok := base.(interface{ View() []overlay.Peer }); ok {
			f.Choose = func(except overlay.Peer) []overlay.Peer {
				var all overlay.View
				for _, p := range v.View() {
					all.Add(p)
				}
				return all.Sample(nil, rng, fanout, func(p overlay.Peer) bool { return !p.Same(except) })
			}
		}
		return f, nil
	}},
}

// Trees are the names of the ways to broadcast that can be simulated.
func Trees() []string {
	var names []string
	for _, t := range trees {
		names = append(names, t.name)
	}
	return names
}

// classify tells what a message is for.
func classify(m proto.Message) sim.Class {
	switch m.(type) {
	case *messages.BaseGossip, *messages.PlumGossip:
		return sim.Payload
	case *messages.PlumIHave, *messages.PlumGraft, *messages.PlumPrune:
		return sim.Control
	}
	return sim.Membership
}

// world makes the world of a scenario.
func (s *Scenario) world() (*sim.World, *kind, error) {
	k := slices.IndexFunc(kinds, func(k kind) bool { return k.name == s.Overlay })
	if k < 0 {
		return nil, nil, fmt.Errorf("scenario: there is no overlay %q; use one of %s", s.Overlay, strings.Join(Overlays(), ", "))
	}
	t := slices.IndexFunc(trees, func(t tree) bool { return t.name == s.Tree })
	if t < 0 {
		return nil, nil, fmt.Errorf("scenario: there is no tree %q; use one of %s", s.Tree, strings.Join(Trees(), ", "))
	}
	make := func(self overlay.Peer, rng *rand.Rand) (overlay.Machine, error) {
		base, err := kinds[k].make(s)(self, rng)
		if err != nil {
			return nil, err
		}
		if kinds[k].gossips {
			return base, nil
		}
		layer, err := trees[t].make(self, rng, base)
		if err != nil {
			return nil, err
		}
		return overlay.NewStack(base, layer), nil
	}
	// One is made before thousands are.
	if _, err := make(overlay.Peer{Name: "n0", Addr: "n0", Incarnation: 1}, rand.New(rand.NewPCG(1, 1))); err != nil {
		return nil, nil, err
	}
	w, err := sim.New(sim.Config{
		Seed: s.Seed, Link: s.model(), Detect: s.detection(), Silent: s.Silent.Std(), Classify: classify, Sizes: s.Sizes, Check: s.Check,
		Factory: func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
			m, err := make(self, rng)
			if err != nil {
				panic(err) // the one above could be made
			}
			return m
		},
	})
	return w, &kinds[k], err
}
