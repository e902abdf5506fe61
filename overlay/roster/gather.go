package roster

import (
	"maps"
	"slices"
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// One word over a broadcast tree reaches all, but a word from each who has one are
// as many broadcasts: when a third of a large cluster is killed everybody misses a
// neighbor. There bad news go against the way on which the live member of the least
// name was last heard (its beacon, or what it told for others), are gathered at each
// node on that way for a moment, and that member tells all that has come to it in one.
// What is known already is not brought on: it went this way before. What the tree has
// not brought back after a while all tell who brought it on.

// Pauses between two times that a node brings on, or tells, what it has gathered,
// as parts of Grace; after a longer pause it does at once. Our choice.
const (
	bringParts = 16
	tellParts  = 4
)

// bringBack is after how many times Grace what the tree has not brought back is told
// by who has brought it on. Our choice: long enough for a tree of which a third of the
// nodes are gone.
const bringBack = 4

// gathering is what is gathered, and where it goes.
type gathering struct {
	names map[string]bool // members of whom we know what is to be told
	since overlay.Time    // when the first of them came
	waits bool            // they wait for a way
	last  overlay.Time    // when some were last brought on or told; 0: never
	way   guide

	brought map[string]overlay.Peer // of what the tree has not brought back, to whom it was brought last
}

// guide is the way to who tells.
type guide struct {
	to    overlay.Peer // the member of the least name, as last heard
	via   overlay.Peer // the neighbor that brought what it told
	heard overlay.Time // 0: never
}

// guided takes the way of what a member told over the tree as the way to it, if it
// is of the least name. A way to one that is gone is kept until the next is heard:
// it leads to those who were its neighbors, and they tell.
func (m *Machine) guided(by, from overlay.Peer, out *overlay.Effects) {
	e := m.least()
	if e == nil || !e.rec.Peer.Same(by) {
		return
	}
	m.gather.way = guide{to: e.rec.Peer, via: from, heard: max(m.now, 1)}
	if m.gather.waits && len(m.gather.names) > 0 {
		m.gather.waits = false
		out.SetTimer(overlay.Timer{Kind: timerGather}, 0)
	}
}

// least is the member of the least name that nobody suspects; nil if that is this
// node.
func (m *Machine) least() *entry {
	for _, e := range m.table.order {
		switch {
		case e.rec.Peer.Name > m.self.Peer.Name:
			return nil
		case e.status == StatusAlive && e.known():
			return e
		}
	}
	return nil
}

// follow: with a member who is suspect or gone this node may be of the least name;
// then it shows the way to itself.
func (m *Machine) follow(name string, out *overlay.Effects) {
	if m.large() && name < m.self.Peer.Name && m.least() == nil && m.visible && !m.mute() {
		m.spread(m.ownNews(), overlay.Peer{}, out)
	}
}

// large reports whether news of a cluster of this size are gathered.
func (m *Machine) large() bool {
	return m.cfg.Tree && m.cfg.Partial && m.cfg.Gather > 0 && len(m.table.order)-m.table.tombs+1 >= m.cfg.Gather
}

// gathers reports whether news are brought to who tells them.
func (m *Machine) gathers() bool {
	return m.large() && (m.gather.way.heard != 0 && m.now.Sub(m.gather.way.heard) < beaconLost*m.cfg.Merge || m.least() == nil)
}

// upward returns to whom news go on: to nobody if they are to be told here, or if
// the way is broken.
func (m *Machine) upward() (to overlay.Peer, broken bool) {
	if !m.gathers() || m.least() == nil {
		return overlay.Peer{}, false
	}
	if e := m.table.get(m.gather.way.via.Name); e != nil && e.neighbor && e.rec.Peer.Same(m.gather.way.via) {
		return e.rec.Peer, false
	}
	return overlay.Peer{}, !m.gather.way.via.Same(m.gather.way.to) // else it is who told that is gone
}

// collect has what we hold of a member brought on, or told.
func (m *Machine) collect(name string, out *overlay.Effects) {
	pause := m.cfg.Grace / tellParts
	if to, _ := m.upward(); to.Name != "" {
		pause = m.cfg.Grace / bringParts
	}
	if m.gather.last == 0 || m.now.Sub(m.gather.last) > pause {
		pause = 0
	}
	m.add(name, pause, false, out)
}

// add adds a member to what is brought on, or told: all of it some time after the first,
// or, if that waits for a way, when one is heard.
func (m *Machine) add(name string, after time.Duration, waits bool, out *overlay.Effects) {
	if len(m.gather.names) == 0 {
		m.gather.since, m.gather.waits = m.now, waits
		out.SetTimer(overlay.Timer{Kind: timerGather}, after)
	}
	m.gather.names[name] = true
}

// onGather brings on, or tells, what was gathered. Where the way is broken it waits for
// another: the next word that comes shows it.
func (m *Machine) onGather(out *overlay.Effects) {
	to, broken := m.upward()
	if left := m.cfg.Grace - m.now.Sub(m.gather.since); broken && left > 0 {
		m.gather.waits = true
		out.SetTimer(overlay.Timer{Kind: timerGather}, left)
		return
	}
	m.gather.last = max(m.now, 1)
	names := slices.Sorted(maps.Keys(m.gather.names))
	if to.Name == "" || m.gather.waits {
		m.say(names, out)
		return
	}
	for _, news := range m.newsOf(names) {
		news.Rise = true
		out.Send(to, news)
	}
	for _, name := range names {
		m.keep(name, bringBack*m.grace(), out)
		m.gather.brought[name] = to
	}
}

// comesBack has a suspicion that comes back from whom it was brought to, whose way leads
// here by now, go on the way that was heard since, or wait for it.
func (m *Machine) comesBack(name string, from overlay.Peer, out *overlay.Effects) {
	if !m.rising || !m.gather.brought[name].Same(from) {
		return
	}
	if to, _ := m.upward(); to.Same(from) {
		m.add(name, m.cfg.Grace, true, out)
	} else {
		m.collect(name, out)
	}
}
