package plumtree_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/plumtree"
)

// Who sends seldom uses the tree of another, spread; who sends often has one.
func TestChoiceOfTree(t *testing.T) {
	b := newBench(t, func(c *plumtree.Config) { c.Often, c.HeadStart = 3, 0 }, "a", "b")
	b.hear("a", rooted(1, nil))
	b.hear("b", &messages.PlumPrune{Tree: 'o'})
	got := b.feed(overlay.Publish{Payload: []byte("y")})
	require.True(t, has(got, "-> a PlumGossip{origin=m incarnation=109 seq=1 hops=1 tree=111 spread=4 wave=109 "), "%q", got)
	require.True(t, has(got, "-> b PlumGossip{origin=m incarnation=109 seq=1 hops=1 tree=111 spread=4 wave=109 off_tree=true"), "%q", got)
	b.feed(overlay.Publish{})
	got = b.feed(overlay.Publish{})
	require.True(t, has(got, "tree=109") && !has(got, "spread"), "the third within a minute: %q", got)
}

// A tree of whose root nothing was heard for a minute, or ever, is not chosen.
func TestATreeWithoutItsRootIsNotChosen(t *testing.T) {
	b := newBench(t, nil, "a")
	b.hear("a", gossip(1, nil))
	b.hear("a", rooted(2, func(g *messages.PlumGossip) { g.Wave = 'x' }))
	require.True(t, has(b.feed(overlay.Publish{}), " tree=109 "))

	b = newBench(t, nil, "a")
	b.hear("a", rooted(1, nil))
	b.now = b.now.Add(2 * time.Minute)
	b.hear("a", gossip(2, nil))
	require.True(t, has(b.feed(overlay.Publish{}), " tree=109 "))
}

// A message that uses another's tree is brought to its root, and goes on from
// here when it comes back along the tree.
func TestLift(t *testing.T) {
	lifted := overlay.Fired{Timer: overlay.Timer{Kind: "plum-lifted", ID: overlay.MessageID{Origin: "m", Incarnation: 'm', Seq: 1}}}
	begin := func() *bench {
		b := newBench(t, func(c *plumtree.Config) { c.Often = 100 }, "a", "b", "c")
		b.hear("a", rooted(1, nil))
		b.hear("c", &messages.PlumPrune{Tree: 'o'})
		got := b.feed(overlay.Publish{Payload: []byte("y")})
		require.True(t, has(got, "! Delivered{"), "%q", got)
		require.True(t, has(got, "! Carry{To:o"), "%q", got)
		require.True(t, has(got, "set plum-lifted"), "%q", got)
		require.False(t, has(got, "->"), "%q", got)
		return b
	}
	back := func(change func(*messages.PlumGossip)) *messages.PlumGossip {
		return rooted(1, func(g *messages.PlumGossip) {
			g.Origin, g.Incarnation, g.Hops, g.Payload = "m", 'm', 5, []byte("y")
			if change != nil {
				change(g)
			}
		})
	}
	b := begin()
	got := b.hear("a", back(nil))
	require.True(t, has(got, "cancel plum-lifted"), "%q", got)
	require.True(t, has(got, "-> b PlumGossip{origin=m incarnation=109 seq=1 hops=6 tree=111 wave=111 payload=1 bytes root=NodeRef{name=o"), "%q", got)
	require.True(t, has(got, "-> c PlumIHave{") && !has(got, "-> a "), "%q", got)
	require.False(t, has(got, "! Delivered{"), "it was when it was published: %q", got)
	require.Empty(t, b.feed(lifted))
	require.Equal(t, []string{"-> b PlumPrune{tree=111}"}, b.hear("b", back(nil)), "a cycle")

	// It does not come back.
	b = begin()
	got = b.feed(lifted)
	require.True(t, has(got, "-> a PlumGossip{origin=m incarnation=109 seq=1 hops=1 tree=111 spread=4 wave=109 "), "%q", got)
	require.True(t, has(got, "-> c PlumGossip{") && has(got, "off_tree=true"), "%q", got)
	require.Empty(t, b.hear("a", back(nil)), "late: copies of two waves meet")
	b.now += overlay.Time(9 * time.Second)
	require.True(t, has(b.feed(overlay.Publish{}), "-> a PlumGossip{"), "for a while the root is not tried")
	b.now += overlay.Time(2 * time.Second)
	require.True(t, has(b.feed(overlay.Publish{}), "! Carry{"))

	// Nor before the node leaves.
	b = begin()
	require.True(t, has(b.feed(overlay.Leave{}), "-> a PlumGossip{origin=m"))

	// A neighbor that makes up what came back changes nothing but the way.
	b = begin()
	b.hear("a", back(func(g *messages.PlumGossip) { g.Subject, g.Payload = "other", []byte("zzz") }))
	got = b.hear("b", &messages.PlumGraft{Messages: []*messages.PlumID{{Origin: "m", Incarnation: 'm', Seq: 1}}})
	require.True(t, has(got, "payload=1 bytes") && !has(got, "other"), "%q", got)

	// The root is a neighbor by now.
	b = newBench(t, nil, "a", "o")
	b.hear("o", rooted(1, nil))
	got = b.feed(overlay.Publish{Payload: []byte("y")})
	require.True(t, has(got, "-> o PlumGossip{origin=m incarnation=109 seq=1 hops=1 tree=111 wave=109 off_tree=true"), "%q", got)
}

