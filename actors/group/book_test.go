package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

func life(name string) overlay.Life { return overlay.Life{Name: name, Incarnation: 1} }

// Whether lives are members when they are first told of.
func nobody(overlay.Life) bool    { return false }
func everybody(overlay.Life) bool { return true }

func members(list []Member) string {
	var out []string
	for _, m := range list {
		out = append(out, m.Life.Name+"/"+m.Actor)
	}
	return strings.Join(out, " ")
}

func TestJoinAndLeave(t *testing.T) {
	b := New(life("a"), nobody)
	for _, c := range []struct {
		group, actor string
		want         bool
		err          error
	}{
		{"g", "x", true, nil}, {"g", "x", false, nil}, {"g", "y", true, nil}, {"h", "x", true, nil},
		{"", "x", false, ErrName}, {"g", "", false, ErrName},
		{strings.Repeat("g", MaxName+1), "x", false, ErrName}, {"g", strings.Repeat("x", MaxActor+1), false, ErrName},
	} {
		got, err := b.Join(c.group, c.actor)
		require.Equal(t, c.want, got, "%q %q", c.group, c.actor)
		require.ErrorIs(t, err, c.err)
	}
	require.Equal(t, "a/x a/y", members(b.Members("g")))
	require.True(t, b.Leave("g", "y"))
	require.False(t, b.Leave("g", "y"))
	require.Equal(t, []string{"x"}, b.Own())
	require.Equal(t, []string{"g", "h"}, b.Ended("x"))
	require.Empty(t, b.Members("g"))
	require.Empty(t, b.Own())
	require.Len(t, b.Flush(), 1)
	require.Empty(t, b.Flush())
}

func TestANodeHasABoundedNumberOfEntries(t *testing.T) {
	b := New(life("a"), nobody)
	for i := range MaxEntries {
		_, err := b.Join("g", fmt.Sprint(i))
		require.NoError(t, err)
	}
	_, err := b.Join("h", "x")
	require.ErrorIs(t, err, ErrFull)
	require.True(t, b.Leave("g", "7"))
	_, err = b.Join("h", "x")
	require.NoError(t, err)
	for _, d := range b.Flush() {
		require.Less(t, proto.Size(d), messages.MaxControl)
	}
}

// What is told of a life is seen once it is a member, and no longer.
func TestOnlyMembersAreSeen(t *testing.T) {
	a, b := New(life("a"), nobody), New(life("b"), nobody)
	_, err := b.Join("g", "x")
	require.NoError(t, err)
	ds := b.Flush()
	changes, behind, err := a.Delta(life("b"), ds[0], 0)
	require.NoError(t, err)
	require.False(t, behind)
	require.Empty(t, changes)
	require.Empty(t, a.Members("g"))

	changes = a.Up(life("b"))
	require.Equal(t, []Change{{Group: "g", Joined: []Member{{life("b"), "x"}}}}, changes)
	require.Empty(t, a.Up(life("b")))
	require.Equal(t, "b/x", members(a.Members("g")))
	require.Equal(t, a.Digest(), b.Digest())

	changes = a.Gone(life("b"))
	require.Equal(t, []Change{{Group: "g", Left: []Member{{life("b"), "x"}}}}, changes)
	require.Empty(t, a.Members("g"))
	require.Empty(t, a.Gone(life("b")))
	require.Zero(t, a.Digest())
}

func TestStrangersAreFewAndForgotten(t *testing.T) {
	b := New(life("a"), nobody)
	d := &messages.GroupDelta{Ops: []*messages.GroupOp{{Group: "g", Actor: "x"}}}
	for i := range 2 * MaxStrangers {
		_, _, err := b.Delta(life(fmt.Sprint("s", i)), d, 10)
		require.NoError(t, err)
	}
	require.Len(t, b.lives, MaxStrangers+1)
	b.Up(life("s1"))
	b.Expire(100, 200)
	require.Len(t, b.lives, MaxStrangers+1)
	b.Expire(300, 200)
	require.Len(t, b.lives, 2)
	require.Equal(t, "s1/x", members(b.Members("g")))
}

func TestReconcile(t *testing.T) {
	b := New(life("a"), nobody)
	d := &messages.GroupDelta{Ops: []*messages.GroupOp{{Group: "g", Actor: "x"}}}
	for _, n := range []string{"b", "c", "d"} {
		_, _, err := b.Delta(life(n), d, 0)
		require.NoError(t, err)
	}
	b.Up(life("b"))
	b.Up(life("c"))
	changes := b.Reconcile([]overlay.Life{life("c"), life("d")})
	require.Equal(t, []Change{
		{Group: "g", Left: []Member{{life("b"), "x"}}}, {Group: "g", Joined: []Member{{life("d"), "x"}}},
	}, changes)
}

