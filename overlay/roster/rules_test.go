package roster

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// TestAdmit is the table of docs/protocols/roster.md.
func TestAdmit(t *testing.T) {
	holder := Member{Record: &Record{Peer: overlay.Peer{Name: "n", Incarnation: 1, Addr: "old:1"}, Generation: 4}}
	with := func(s Status) Member { m := holder; m.Status = s; return m }
	same, other, moved := holder.Peer, overlay.Peer{Name: "n", Incarnation: 2, Addr: "new:1"}, overlay.Peer{Name: "n", Incarnation: 2, Addr: "old:1"}
	for _, c := range []struct {
		what       string
		known      Member
		have       bool
		peer       overlay.Peer
		generation uint64
		linked     bool
		why        messages.Reason
		remembered uint64
	}{
		{"unknown", Member{}, false, other, 1, false, "", 0},
		{"the holder again", with(StatusAlive), true, same, 4, true, "", 0},
		{"a suspect", with(StatusSuspect), true, same, 4, false, "", 0},
		{"declared down", with(StatusDown), true, same, 4, false, messages.ReasonDown, 4},
		{"left", with(StatusLeft), true, same, 3, false, messages.ReasonDown, 4},
		{"returned", with(StatusDown), true, same, 5, false, "", 0},
		{"holder alive and linked", with(StatusAlive), true, other, 1, true, messages.ReasonNameTaken, 4},
		{"holder alive, no link", with(StatusAlive), true, other, 1, false, "", 4},
		{"holder alive, its address", with(StatusAlive), true, moved, 1, true, "", 4},
		{"holder suspect", with(StatusSuspect), true, other, 1, true, "", 4},
		{"holder down", with(StatusDown), true, other, 9, false, "", 4},
		{"holder left", with(StatusLeft), true, other, 1, false, "", 4},
	} {
		why, remembered := Admit(c.known, c.have, c.peer, c.generation, c.linked)
		if why != c.why || remembered != c.remembered {
			t.Errorf("%s: %q, %d; want %q, %d", c.what, why, remembered, c.why, c.remembered)
		}
	}
}

// TestStatesAreOrdered: compare is a total order, so that all nodes pick the
// same account of a name whatever the order in which they hear of them.
func TestStatesAreOrdered(t *testing.T) {
	var all []state
	for _, i := range []overlay.Incarnation{1, 2} {
		for _, g := range []uint64{1, 2} {
			for _, v := range []uint64{1, 2} {
				for s := range StatusLeft + 1 {
					all = append(all, state{i, g, v, s})
				}
			}
		}
	}
	for _, a := range all {
		for _, b := range all {
			if a.compare(b) != -b.compare(a) {
				t.Fatalf("%v and %v", a, b)
			}
			for _, c := range all {
				if a.compare(b) <= 0 && b.compare(c) <= 0 && a.compare(c) > 0 {
					t.Fatalf("%v ≤ %v ≤ %v, but not %v ≤ %v", a, b, c, a, c)
				}
			}
		}
	}
	// What wins over what, weakest first.
	want := []state{
		{1, 1, 1, StatusAlive}, {1, 1, 1, StatusSuspect}, {1, 1, 2, StatusAlive}, {1, 1, 2, StatusSuspect},
		{1, 1, 1, StatusDown}, {1, 1, 1, StatusLeft}, {2, 1, 1, StatusAlive}, {1, 2, 1, StatusAlive},
	}
	got := slices.Clone(want)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	slices.SortFunc(got, state.compare)
	if !slices.Equal(got, want) {
		t.Errorf("in order: %v\nwant      %v", got, want)
	}
}
