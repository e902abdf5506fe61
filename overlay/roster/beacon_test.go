package roster

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/overlay"
)

// partial is a machine over partial views with a tree, in a cluster with others.
func partial(t *testing.T, name string, others ...string) *one {
	t.Helper()
	var seed []Member
	for _, o := range others {
		seed = append(seed, memberOf(o, StatusAlive))
	}
	m, err := New(LAN(Config{Self: recordOf(peerOf(name)), Rand: rand.New(rand.NewPCG(1, 2)), Seed: seed, Partial: true, Tree: true}))
	require.NoError(t, err)
	o := &one{Machine: m, t: t}
	o.step(overlay.Start{})
	return o
}

// look fires the timer of the beacon some time later, and returns what is
// published and who is called.
func (o *one) look(beacons int) (published []overlay.Publish, called []string) {
	for range beacons {
		o.now = o.now.Add(LAN(Config{}).Merge)
	}
	o.notices = nil
	o.step(overlay.Fired{Timer: overlay.Timer{Kind: timerBeacon}})
	for _, n := range o.notices {
		if p, ok := n.(overlay.Publish); ok {
			published = append(published, p)
		}
	}
	for _, e := range o.out.All() {
		if e.Kind == overlay.EffectConnect {
			called = append(called, e.Peer.Addr)
		}
	}
	return published, called
}

// The live member of the least name gives the beacon; who misses it calls it.
func TestBeacon(t *testing.T) {
	a, b := partial(t, "a", "b", "c"), partial(t, "b", "a", "c")
	a.step(overlay.NeighborUp{Peer: b.self.Peer})
	b.step(overlay.NeighborUp{Peer: peerOf("c")})

	light, called := a.look(1)
	require.Empty(t, called)
	require.Len(t, light, 1)
	hear := func() {
		b.step(overlay.Delivered{From: peerOf("c"), ID: overlay.MessageID{Origin: "a", Incarnation: a.self.Peer.Incarnation}, Subject: Subject, Payload: light[0].Payload})
	}
	for range 5 { // it comes: nothing happens
		published, called := b.look(1)
		require.Empty(t, published)
		require.Empty(t, called)
		hear()
	}
	_, called = b.look(beaconLost - 1)
	require.Empty(t, called, "not missed for long")
	_, called = b.look(2)
	require.Equal(t, []string{"a:1"}, called)

	// It has been met, and is heard again.
	b.step(overlay.LinkUp{Peer: a.self.Peer, Generation: 1, Contact: "a:1"})
	require.Equal(t, 1, told[Met](b))
	hear()
	_, called = b.look(1)
	require.Empty(t, called)

	// After a pause of our own, and once the first is another, the wait begins anew.
	b.step(overlay.Resumed{})
	_, called = b.look(2 * beaconLost)
	require.Empty(t, called)
	b.hear("c", claim("a", StatusLeft, 0))
	published, called := b.look(2 * beaconLost)
	require.Empty(t, called)
	require.Len(t, published, 1, "now it is the first itself")
}