// A gap is told; a delta whose first changes a state has brought is taken from
// there on.
func TestDeltasInAndOutOfStep(t *testing.T) {
	a, b := New(life("a"), everybody), New(life("b"), everybody)
	join := func(id string) { _, err := b.Join("g", id); require.NoError(t, err) }
	join("1")
	first := b.Flush()[0]
	join("2")
	state := b.StateOf(life("b"))
	join("3")
	second := b.Flush()[0]

	_, behind, err := a.Delta(life("b"), second, 0)
	require.NoError(t, err)
	require.True(t, behind)
	changes, news, err := a.State(state[0], 0)
	require.NoError(t, err)
	require.True(t, news)
	require.Equal(t, []Change{{Group: "g", Joined: []Member{{life("b"), "1"}, {life("b"), "2"}}}}, changes)
	changes, behind, err = a.Delta(life("b"), first, 0)
	require.NoError(t, err)
	require.False(t, behind)
	require.Empty(t, changes)
	changes, _, err = a.Delta(life("b"), second, 0)
	require.NoError(t, err)
	require.Equal(t, []Change{{Group: "g", Joined: []Member{{life("b"), "3"}}}}, changes)
	require.Equal(t, a.Digest(), b.Digest())
}

// A state of many pages is taken as a whole; with one lost, not at all.
func TestLargeStates(t *testing.T) {
	a, b := New(life("a"), everybody), New(life("b"), everybody)
	for i := range 20_000 {
		_, err := a.Join(fmt.Sprint("group", i%7), fmt.Sprint("actor", i))
		require.NoError(t, err)
	}
	pages := a.StateOf(life("a"))
	require.Greater(t, len(pages), 3)
	for i, p := range pages {
		if i == 2 {
			continue
		}
		_, news, err := b.State(p, 0)
		require.NoError(t, err)
		require.False(t, news)
	}
	require.Empty(t, b.Members("group3"))
	for i, p := range pages {
		_, news, err := b.State(p, 0)
		require.NoError(t, err)
		require.Equal(t, i == len(pages)-1, news)
	}
	require.Equal(t, a.Members("group3"), b.Members("group3"))
}

// Whoever claims to know more of a node than it does is overruled by it.
func TestNobodyKnowsMoreOfANodeThanItself(t *testing.T) {
	a := New(life("a"), nobody)
	_, err := a.Join("g", "x")
	require.NoError(t, err)
	tell, ask, err := a.Compare(&messages.GroupVersions{Lives: []*messages.GroupVersion{{Name: "a", Incarnation: 1, Version: 40}}})
	require.NoError(t, err)
	require.Nil(t, ask)
	require.Equal(t, []overlay.Life{life("a")}, tell)
	require.EqualValues(t, 41, a.StateOf(life("a"))[0].GetLife().GetVersion())
}

func TestNonsenseIsRefused(t *testing.T) {
	b := New(life("a"), nobody)
	for _, d := range []*messages.GroupDelta{
		{}, {From: maxVersion, Ops: []*messages.GroupOp{{Group: "g", Actor: "x"}}}, {Ops: []*messages.GroupOp{{Actor: "x"}}},
		{Ops: []*messages.GroupOp{{Group: "g", Actor: strings.Repeat("x", MaxActor+1)}}},
	} {
		_, _, err := b.Delta(life("b"), d, 0)
		require.ErrorIs(t, err, ErrBad)
	}
	for _, s := range []*messages.GroupState{
		{}, {Life: &messages.GroupVersion{Name: "b", Incarnation: 1}}, {Life: &messages.GroupVersion{Name: "b", Version: 1}},
		{Life: &messages.GroupVersion{Name: "b", Incarnation: 1, Version: 1}, Page: maxPages},
		{Life: &messages.GroupVersion{Name: "b", Incarnation: 1, Version: 1}, Groups: []*messages.GroupActors{{Actors: []string{"x"}}}},
	} {
		_, _, err := b.State(s, 0)
		require.ErrorIs(t, err, ErrBad)
	}
	_, _, err := b.Compare(&messages.GroupVersions{Lives: []*messages.GroupVersion{{Name: "b"}}})
	require.ErrorIs(t, err, ErrBad)
	_, err = b.Pulled(&messages.GroupPull{Lives: []*messages.GroupVersion{{}}})
	require.ErrorIs(t, err, ErrBad)
}

// exchange has one book compare itself with another until they agree, over a
// way that may lose each message.
func exchange(t *testing.T, a, b *Book, lost func() bool) {
	if a.Digest() == b.Digest() {
		return
	}
	deliver := func(to *Book, from *Book, lives []overlay.Life) {
		for _, l := range lives {
			for _, p := range from.StateOf(l) {
				if !lost() {
					_, _, err := to.State(p, 0)
					require.NoError(t, err)
				}
			}
		}
	}
	for _, page := range a.Versions() {
		if lost() {
			continue
		}
		tell, ask, err := b.Compare(page)
		require.NoError(t, err)
		deliver(a, b, tell)
		if ask != nil && !lost() {
			lives, err := a.Pulled(ask)
			require.NoError(t, err)
			deliver(b, a, lives)
		}
	}
}

