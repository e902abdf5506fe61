package route

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/overlay"
)

func peer(name string) overlay.Peer {
	return overlay.Peer{Name: name, Incarnation: 1, Addr: name + ":1"}
}

func relayed(to, via string, generation uint64, hops int) Route {
	return Route{To: peer(to), Generation: generation, Via: peer(via), Hops: hops}
}

func TestLookup(t *testing.T) {
	s := New([]Route{Direct(peer("b"), 3), relayed("c", "b", 1, 2)})
	require.Equal(t, []string{"b", "c"}, s.Names())
	b, ok := s.Lookup("b")
	require.True(t, ok && b.IsDirect())
	require.Equal(t, uint64(3), b.Generation)
	c, ok := s.Lookup("c")
	require.True(t, ok)
	require.False(t, c.IsDirect())
	require.Equal(t, peer("b"), c.Via)
	_, ok = s.Lookup("d")
	require.False(t, ok)
}

// A newer generation wins over fewer hops, then fewer hops win.
func TestBetterRouteStays(t *testing.T) {
	for _, order := range [][]Route{
		{relayed("x", "b", 2, 5), relayed("x", "c", 2, 2), Direct(peer("x"), 1)},
		{Direct(peer("x"), 1), relayed("x", "c", 2, 2), relayed("x", "b", 2, 5)},
	} {
		r, _ := New(order).Lookup("x")
		require.Equal(t, relayed("x", "c", 2, 2), r)
	}
}

func TestSenselessRoutesAreLeftOut(t *testing.T) {
	s := New([]Route{{}, {To: peer("a")}, {To: peer("a"), Via: peer("b")}, {Via: peer("b"), Hops: 1}})
	require.Empty(t, s.Names())
}

func TestNoSnapshotHasNoRoutes(t *testing.T) {
	var s *Snapshot
	_, ok := s.Lookup("a")
	require.False(t, ok)
	require.Empty(t, s.Names())
}
