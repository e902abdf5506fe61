package plumtree

import "github.com/maquis-go/maquis/overlay"

// tree is which links are lazy in the tree of one node. All others are eager.
type tree struct {
	lazy mask
	used overlay.Time
	by   int // the slot that brought it, or -1
	// root is its root as that told, and heard when a message last came that had
	// been there: then the root lived.
	root  overlay.Peer
	heard overlay.Time
}

// tree finds the tree of a root; by is the slot that brought a message of it,
// or -1. One that is not known has all links eager.
func (m *Machine) tree(root uint64, by int) *tree {
	t := m.last
	if t == nil || m.lastRoot != root {
		if t = m.trees[root]; t == nil {
			if len(m.trees) >= m.cfg.Trees {
				m.fell()
			}
			t = &tree{by: -1}
			m.trees[root] = t
		}
		m.last, m.lastRoot = t, root
	}
	if t.by < 0 && by >= 0 {
		t.by = by
		m.neighbors[by].trees++
	}
	t.used = m.now
	return t
}

// fell forgets a tree: of those that the neighbor with the most of them brought
// the least recently used one, so that nobody can fill the table with made-up
// ones. Our own goes only when it is idle.
func (m *Machine) fell() {
	var oldest uint64
	least, most := overlay.Never, -1
	self := uint64(m.cfg.Self.Incarnation)
	strays := 0 // brought by none who is a neighbor now
	for _, x := range m.trees {
		if x.by < 0 {
			strays++
		}
	}
	for r, x := range m.trees {
		if r == self && m.now.Sub(x.used) <= m.cfg.Recent && len(m.trees) > 1 {
			continue
		}
		n := strays
		if x.by >= 0 {
			n = m.neighbors[x.by].trees
		}
		if n > most || n == most && (x.used < least || x.used == least && r < oldest) {
			oldest, least, most = r, x.used, n
		}
	}
	if by := m.trees[oldest].by; by >= 0 {
		m.neighbors[by].trees--
	}
	delete(m.trees, oldest)
	m.last = nil
}

// busy is how many trees were used lately.
func (m *Machine) busy() (n int) {
	for _, t := range m.trees {
		if m.now.Sub(t.used) <= m.cfg.Recent {
			n++
		}
	}
	return n
}

// choose picks the tree for a message of our own, and tells its root, unless it
// is our own.
func (m *Machine) choose() (tree uint64, root overlay.Peer) {
	self := uint64(m.cfg.Self.Incarnation)
	if len(m.published) == m.cfg.Often {
		m.published = append(m.published[:0], m.published[1:]...)
	}
	m.published = append(m.published, m.now)
	often := len(m.published) == m.cfg.Often && m.now.Sub(m.published[0]) <= m.cfg.Recent
	if own := m.trees[self]; own != nil && m.now.Sub(own.used) <= m.cfg.Recent || often && m.busy() < m.cfg.Trees {
		return self, root
	}
	// The tree whose root was heard of last; with several at the same time, the
	// same for all who choose. A tree without its root is a longer way, and is
	// left to itself.
	var latest overlay.Time
	for r, t := range m.trees {
		if t.heard > latest || t.heard == latest && r < tree {
			tree, root, latest = r, t.root, t.heard
		}
	}
	if latest == 0 || m.now.Sub(latest) > m.cfg.Recent {
		return self, overlay.Peer{}
	}
	return tree, root
}
