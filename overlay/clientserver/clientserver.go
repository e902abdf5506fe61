// Package clientserver is the overlay of a star with several centers: servers
// are neighbors of all, clients are neighbors of the servers. Clients dial and
// servers await them, so a client needs no address that others can reach. A
// link between two clients is refused. Messages between clients are relayed by
// the routes above, which lie on the servers only.
//
// The rule is a fullmesh with a choice; see that package for what it heeds and
// notifies.
package clientserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/fullmesh"
)

// Config of a client-server overlay. It must not be changed after New.
type Config struct {
	Self overlay.Peer
	Rand *rand.Rand
	// Servers are the names of the servers. A node in it is a server, any other
	// is a client.
	Servers []string
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	if len(c.Servers) == 0 {
		errs = append(errs, errors.New("clientserver: Config.Servers is empty; name at least one server"))
	}
	for i, s := range c.Servers {
		if s == "" {
			errs = append(errs, fmt.Errorf("clientserver: Config.Servers[%d] is empty; write the node's name", i))
		}
		if slices.Contains(c.Servers[:i], s) {
			errs = append(errs, fmt.Errorf("clientserver: Config.Servers names %q twice", s))
		}
	}
	return errors.Join(errs...)
}

// Machine is the overlay of one node.
type Machine struct {
	*fullmesh.Machine
	server bool
}

// New makes the overlay of a node without neighbors.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	server := func(p overlay.Peer) bool { return slices.Contains(cfg.Servers, p.Name) }
	mesh := fullmesh.DefaultConfig(cfg.Self, cfg.Rand)
	mesh.Dial = server
	if !server(cfg.Self) {
		mesh.Take = server
	}
	m, err := fullmesh.New(mesh)
	if err != nil {
		return nil, fmt.Errorf("clientserver: %w", err)
	}
	return &Machine{Machine: m, server: server(cfg.Self)}, nil
}

// Server reports whether this node is one.
func (m *Machine) Server() bool { return m.server }

// String is the role and the links.
func (m *Machine) String() string {
	if m.server {
		return "server of " + m.Machine.String()
	}
	return "client of " + m.Machine.String()
}