// What comes to the root goes on as a wave of its own, and says who the root is.
func TestAtTheRoot(t *testing.T) {
	b := newBench(t, nil, "a", "b")
	mine := func(seq uint64, off bool) *messages.PlumGossip {
		return gossip(seq, func(g *messages.PlumGossip) { g.Tree, g.OffTree, g.Hops = 'm', off, 1 })
	}
	got := b.hear("z", mine(1, true)) // no neighbor
	for _, to := range []string{"a", "b"} {
		require.True(t, has(got, "-> "+to+" PlumGossip{origin=o incarnation=111 seq=1 hops=2 tree=109 wave=109 payload=1 bytes root=NodeRef{name=m incarnation=109 addr=m:1}}"), "%q", got)
	}
	got = b.hear("a", mine(2, false))
	require.True(t, has(got, "-> b PlumGossip{") && has(got, "wave=109") && has(got, "root=NodeRef{name=m") && !has(got, "-> a "), "%q", got)
}

// How many messages wait for their way over the root is bounded.
func TestLiftsAreBounded(t *testing.T) {
	b := newBench(t, func(c *plumtree.Config) { c.Trees, c.Often = 1, 1000 }, "a")
	b.hear("a", rooted(1, nil))
	lifts := 0
	for range 100 {
		if has(b.feed(overlay.Publish{}), "! Carry{") {
			lifts++
		}
	}
	require.Equal(t, 64, lifts)
}

// A message that comes off the tree starts a wave and is spread on.
func TestSpread(t *testing.T) {
	b := newBench(t, nil, "a", "b", "c")
	b.hear("a", gossip(1, nil))
	b.hear("c", &messages.PlumPrune{Tree: 'o'})
	got := b.hear("b", gossip(7, func(g *messages.PlumGossip) {
		g.Origin, g.Incarnation, g.Spread, g.OffTree, g.Hops = "x", 'x', 2, true, 2
	}))
	require.True(t, has(got, "-> a PlumGossip{origin=x incarnation=120 seq=7 hops=3 tree=111 spread=1 wave=109 payload"), "%q", got)
	require.True(t, has(got, "-> c PlumGossip{origin=x incarnation=120 seq=7 hops=3 tree=111 spread=1 wave=109 off_tree=true"), "%q", got)
	got = b.hear("b", gossip(8, func(g *messages.PlumGossip) {
		g.Origin, g.Incarnation, g.Spread, g.OffTree, g.Hops = "x", 'x', 1, true, 4
	}))
	require.True(t, has(got, "-> c PlumIHave{"), "no further: %q", got)
}
