package overlay

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// View is a small set of peers, at most one life of each name, in the order in
// which they came: so that choices from it depend on the dice alone. Searches
// are linear, over keys that lie close together, which is what views of some
// dozens want. The zero value is empty.
type View struct {
	peers []Peer
	keys  []uint32 // of the names, in the same order
}

// key is FNV-1a.
func key(name string) uint32 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h
}

// index finds a name, or returns -1.
func (v *View) index(name string) int {
	k := key(name)
	for i := range v.keys {
		if v.keys[i] == k && v.peers[i].Name == name {
			return i
		}
	}
	return -1
}

// Len returns the number of peers.
func (v *View) Len() int { return len(v.peers) }

// All returns the peers in their order; it is not to be changed and is valid
// until the next change of the view.
func (v *View) All() []Peer { return v.peers }

// Find returns the life of a name that is in the view.
func (v *View) Find(name string) (Peer, bool) {
	if i := v.index(name); i >= 0 {
		return v.peers[i], true
	}
	return Peer{}, false
}

// Has reports whether this life of p is in the view.
func (v *View) Has(p Peer) bool {
	i := v.index(p.Name)
	return i >= 0 && v.peers[i].Incarnation == p.Incarnation
}

// Add puts p at the end, in place of another life of its name, and reports
// whether this life was not there.
func (v *View) Add(p Peer) bool {
	if i := v.index(p.Name); i >= 0 {
		was := v.peers[i].Incarnation == p.Incarnation
		v.peers[i] = p
		return !was
	}
	v.peers = append(v.peers, p)
	v.keys = append(v.keys, key(p.Name))
	return true
}

// Remove takes this life of p out and reports whether it was there.
func (v *View) Remove(p Peer) bool {
	i := v.index(p.Name)
	if i < 0 || v.peers[i].Incarnation != p.Incarnation {
		return false
	}
	v.peers = slices.Delete(v.peers, i, i+1)
	v.keys = slices.Delete(v.keys, i, i+1)
	return true
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
