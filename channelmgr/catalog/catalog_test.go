package catalog

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
)

func entry(name string, lanes uint32) *messages.ChannelEntry {
	return &messages.ChannelEntry{Name: name, Lanes: lanes}
}

// The last version stands, and a removal is a version.
func TestLastVersionStands(t *testing.T) {
	a, b := New(entry("data", 1)), New(entry("data", 1))
	require.Equal(t, a.Hash(), b.Hash())
	first, err := a.Set(entry("bulk", 2), "a")
	require.NoError(t, err)
	second, err := a.Set(entry("bulk", 4), "a")
	require.NoError(t, err)
	news, drift, err := b.Merge([]*messages.ChannelEntry{second, first})
	require.NoError(t, err)
	require.Empty(t, drift)
	require.Len(t, news, 1)
	require.EqualValues(t, 4, b.Get("bulk").GetLanes())
	gone, err := b.Set(&messages.ChannelEntry{Name: "bulk", Removed: true}, "b")
	require.NoError(t, err)
	news, _, err = a.Merge([]*messages.ChannelEntry{gone})
	require.NoError(t, err)
	require.Len(t, news, 1)
	require.True(t, a.Get("bulk").GetRemoved())
	news, _, err = a.Merge([]*messages.ChannelEntry{second})
	require.NoError(t, err)
	require.Empty(t, news, "what is old undoes nothing")
	require.Equal(t, a.Hash(), b.Hash())
	require.Empty(t, a.Differing(b.Entries()))
}

// Configurations are compared, not taken over, and yield to what was agreed.
func TestDrift(t *testing.T) {
	a, b := New(entry("bulk", 2), entry("only a", 1)), New(entry("bulk", 4))
	news, drift, err := b.Merge(a.Entries())
	require.NoError(t, err)
	require.Empty(t, news)
	require.Len(t, drift, 1)
	require.Equal(t, "bulk", drift[0].Channel)
	require.Nil(t, b.Get("only a"))
	e, err := a.Set(entry("bulk", 8), "a")
	require.NoError(t, err)
	_, _, err = b.Merge([]*messages.ChannelEntry{e})
	require.NoError(t, err)
	_, drift, _ = b.Merge(a.Entries())
	require.Empty(t, drift)

	x, y := entry("t", 1), entry("t", 1)
	x.Types, y.Types = []string{"p.A", "p.B"}, []string{"p.B", "p.A"}
	_, drift, _ = New(x).Merge([]*messages.ChannelEntry{y})
	require.Empty(t, drift, "the order of types says nothing")
}

// What a peer says beyond the bounds is left out with a reason.
func TestBounds(t *testing.T) {
	c := New()
	big := entry("big", 1)
	for i := range 1000 {
		big.Types = append(big.Types, fmt.Sprintf("some.package.Type%d", i))
	}
	for want, e := range map[string]*messages.ChannelEntry{
		"use fewer types": big, "without a name": {Version: 1}, "far beyond": {Name: "x", Version: 1 << 50},
	} {
		e.Version = max(e.Version, 1)
		news, _, err := c.Merge([]*messages.ChannelEntry{e})
		require.ErrorContains(t, err, want)
		require.Empty(t, news)
	}
	for i := range MaxEntries {
		_, err := c.Set(entry(fmt.Sprint(i), 1), "a")
		require.NoError(t, err)
	}
	_, err := c.Set(entry("one more", 1), "a")
	require.ErrorContains(t, err, "one too many")
	_, err = c.Set(entry("7", 2), "a")
	require.NoError(t, err, "a known name is no new one")
}

// Whatever the order in which nodes hear of each other's changes, they agree in
// the end.
func TestConverges(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		nodes := make([]*Catalog, 4)
		for i := range nodes {
			nodes[i] = New(entry("data", 1))
		}
		for range 60 {
			i, j := rng.IntN(4), rng.IntN(4)
			if rng.IntN(3) == 0 {
				e := entry(fmt.Sprint("c", rng.IntN(5)), uint32(rng.IntN(16)))
				e.Removed = rng.IntN(4) == 0
				_, err := nodes[i].Set(e, fmt.Sprint("n", i))
				require.NoError(t, err)
				continue
			}
			list := nodes[j].Entries()
			rng.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
			for k := range list { // as it comes off the wire
				list[k] = proto.Clone(list[k]).(*messages.ChannelEntry)
			}
			_, _, err := nodes[i].Merge(list[:rng.IntN(len(list)+1)])
			require.NoError(t, err)
		}
		for range 2 {
			for i := range nodes {
				for j := range nodes {
					_, _, err := nodes[i].Merge(nodes[j].Entries())
					require.NoError(t, err)
				}
			}
		}
		for i := range nodes {
			require.Equal(t, nodes[0].Hash(), nodes[i].Hash(), "seed %d", seed)
		}
	}
}

// No bytes of a peer break the rules of a catalog.
func FuzzMerge(f *testing.F) {
	e := entry("bulk", 2)
	e.Version, e.Origin = 3, "a"
	b, _ := proto.Marshal(&messages.ChannelNews{Entries: []*messages.ChannelEntry{e}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &messages.ChannelNews{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		c := New(entry("data", 1))
		news, _, _ := c.Merge(m.GetEntries())
		for _, e := range news {
			if e.GetVersion() == 0 || c.Get(e.GetName()) == nil {
				t.Fatalf("%v was taken over", e)
			}
		}
		again, _, _ := c.Merge(m.GetEntries())
		if len(again) > 0 {
			t.Fatalf("%v is news twice", again)
		}
	})
}
