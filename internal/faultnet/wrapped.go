//go:build linux

package faultnet

import "maps"

// Wrapped makes faults in the processes, around their TCP connections.
type Wrapped struct{}

// Name implements Bed.
func (Wrapped) Name() string { return "wrapper" }

// Wrapped implements Bed.
func (Wrapped) Wrapped() bool { return true }

// Set implements Bed. A process that stands still does it when it goes on; one
// that ends meanwhile needs nothing.
func (Wrapped) Set(c *Cluster, ways []Way) error {
	c.mu.Lock()
	places := maps.Clone(c.places)
	c.mu.Unlock()
	for _, p := range c.Live() {
		if err := p.Tell(Order{Do: "faults", Places: places, Ways: ways}); err != nil && !p.over() {
			return err
		}
	}
	return nil
}

// Reset implements Bed. Each process resets what it has dialed.
func (Wrapped) Reset(c *Cluster, a, b string) error {
	for _, p := range c.Live() {
		other := map[string]string{a: b, b: a}[p.Name]
		if other == "" {
			continue
		}
		if err := p.Tell(Order{Do: "reset", Node: other}); err != nil && !p.over() {
			return err
		}
	}
	return nil
}
