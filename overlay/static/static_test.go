package static_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/overlaytest"
	"github.com/maquis-go/maquis/overlay/static"
)

// A line of four: a b c d.
func TestScripts(t *testing.T) {
	lines := map[string][]string{"a": {"b"}, "b": {"a", "c"}, "c": {"b", "d"}, "d": {"c"}}
	overlaytest.Stories(t, "testdata/*.txt", overlaytest.Config{Seed: 1}, func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
		m, err := static.New(static.Config{Self: self, Rand: rng, Neighbors: lines[self.Name]})
		require.NoError(t, err)
		return m
	})
}

func node(name string) overlay.Peer {
	return overlay.Peer{Name: name, Incarnation: 1, Addr: name + ":1"}
}

// Only those on the list are dialed and kept, whoever is a member.
func TestOnlyTheListed(t *testing.T) {
	m, err := static.New(static.Config{Self: node("a"), Rand: rand.New(rand.NewPCG(1, 1)), Neighbors: []string{"b", "c"}})
	require.NoError(t, err)
	var out overlay.Effects
	for _, n := range []string{"b", "c", "d", "a"} {
		m.Step(0, overlay.MemberUp{Peer: node(n)}, &out)
	}
	var dialed []string
	for _, e := range out.All() {
		if e.Kind == overlay.EffectConnect {
			dialed = append(dialed, e.Peer.Name)
		}
	}
	require.Equal(t, []string{"b", "c"}, dialed)
	out.Reset()
	m.Step(0, overlay.LinkUp{Peer: node("d"), Inbound: true}, &out)
	require.Equal(t, []overlay.Effect{{Kind: overlay.EffectDisconnect, Peer: node("d"), Reason: messages.ReasonClosed}}, out.All())
	out.Reset()
	m.Step(0, overlay.LinkUp{Peer: node("b"), Inbound: true}, &out)
	require.Equal(t, overlay.NeighborUp{Peer: node("b")}, out.All()[len(out.All())-1].Notice)
	require.NoError(t, m.Check())
}

func TestConfigNamesAllThatIsWrong(t *testing.T) {
	_, err := static.New(static.Config{Self: node("a"), Neighbors: []string{"", "a", "b", "b"}})
	require.ErrorContains(t, err, "Neighbors[0] is empty")
	require.ErrorContains(t, err, `"a", this node itself`)
	require.ErrorContains(t, err, `"b" twice`)
	_, err = static.New(static.Config{Self: node("a")})
	require.ErrorContains(t, err, "Neighbors is empty")
}
