package plumtree_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/plumtree"
)

// What is kept, remembered and granted is bounded.
func TestBounds(t *testing.T) {
	b := newBench(t, func(c *plumtree.Config) { c.KeepMessages, c.KeepBytes, c.Origins, c.Trees = 8, 100, 4, 3 }, "a", "b")
	for i := range 50 {
		b.hear("a", gossip(uint64(i+1), func(g *messages.PlumGossip) {
			g.Origin, g.Incarnation, g.Tree, g.Payload = fmt.Sprint("o", i%9), uint64(200+i%9), uint64(200+i%9), make([]byte, 30)
		}))
	}
	require.Contains(t, b.m.String(), "3 kept")
	rejected := 0
	for i := range 10 {
		var ids []*messages.PlumID
		for j := range 200 {
			ids = append(ids, &messages.PlumID{Origin: "z", Incarnation: 'z', Seq: uint64(i*200 + j + 1)})
		}
		if has(b.hear("b", &messages.PlumIHave{Messages: ids}), "reject b limit") {
			rejected++
		}
	}
	require.Equal(t, 5, rejected, "1024 messages may be missing")
	long := strings.Repeat("x", 300)
	for _, m := range []proto.Message{
		gossip(1, func(g *messages.PlumGossip) { g.Origin = long }),
		gossip(1, func(g *messages.PlumGossip) { g.Origin = "" }),
		gossip(0, nil),
		gossip(1, func(g *messages.PlumGossip) { g.Hops = 1 << 30 }),
		gossip(1, func(g *messages.PlumGossip) { g.Spread = 100 }),
		gossip(1, func(g *messages.PlumGossip) { g.Root = &messages.NodeRef{Incarnation: 'o'} }),
		gossip(1, func(g *messages.PlumGossip) { g.Root = overlay.Ref(node("a")) }),
		gossip(1, func(g *messages.PlumGossip) { g.Subject = long }),
		gossip(1, func(g *messages.PlumGossip) { g.Payload = make([]byte, 64<<10) }),
		&messages.PlumIHave{Messages: []*messages.PlumID{{Origin: long, Incarnation: 1, Seq: 1}}},
		&messages.PlumGraft{Messages: slices.Repeat([]*messages.PlumID{{Origin: "o", Incarnation: 1, Seq: 1}}, 300)},
	} {
		require.True(t, has(b.hear("b", m), "reject b malformed"), "%v", m)
	}
	require.True(t, has(b.feed(overlay.Publish{Payload: make([]byte, 64<<10)}), "reject m too_large"))
}

// What a neighbor announces and does not send takes its own part of the table,
// not that of others.
func TestMissingIsBoundedByNeighbor(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	announce := func(from string, first uint64) []string {
		var ids []*messages.PlumID
		for i := range uint64(128) {
			ids = append(ids, &messages.PlumID{Origin: "z", Incarnation: 'z', Seq: first + i})
		}
		return b.hear(from, &messages.PlumIHave{Messages: ids})
	}
	for i := range uint64(8) {
		require.False(t, has(announce("b", 1+i*128), "reject"), "%d", i)
	}
	require.True(t, has(announce("b", 2000), "reject b limit"))
	require.False(t, has(b.hear("a", ihave(1, 2)), "reject"))
	// b is gone, and with it what only b has; a's remains.
	b.feed(overlay.NeighborDown{Peer: node("b")})
	require.True(t, has(b.feed(missing(1)), "-> a PlumGraft{"))
}

// Who brings many trees loses its own, not others their share.
func TestForgedTreesReplaceEachOther(t *testing.T) {
	b := newBench(t, func(c *plumtree.Config) { c.Trees = 8 }, "a", "b")
	for i := range uint64(2) {
		b.hear("a", gossip(1, func(g *messages.PlumGossip) { g.Incarnation, g.Tree = 200+i, 200+i }))
	}
	for i := range uint64(100) {
		b.now = b.now.Add(time.Second)
		b.hear("b", gossip(1, func(g *messages.PlumGossip) { g.Incarnation, g.Tree = 1000+i, 1000+i }))
		b.hear("x", gossip(1, func(g *messages.PlumGossip) { g.Incarnation, g.Tree = 2000+i, 2000+i }))
	}
	for i := range uint64(2) {
		require.Contains(t, b.m.String(), "tree "+overlay.Incarnation(200+i).String()+" ")
	}
}

// Trees that nobody uses any more leave room for one's own.
func TestIdleTreesMakeRoom(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	for i := range uint64(64) {
		b.hear("a", gossip(1, func(g *messages.PlumGossip) { g.Incarnation, g.Tree = 200+i, 200+i }))
	}
	b.now = b.now.Add(time.Hour)
	var got []string
	for i := range uint64(3) {
		b.now = b.now.Add(time.Second)
		b.hear("a", gossip(2+i, func(g *messages.PlumGossip) { g.Incarnation, g.Tree = 200, 200 }))
		got = b.feed(overlay.Publish{})
	}
	require.True(t, has(got, "tree=109"), "%q", got)
}

// A neighbor may ask for all that is kept once in a while, not on and on.
func TestAskingIsBoundedByBytes(t *testing.T) {
	b := newBench(t, func(c *plumtree.Config) { c.KeepBytes = 1000 }, "a", "b")
	b.hear("a", gossip(1, func(g *messages.PlumGossip) { g.Payload = make([]byte, 300) }))
	ask := &messages.PlumGraft{Messages: ihave(1, 0).Messages}
	for range 3 {
		require.True(t, has(b.hear("b", ask), "PlumGossip"))
	}
	require.Equal(t, []string{"reject b limit"}, b.hear("b", ask))
	b.feed(overlay.Fired{Timer: overlay.Timer{Kind: "plum-counts"}})
	require.True(t, has(b.hear("b", ask), "PlumGossip"))
}
