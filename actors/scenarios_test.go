package actors_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	maquis "github.com/maquis-go/maquis/actors"
	"github.com/maquis-go/maquis/actors/actorstest"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// named starts n nodes that know nothing but a source, which names so many addresses:
// theirs, and behind them those of nobody.
func named(c *actorstest.Cluster, n, candidates int, opts ...maquis.Option) (all []*actorstest.Node) {
	var s discovery.Static
	for i := range candidates {
		s.Addrs = append(s.Addrs, fmt.Sprint("127.0.0.1:", 7000+i))
	}
	for i := range n {
		own := []maquis.Option{maquis.WithListen(s.Addrs[i]), maquis.WithDiscovery(s)}
		all = append(all, c.Start(fmt.Sprint("n", i), nil, append(own, opts...)...))
	}
	return all
}

// On partial views, a thousand candidates, most of them nobody, lead to one cluster
// of few neighbors each, by a bounded number of dials.
func TestThousandCandidatesOnPartialViews(t *testing.T) {
	const nodes = 10
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		start := time.Now()
		all := named(c, nodes, 1000, maquis.WithOverlays(maquis.OverlaySpec{Kind: maquis.HyParView, Active: 3, Passive: 6}), maquis.WithExpectedMembers(nodes))
		c.Until(10*time.Minute, func() error {
			for _, n := range all {
				if list := n.NodeList(); len(list) != nodes {
					return fmt.Errorf("%s knows %v\n%v", n.Name(), list, n.Discovery().Counts)
				}
			}
			return nil
		})
		took := time.Since(start)
		t.Logf("one cluster after %v", took)
		dialed := func(n *actorstest.Node) int { return int(n.Discovery().Counts.Dialed) }
		var before []int
		for _, n := range all {
			require.LessOrEqual(t, dialed(n), int(took/(75*time.Millisecond))+4, "ten in a second while alone")
			before = append(before, dialed(n))
		}
		c.Pass(3 * time.Minute)
		for i, n := range all {
			require.InDelta(t, 18, dialed(n)-before[i], 7, "one about every ten seconds")
			require.LessOrEqual(t, n.Health().Neighbors, 3, "who is found is no neighbor by that")
		}
	}, actorstest.WithSeeds(0))
}

// A node that has left and runs on is called by those whose source names it still,
// and is not drawn in again.
func TestDrainedIsNotDrawnIn(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		all := named(c, 3, 3)
		c.Settle()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, all[2].Leave(ctx))
		left := func() error {
			if list := all[0].NodeList(); !slices.Equal(list, []string{"n0", "n1"}) {
				return fmt.Errorf("members are %v", list)
			}
			return nil
		}
		c.Until(10*time.Second, left)
		for range 60 {
			c.Pass(time.Minute)
			require.NoError(t, left())
		}
	}, actorstest.WithSeeds(0))
}

// A seed that is taken out of the file is not called any more, by the roster and by
// the overlay; one that is put in is.
func TestSeedsOfAReload(t *testing.T) {
	for _, kind := range []string{maquis.FullMesh, maquis.HyParView, maquis.Scamp} {
		t.Run(kind, func(t *testing.T) {
			actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
				overlays := maquis.WithOverlays(maquis.OverlaySpec{Kind: kind})
				x := c.Start("x", nil, maquis.WithListen("127.0.0.1:7001"), maquis.WithCluster("other"), overlays)
				b := c.Start("b", nil, maquis.WithListen("127.0.0.1:7002"), overlays)
				path := filepath.Join(t.TempDir(), "maquis.yaml")
				seeds := func(list string) { writeFile(t, path, "profile: test\njoin: {seeds: ["+list+"]}\n") }
				seeds("\"127.0.0.1:7001\"")
				a := c.Start("a", nil, maquis.WithConfigFile(path), overlays)
				asked := func() uint64 { return x.Stats()["handshake_wrong_cluster"] }
				c.Until(5*time.Minute, func() error {
					if n := asked(); n < 10 {
						return fmt.Errorf("%d dials", n)
					}
					return nil
				})
				seeds("")
				restart, err := a.Reload(t.Context())
				require.NoError(t, err)
				require.Empty(t, restart)
				c.Pass(10 * time.Second) // a call that was under way
				before := asked()
				c.Pass(10 * time.Minute)
				require.Equal(t, before, asked())
				require.Equal(t, []string{"a"}, a.NodeList())
				seeds("\"127.0.0.1:7002\"")
				_, err = a.Reload(t.Context())
				require.NoError(t, err)
				c.Until(time.Minute, func() error {
					if list := b.NodeList(); len(list) != 2 {
						return fmt.Errorf("members %v", list)
					}
					return nil
				})
			}, actorstest.WithSeeds(0))
		})
	}
}

// A place is kept for nodes with a tag: each node comes to be a neighbor of the hub,
// and stays one.
func TestReservedForATag(t *testing.T) {
	actorstest.Run(t, func(t *testing.T, c *actorstest.Cluster) {
		spec := maquis.OverlaySpec{Kind: maquis.HyParView, Active: 3, Passive: 12, Reserve: []string{"role=hub"}}
		var all []*actorstest.Node
		for i := range 10 {
			all = append(all, c.Start(fmt.Sprint("n", i), nil, maquis.WithOverlays(spec)))
		}
		c.Settle()
		for _, n := range all {
			require.LessOrEqual(t, n.Health().Neighbors, 2, "the third place is kept")
		}
		hub := c.Start("hub", nil, maquis.WithTags(map[string]string{"role": "hub"}), maquis.WithOverlays(maquis.OverlaySpec{Kind: maquis.HyParView, Active: 10, Passive: 12}))
		c.Until(10*time.Minute, func() error {
			if n := hub.Health().Neighbors; n < len(all) {
				return fmt.Errorf("the hub has %d neighbors", n)
			}
			return nil
		})
		for range 10 {
			c.Pass(30 * time.Second)
			require.Equal(t, len(all), hub.Health().Neighbors)
		}
	})
}
