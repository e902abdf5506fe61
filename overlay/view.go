package overlay

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// View is a small set of peers, at most one life of each name, in the order in
// which they came: so that choices from it depend on the dice alone. Searches
// are linear, which is what views of some dozens want. The zero value is empty.
type View struct{ peers []Peer }

// Len returns the number of peers.
func (v *View) Len() int { return len(v.peers) }

// All returns the peers in their order; it is not to be changed and is valid
// until the next change of the view.
func (v *View) All() []Peer { return v.peers }

// Find returns the life of a name that is in the view.
func (v *View) Find(name string) (Peer, bool) {
	for i := range v.peers {
		if v.peers[i].Name == name {
			return v.peers[i], true
		}
	}
	return Peer{}, false
}

// Has reports whether this life of p is in the view.
func (v *View) Has(p Peer) bool {
	q, ok := v.Find(p.Name)
	return ok && q.Same(p)
}

// Add puts p at the end, in place of another life of its name, and reports
// whether this life was not there.
func (v *View) Add(p Peer) bool {
	for i := range v.peers {
		if v.peers[i].Name == p.Name {
			was := v.peers[i].Same(p)
			v.peers[i] = p
			return !was
		}
	}
	v.peers = append(v.peers, p)
	return true
}

// Remove takes this life of p out and reports whether it was there.
func (v *View) Remove(p Peer) bool {
	for i := range v.peers {
		if v.peers[i].Same(p) {
			v.peers = slices.Delete(v.peers, i, i+1)
			return true
		}
	}
	return false
}

// Random draws one peer that keep accepts; nil accepts all.
func (v *View) Random(rng *rand.Rand, keep func(Peer) bool) (Peer, bool) {
	var found Peer
	n := 0
	for _, p := range v.peers {
		if keep != nil && !keep(p) {
			continue
		}
		if n++; rng.IntN(n) == 0 {
			found = p
		}
	}
	return found, n > 0
}

// Sample appends up to n different peers that keep accepts to list, drawn
// evenly, in random order; nil accepts all.
func (v *View) Sample(list []Peer, rng *rand.Rand, n int, keep func(Peer) bool) []Peer {
	from := len(list)
	seen := 0
	for _, p := range v.peers {
		if keep != nil && !keep(p) {
			continue
		}
		seen++
		switch i := rng.IntN(seen); {
		case len(list)-from < n:
			list = append(list, p)
			last := len(list) - 1
			list[from+i], list[last] = list[last], list[from+i]
		case i < n:
			list[from+i] = p
		}
	}
	return list
}

// String is the names in their order.
func (v *View) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, p := range v.peers {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p.String())
	}
	b.WriteByte(']')
	return b.String()
}
