// Package route finds ways to nodes to which there is no link, over relays.
//
// The package is pure. See docs/protocols/routes.md.
package route

import (
	"errors"
	"fmt"
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// Config of a Finder. It must not be changed after NewFinder. All values are
// our choice.
type Config struct {
	Self overlay.Peer
	// First is above which this node's numbers begin: beyond those of a
	// predecessor of the machine in the same life of the node.
	First uint64
	// Wait is how long a search may take before it is repeated, doubling: 1 s.
	Wait time.Duration
	// Gather is how long a search waits for others that leave with it, after one
	// has left, doubling while there are more, up to 32 times: 20 ms.
	Gather time.Duration
	// Tries is how often a route is searched before messages for it are
	// undeliverable: 3.
	Tries int
	// Queue bounds the messages that wait for routes, of one target and in all:
	// 64 and 1024. What is beyond is undeliverable at once.
	Queue, QueueAll int
	// Routes bounds the routes to nodes that are no neighbors; the least
	// recently used is forgotten: 4096.
	Routes int
	// Keep is how long a route that is not used is kept: 5 min.
	Keep time.Duration
	// MaxHops bounds the links that a message crosses: 64.
	MaxHops int
}

// DefaultConfig returns a Config with the defaults for a node.
func DefaultConfig(self overlay.Peer) Config {
	return Config{Self: self, Wait: time.Second, Gather: 20 * time.Millisecond, Tries: 3, Queue: 64, QueueAll: 1024, Routes: 4096, Keep: 5 * time.Minute, MaxHops: 64}
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.Self.Name == "" || c.Self.Incarnation == 0 {
		errs = append(errs, errors.New("route: Config.Self needs a name and an incarnation"))
	}
	if c.Wait <= 0 || c.Gather <= 0 || c.Keep <= 0 {
		errs = append(errs, fmt.Errorf("route: Config.Wait, Gather and Keep are %v, %v and %v; use positive times", c.Wait, c.Gather, c.Keep))
	}
	if c.Tries < 1 || c.Queue < 1 || c.QueueAll < c.Queue || c.Routes < 1 || c.MaxHops < 2 || c.MaxHops > 255 {
		errs = append(errs, fmt.Errorf("route: Config.Tries, Queue, QueueAll, Routes and MaxHops are %d, %d, %d, %d, %d; use at least 1, QueueAll not below Queue, MaxHops 2 to 255",
			c.Tries, c.Queue, c.QueueAll, c.Routes, c.MaxHops))
	}
	return errors.Join(errs...)
}
