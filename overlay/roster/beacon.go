package roster

import (
	"github.com/maquis-go/maquis/overlay"
)

// A cut that is long enough for links to break, and too short for anybody to be
// declared down, can leave partial views in halves that miss nobody: the rosters
// agree, and each node has as many neighbors as it wants. So the live member of
// the least name says over the tree, now and then, that it is there. Who has not
// heard that for long calls it, and the overlays join over that call, as the
// halves of a long partition do (see Met).

// beaconLost is after how many times Merge without its beacon a member is called.
const beaconLost = 3

// beacon is what was heard of the live member of the least name.
type beacon struct {
	of     overlay.Peer
	heard  overlay.Time
	missed int // looks in a row at which it had not been heard for long
}

// onBeacon gives the beacon, or looks whether it comes. Of those who miss it some
// call, and twice as many each time: all of them at once would be too many where
// half of a large cluster is cut off, and one of them now and then too few where
// two nodes are.
func (m *Machine) onBeacon(out *overlay.Effects) {
	out.SetTimer(overlay.Timer{Kind: timerBeacon}, m.jitter(m.cfg.Merge))
	if !m.joined || !m.visible || m.leaving || m.taken.Name != "" {
		return
	}
	first := m.first()
	if first == nil {
		m.beacon = beacon{}
		m.spread(m.ownNews(), overlay.Peer{}, out)
		return
	}
	if !m.beacon.of.Same(first.rec.Peer) || first.status != StatusAlive {
		m.beacon = beacon{of: first.rec.Peer, heard: m.now}
	}
	if m.now.Sub(m.beacon.heard) < beaconLost*m.cfg.Merge {
		m.beacon.missed = 0
		return
	}
	m.beacon.missed++
	alive := len(m.table.order) - m.table.tombs
	if m.cfg.Rand.IntN(alive) >= 2<<min(m.beacon.missed, 20) {
		return
	}
	to := first
	if e := m.table.order[m.cfg.Rand.IntN(len(m.table.order))]; m.beacon.missed%2 == 0 && e.status == StatusAlive && e.known() && !e.neighbor {
		to = e // perhaps nobody here can reach the first
	}
	addr := to.rec.Peer.Addr
	if m.contacts[addr] == nil {
		m.contacts[addr] = &contact{}
	}
	m.call(addr, out)
}

// first is the live member of the least name; nil if that is this node.
func (m *Machine) first() *entry {
	for _, e := range m.table.order {
		switch {
		case e.rec.Peer.Name > m.self.Peer.Name:
			return nil
		case e.status < StatusDown && e.known():
			return e
		}
	}
	return nil
}

// lit takes what a member told over the tree as its beacon.
func (m *Machine) lit(by overlay.Peer) {
	if m.beacon.of.Same(by) {
		m.beacon.heard = m.now
	}
}