// Books of nodes whose actors come and go, whose deltas are lost, and which come
// and go themselves, agree after some exchanges without loss, with what their
// owners say.
func TestBooksConverge(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		n := 3 + rnd.IntN(6)
		var books []*Book
		var lives []overlay.Life
		for i := range n {
			lives = append(lives, life(fmt.Sprint("n", i)))
			books = append(books, New(lives[i], everybody))
		}
		for i, b := range books {
			for k, l := range lives {
				if i != k {
					b.Up(l)
				}
			}
		}
		lossy := func() bool { return rnd.IntN(3) == 0 }
		for range 200 {
			i := rnd.IntN(n)
			b := books[i]
			switch rnd.IntN(8) {
			case 0, 1, 2:
				_, err := b.Join(fmt.Sprint("g", rnd.IntN(3)), fmt.Sprint(rnd.IntN(6)))
				require.NoError(t, err)
			case 3:
				b.Leave(fmt.Sprint("g", rnd.IntN(3)), fmt.Sprint(rnd.IntN(6)))
			case 4:
				b.Ended(fmt.Sprint(rnd.IntN(6)))
			case 5:
				for _, d := range b.Flush() {
					for k, o := range books {
						if k != i && !lossy() {
							_, _, err := o.Delta(lives[i], d, 0)
							require.NoError(t, err)
						}
					}
				}
			case 6:
				exchange(t, b, books[rnd.IntN(n)], lossy)
			case 7: // wrongly taken for dead, and back
				o := lives[rnd.IntN(n)]
				if o != lives[i] {
					b.Gone(o)
					b.Up(o)
				}
			}
		}
		for range 3 {
			for i := range books {
				exchange(t, books[i], books[(i+1)%n], func() bool { return false })
			}
		}
		for i, b := range books {
			require.Equal(t, books[0].Digest(), b.Digest(), "seed %d: node %d", seed, i)
			for g := range 3 {
				name := fmt.Sprint("g", g)
				var want []Member
				for k, o := range books {
					for _, m := range o.Members(name) {
						if m.Life == lives[k] {
							want = append(want, m)
						}
					}
				}
				slices.SortFunc(want, Member.compare)
				require.Equal(t, want, b.Members(name), "seed %d: node %d", seed, i)
			}
		}
	}
}

// The versions of many nodes come in pages, of which each tells what it is
// about.
func TestVersionsOfManyNodes(t *testing.T) {
	a, b := New(life("a"), everybody), New(life("b"), everybody)
	d := &messages.GroupDelta{Ops: []*messages.GroupOp{{Group: "g", Actor: "x"}}}
	for i := range 3000 {
		l := life(fmt.Sprintf("node-%05d", i))
		_, _, err := a.Delta(l, d, 0)
		require.NoError(t, err)
		if i%10 != 3 {
			_, _, err = b.Delta(l, d, 0)
			require.NoError(t, err)
		}
	}
	require.Greater(t, len(b.Versions()), 2)
	missing := 0
	for _, page := range b.Versions() {
		tell, ask, err := a.Compare(page)
		require.NoError(t, err)
		require.Nil(t, ask)
		missing += len(tell)
	}
	require.Equal(t, 300, missing)
	exchange(t, a, b, func() bool { return false })
	require.Equal(t, a.Digest(), b.Digest())
}

func FuzzState(f *testing.F) {
	a := New(life("a"), nobody)
	_, _ = a.Join("g", "x")
	f.Add("g", "x", uint64(1), uint32(0), true, "after", "upto")
	f.Fuzz(func(t *testing.T, g, id string, v uint64, page uint32, last bool, after, upto string) {
		b := New(life("b"), nobody)
		b.Up(life("a"))
		_, _, _ = b.State(&messages.GroupState{Life: &messages.GroupVersion{Name: id, Incarnation: 1, Version: v}, Page: page, Last: last,
			Groups: []*messages.GroupActors{{Group: g, Actors: []string{id, after, upto}}}}, 0)
		_, _, _ = b.Delta(life("a"), &messages.GroupDelta{From: v, Ops: []*messages.GroupOp{{Group: g, Actor: id, Leave: last}, {Group: after, Actor: upto}}}, 0)
		_, _, _ = b.Compare(&messages.GroupVersions{After: after, Upto: upto, Lives: []*messages.GroupVersion{{Name: id, Incarnation: uint64(page), Version: v}}})
		_, _ = b.Pulled(&messages.GroupPull{Lives: []*messages.GroupVersion{{Name: id, Incarnation: uint64(page), Version: v}}})
		if len(b.Members(g)) > 4 {
			t.Fatal("members from nowhere")
		}
	})
}
