// Package static is the overlay of a fixed list: a node's neighbors are the
// members that its configuration names, no others. Links from others are
// refused; a lost one is dialed again for ever. Both ends of a link are to name
// each other.
//
// The rule is a fullmesh with a choice; see that package for what it heeds and
// notifies.
package static

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/fullmesh"
)

// Config of a static overlay. It must not be changed after New.
type Config struct {
	Self overlay.Peer
	Rand *rand.Rand
	// Neighbors are the names of the neighbors.
	Neighbors []string
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	for i, n := range c.Neighbors {
		switch {
		case n == "":
			errs = append(errs, fmt.Errorf("static: Config.Neighbors[%d] is empty; write the node's name", i))
		case n == c.Self.Name:
			errs = append(errs, fmt.Errorf("static: Config.Neighbors names %q, this node itself; leave it out", n))
		case slices.Contains(c.Neighbors[:i], n):
			errs = append(errs, fmt.Errorf("static: Config.Neighbors names %q twice", n))
		}
	}
	if len(c.Neighbors) == 0 {
		errs = append(errs, errors.New("static: Config.Neighbors is empty; name at least one neighbor"))
	}
	return errors.Join(errs...)
}

// Machine is the overlay of one node.
type Machine struct{ *fullmesh.Machine }

// New makes the overlay of a node without neighbors.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	mesh := fullmesh.DefaultConfig(cfg.Self, cfg.Rand)
	mesh.Take = func(p overlay.Peer) bool { return slices.Contains(cfg.Neighbors, p.Name) }
	m, err := fullmesh.New(mesh)
	if err != nil {
		return nil, fmt.Errorf("static: %w", err)
	}
	return &Machine{m}, nil
}
