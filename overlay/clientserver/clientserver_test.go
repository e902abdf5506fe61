package clientserver_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/clientserver"
	"github.com/maquis-go/maquis/overlay/overlaytest"
	"github.com/maquis-go/maquis/overlay/sim"
)

func TestScripts(t *testing.T) {
	overlaytest.Stories(t, "testdata/*.txt", overlaytest.Config{Seed: 1}, func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
		m, err := clientserver.New(clientserver.Config{Self: self, Rand: rng, Servers: []string{"s", "t"}})
		require.NoError(t, err)
		return m
	})
}

// world has two servers and four clients, who all know all; up is who is whose
// neighbor, and dialed who dialed whom.
func world(t *testing.T) (w *sim.World, up map[[2]int]bool) {
	t.Helper()
	up = make(map[[2]int]bool)
	w, err := sim.New(sim.Config{
		Seed: 1, Link: sim.Model{Latency: time.Millisecond}, Check: true,
		Factory: func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
			m, err := clientserver.New(clientserver.Config{Self: self, Rand: rng, Servers: []string{"n0", "n1"}})
			require.NoError(t, err)
			require.Equal(t, slices.Contains([]string{"n0", "n1"}, self.Name), m.Server())
			return m
		},
		Notify: func(w *sim.World, node int, notice any) {
			switch n := notice.(type) {
			case overlay.NeighborUp:
				i, _ := w.Index(n.Peer.Name)
				up[[2]int{node, i}] = true
			case overlay.NeighborDown:
				i, _ := w.Index(n.Peer.Name)
				delete(up, [2]int{node, i})
			}
		},
	})
	require.NoError(t, err)
	for range 6 {
		w.Add()
	}
	for i := range 6 {
		for j := range 6 {
			w.Feed(i, overlay.MemberUp{Peer: w.Peer(j)})
		}
	}
	w.Run(time.Second)
	return w, up
}

func star(servers, clients []int) map[[2]int]bool {
	want := make(map[[2]int]bool)
	for _, s := range servers {
		for _, o := range append(slices.Clone(servers), clients...) {
			if s != o {
				want[[2]int{s, o}], want[[2]int{o, s}] = true, true
			}
		}
	}
	return want
}

func TestServersAreNeighborsOfAllAndClientsOfServers(t *testing.T) {
	_, up := world(t)
	require.Equal(t, star([]int{0, 1}, []int{2, 3, 4, 5}), up)
}

// A client that wants a link to a client does not get one.
func TestAClientRefusesAClient(t *testing.T) {
	w, up := world(t)
	var out overlay.Effects
	w.Machine(2).Step(0, overlay.LinkUp{Peer: w.Peer(3), Inbound: true}, &out)
	require.Equal(t, 1, out.Len())
	require.Equal(t, overlay.Effect{Kind: overlay.EffectDisconnect, Peer: w.Peer(3), Reason: messages.ReasonClosed}, out.All()[0])
	require.False(t, up[[2]int{2, 3}])
}

// A server that crashed and is back is dialed again by its clients; it dials
// none of them.
func TestAServerComesBack(t *testing.T) {
	w, up := world(t)
	w.Crash(0)
	maps.DeleteFunc(up, func(edge [2]int, _ bool) bool { return edge[0] == 0 }) // it says nothing any more
	w.Run(time.Second)
	require.Equal(t, star([]int{1}, []int{2, 3, 4, 5}), up)
	w.Restart(0)
	for i := 1; i < 6; i++ {
		w.Feed(i, overlay.MemberUp{Peer: w.Peer(0)})
		w.Feed(0, overlay.MemberUp{Peer: w.Peer(i)})
	}
	require.True(t, w.Until(10*time.Second, 100*time.Millisecond, func() bool { return len(up) == len(star([]int{0, 1}, []int{2, 3, 4, 5})) }))
}

func TestConfigNamesAllThatIsWrong(t *testing.T) {
	_, err := clientserver.New(clientserver.Config{})
	require.ErrorContains(t, err, "Servers is empty")
	_, err = clientserver.New(clientserver.Config{Servers: []string{"a", "", "a"}})
	require.ErrorContains(t, err, "Servers[1] is empty")
	require.ErrorContains(t, err, `names "a" twice`)
	_, err = clientserver.New(clientserver.Config{Servers: []string{"a"}})
	require.ErrorContains(t, err, "needs a name")
}
