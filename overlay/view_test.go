package overlay_test

import (
	"math/rand/v2"
	"testing"

	"github.com/maquis-go/maquis/overlay"
)

func TestViewKeepsOneLifeOfAName(t *testing.T) {
	var v overlay.View
	a1, a2 := overlay.Peer{Name: "a", Incarnation: 1}, overlay.Peer{Name: "a", Incarnation: 2}
	b := overlay.Peer{Name: "b", Incarnation: 1}
	if !v.Add(a1) || v.Add(a1) || !v.Add(b) || !v.Add(a2) {
		t.Error("Add tells wrongly what was there")
	}
	if v.String() != "[a b]" || v.Has(a1) || !v.Has(a2) {
		t.Errorf("the view is %v", v.All())
	}
	if v.Remove(a1) || !v.Remove(a2) || v.Len() != 1 {
		t.Errorf("after Remove: %v", v.All())
	}
}

// TestViewDrawsEvenly: each peer is as likely as another, at each place.
func TestViewDrawsEvenly(t *testing.T) {
	var v overlay.View
	for i := range 6 {
		v.Add(overlay.Peer{Name: string(rune('a' + i)), Incarnation: 1})
	}
	rng := rand.New(rand.NewPCG(1, 1))
	notB := func(p overlay.Peer) bool { return p.Name != "b" }
	const rounds = 30000
	one := map[string]int{}
	place := [3]map[string]int{{}, {}, {}}
	for range rounds {
		p, ok := v.Random(rng, notB)
		if !ok {
			t.Fatal("nothing drawn")
		}
		one[p.Name]++
		list := v.Sample(nil, rng, 3, notB)
		if len(list) != 3 || list[0] == list[1] || list[1] == list[2] || list[0] == list[2] {
			t.Fatalf("drew %v", list)
		}
		for i, p := range list {
			place[i][p.Name]++
		}
	}
	for _, counts := range append(place[:], one) {
		if len(counts) != 5 || counts["b"] != 0 {
			t.Fatalf("drew %v", counts)
		}
		for name, n := range counts {
			if n < rounds/5*9/10 || n > rounds/5*11/10 {
				t.Errorf("%s was drawn %d times of %d", name, n, rounds)
			}
		}
	}
	if list := v.Sample(nil, rng, 9, nil); len(list) != 6 {
		t.Errorf("of 6 peers 9 are %v", list)
	}
}
