package plumtree

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Timers: a message that was announced and has not come; a message that the
// tree's root got has not come back; a new neighbor has not announced what it
// keeps; announcements that are to go out; the counts of what neighbors asked
// for begin anew.
const (
	timerMissing overlay.TimerKind = "plum-missing"
	timerLifted  overlay.TimerKind = "plum-lifted"
	timerOpening overlay.TimerKind = "plum-opening"
	timerLazy    overlay.TimerKind = "plum-lazy"
	timerCounts  overlay.TimerKind = "plum-counts"
)

// key names a message in tables; incarnations are random, so names add nothing.
type key struct{ incarnation, seq uint64 }

// mask is a set of neighbors by their slots.
type mask [maxNeighbors / 64]uint64

func (m *mask) has(slot int) bool { return m[slot/64]&(1<<(slot%64)) != 0 }
func (m *mask) set(slot int)      { m[slot/64] |= 1 << (slot % 64) }
func (m *mask) clear(slot int)    { m[slot/64] &^= 1 << (slot % 64) }

// neighbor is a link that trees may use. A slot is free if the name is empty.
type neighbor struct {
	peer overlay.Peer
	lazy []*messages.PlumID // announcements that wait for the tick
	// Since the counts began, what it asked for.
	grafts, graftBytes int
	missing            int // messages that it announced first and that have not come
	trees              int // that it brought
}

// missing is a message that was announced and has not come.
type missing struct {
	id    overlay.MessageID
	from  [maxAskers]int16  // slots of announcers, in their order
	hops  [maxAskers]uint32 // that it would have come by them
	n     int
	by    int // the slot in whose count it is, or -1
	next  int // the announcer to ask next
	asked int // the slot asked last, or -1
}

// Machine is the Plumtree of one node.
type Machine struct {
	neighbors []neighbor // by slot
	lives     []uint64   // their incarnations, 0 for a free slot: what is searched
	few       [8]uint64  // backs lives, so that they lie with the rest
	now       overlay.Time
	cfg       Config
	used      int // slots in use
	trees     map[uint64]*tree
	last      *tree // the tree used last, by lastRoot
	lastRoot  uint64
	ref       *messages.NodeRef // of this node, for messages that have been here as their root
	seq       uint64
	born      overlay.Time   // when the first neighbor came; 0 not yet
	published []overlay.Time // the last Often of our own
	store     store
	seen      seen
	missing   map[key]*missing
	lifted    []lifted     // those that have not come back
	lowered   overlay.Time // when one of them last did not come back; 0: never
	announce  bool         // the tick is set
	announced overlay.Time // the last tick; 0: there was none
	haste     uint         // waits are 2^haste as long, after messages came that were asked for too early
	hasty     overlay.Time // the last time

	// Counts since New.
	Duplicates, Grafts, Prunes, Old uint64
}

// New makes the Plumtree of a node without neighbors.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Machine{
		cfg: cfg, trees: make(map[uint64]*tree), missing: make(map[key]*missing),
		seen: seen{origins: make(map[uint64]*window)}, seq: cfg.First, ref: overlay.Ref(cfg.Self),
	}
	m.lives = m.few[:0]
	return m, nil
}

// Owns implements overlay.Layer.
func (m *Machine) Owns(ev overlay.Event) bool {
	switch ev := ev.(type) {
	case overlay.Received:
		switch ev.Msg.(type) {
		case *messages.PlumGossip, *messages.PlumIHave, *messages.PlumGraft, *messages.PlumPrune:
			return true
		}
	case overlay.Fired:
		switch ev.Timer.Kind {
		case timerMissing, timerLifted, timerOpening, timerLazy, timerCounts:
			return true
		}
	case overlay.Publish:
		return true
	}
	return false
}

// Step implements overlay.Machine.
func (m *Machine) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	m.now = now
	switch ev := ev.(type) {
	case overlay.Start:
		out.SetTimer(overlay.Timer{Kind: timerCounts}, m.cfg.Recent)
	case overlay.NeighborUp:
		m.neighborUp(ev.Peer, out)
	case overlay.NeighborDown:
		m.neighborDown(ev.Peer, out)
	case overlay.Publish:
		m.publish(ev, out)
	case overlay.Leave:
		for len(m.lifted) > 0 {
			m.lower(m.lifted[0].msg.GetSeq(), out)
		}
		m.tick(out)
	case overlay.Received:
		switch msg := ev.Msg.(type) {
		case *messages.PlumGossip:
			m.onGossip(ev.From, msg, out)
		case *messages.PlumIHave:
			m.onIHave(ev.From, msg, out)
		case *messages.PlumGraft:
			m.onGraft(ev.From, msg, out)
		case *messages.PlumPrune:
			m.onPrune(ev.From, msg)
		}
	case overlay.Fired:
		switch ev.Timer.Kind {
		case timerMissing:
			m.ask(key{uint64(ev.Timer.ID.Incarnation), ev.Timer.ID.Seq}, out)
		case timerLifted:
			m.lower(ev.Timer.ID.Seq, out)
		case timerOpening:
			for i := range m.neighbors {
				if n := &m.neighbors[i]; n.peer.Name == ev.Timer.Peer {
					out.Send(n.peer, &messages.PlumIHave{Ask: true})
				}
			}
		case timerLazy:
			m.tick(out)
		case timerCounts:
			for i := range m.neighbors {
				m.neighbors[i].grafts, m.neighbors[i].graftBytes = 0, 0
			}
			m.store.expire(now.Add(-m.cfg.Recent))
			out.SetTimer(overlay.Timer{Kind: timerCounts}, m.cfg.Recent)
		}
	}
}

// slot finds a neighbor, or returns -1.
func (m *Machine) slot(p overlay.Peer) int {
	for i, life := range m.lives {
		if life == uint64(p.Incarnation) && m.neighbors[i].peer.Name == p.Name {
			return i
		}
	}
	return -1
}

// neighborUp makes a link part of all trees, until a duplicate shows that it is
// not needed (section 3.9), and announces all that is kept: a message that was
// sent while the overlay was being repaired reaches whom it reaches now. The
// neighbor does the same; but the two ends need not see the link come up at the
// same time, nor as often, and what it announced before this end did was not
// heard. It is asked if nothing comes.
func (m *Machine) neighborUp(p overlay.Peer, out *overlay.Effects) {
	if m.slot(p) >= 0 {
		return
	}
	slot := -1
	for i := range m.neighbors {
		if m.neighbors[i].peer.Name == "" {
			slot = i
			break
		}
	}
	if slot < 0 {
		if len(m.neighbors) == maxNeighbors {
			return
		}
		slot = len(m.neighbors)
		m.neighbors = append(m.neighbors, neighbor{})
		m.lives = append(m.lives, 0)
	}
	m.neighbors[slot], m.lives[slot] = neighbor{peer: p}, uint64(p.Incarnation)
	m.used++
	if m.born == 0 {
		m.born = max(m.now, 1)
	}
	m.open(slot, out)
	out.SetTimer(overlay.Timer{Kind: timerOpening, Peer: p.Name}, m.patience(m.cfg.Missing))
}

// open announces all that is kept to a neighbor.
func (m *Machine) open(slot int, out *overlay.Effects) {
	m.store.expire(m.now.Add(-m.cfg.Recent))
	to, opening := m.neighbors[slot].peer, true
	for ids := range slices.Chunk(m.store.ids(m.now), maxIDs) {
		out.Send(to, &messages.PlumIHave{Messages: ids, Opening: opening})
		opening = false
	}
	if opening {
		out.Send(to, &messages.PlumIHave{Opening: true})
	}
}

// neighborDown takes a link out of all trees. What was expected from it is
// asked for elsewhere at once.
func (m *Machine) neighborDown(p overlay.Peer, out *overlay.Effects) {
	slot := m.slot(p)
	if slot < 0 {
		return
	}
	m.neighbors[slot], m.lives[slot] = neighbor{}, 0
	m.used--
	out.CancelTimer(overlay.Timer{Kind: timerOpening, Peer: p.Name})
	for _, t := range m.trees { // no effect depends on the order
		t.lazy.clear(slot)
		if t.by == slot {
			t.by = -1
		}
	}
	m.store.orphan(slot)
	var again []key
	for k, x := range m.missing {
		n := 0
		for i := range x.n {
			if int(x.from[i]) == slot {
				if i < x.next {
					x.next--
				}
				continue
			}
			x.from[n], x.hops[n] = x.from[i], x.hops[i]
			n++
		}
		x.n = n
		if x.by == slot {
			if x.by = -1; n > 0 {
				x.by = int(x.from[0])
				m.neighbors[x.by].missing++
			}
		}
		if x.asked == slot {
			x.asked = -1
			again = append(again, k)
		}
	}
	sortKeys(again)
	for _, k := range again {
		m.ask(k, out)
	}
}

func (m *Machine) publish(ev overlay.Publish, out *overlay.Effects) {
	if len(ev.Payload) > m.cfg.MaxPayload || len(ev.Subject) > maxSubject {
		out.Reject(m.cfg.Self, messages.ReasonTooLarge)
		return
	}
	seq := ev.ID.Seq
	if seq == 0 {
		m.seq++
		seq = m.seq
	}
	m.seq = max(m.seq, seq)
	if !m.seen.first(uint64(m.cfg.Self.Incarnation), seq, m.cfg.Origins) {
		return
	}
	self := uint64(m.cfg.Self.Incarnation)
	tree, root := m.choose()
	msg := &messages.PlumGossip{
		Origin: m.cfg.Self.Name, Incarnation: self, Seq: seq, Hops: 1, Tree: tree,
		Wave: self, Subject: ev.Subject, Payload: ev.Payload,
	}
	if tree == self {
		msg.Root = m.ref
	} else {
		msg.Spread = uint32(m.cfg.Spread)
	}
	m.deliver(msg, overlay.Peer{}, 0, out)
	if root.Addr != "" && m.lifts(ev.Subject) {
		m.lift(msg, root, out)
	} else {
		m.push(msg, -1, -1, out)
	}
}

func (m *Machine) deliver(msg *messages.PlumGossip, from overlay.Peer, hops int, out *overlay.Effects) {
	out.Notify(overlay.Delivered{
		ID:      overlay.MessageID{Origin: msg.GetOrigin(), Incarnation: overlay.Incarnation(msg.GetIncarnation()), Seq: msg.GetSeq()},
		Subject: msg.GetSubject(), Payload: msg.GetPayload(), From: from, Hops: hops, Lifted: msg.GetLifted(), Age: age(msg.GetAgeMs()),
	})
}

// push passes a message on: its payload along the eager links, or along all
// while it is being spread, and its announcement along the others (section
// 3.6). on is what those links carry; it came by the slot except, parent is the
// same if that is of the tree, else -1.
func (m *Machine) push(on *messages.PlumGossip, except, parent int, out *overlay.Effects) {
	t := m.tree(on.GetTree(), except)
	m.vouch(t, on)
	var off *messages.PlumGossip // for links outside of the tree
	var id *messages.PlumID
	var one *messages.PlumIHave
	for i, life := range m.lives {
		n := &m.neighbors[i]
		switch {
		case i == except || life == 0:
		case !t.lazy.has(i):
			out.Send(n.peer, on)
		case on.GetSpread() > 0:
			if off == nil {
				off = copyOf(on)
				off.OffTree, off.Root = true, nil
			}
			out.Send(n.peer, off)
		default:
			if id == nil {
				id = &messages.PlumID{Origin: on.GetOrigin(), Incarnation: on.GetIncarnation(), Seq: on.GetSeq(), Hops: on.GetHops(), AgeMs: on.GetAgeMs()}
			}
			if m.cfg.LazyTick == 0 {
				if one == nil {
					one = &messages.PlumIHave{Messages: []*messages.PlumID{id}}
				}
				out.Send(n.peer, one)
				continue
			}
			n.lazy = append(n.lazy, id)
			if len(n.lazy) == maxIDs {
				m.flush(n, out)
			}
			if !m.announce {
				m.announce = true
				wait := m.cfg.LazyTick
				if m.announced != 0 && m.now.Sub(m.announced) < 2*m.cfg.LazyBusy {
					wait = max(wait, m.cfg.LazyBusy)
				}
				out.SetTimer(overlay.Timer{Kind: timerLazy}, wait)
			}
		}
	}
	hops := int32(-1)
	if on.GetTree() == on.GetIncarnation() {
		hops = int32(on.GetHops()) - 1
	}
	m.store.add(entry{on: on, parent: int16(parent), hops: hops, at: m.now}, m.cfg.KeepMessages, m.cfg.KeepBytes)
	m.store.expire(m.now.Add(-m.cfg.Recent))
}

// tick sends the announcements that were collected.
func (m *Machine) tick(out *overlay.Effects) {
	m.announce, m.announced = false, max(m.now, 1)
	for i := range m.neighbors {
		m.flush(&m.neighbors[i], out)
	}
}

func (m *Machine) flush(n *neighbor, out *overlay.Effects) {
	if len(n.lazy) > 0 && n.peer.Name != "" {
		out.Send(n.peer, &messages.PlumIHave{Messages: n.lazy})
	}
	n.lazy = nil
}

// copyOf makes the message for the next hop.
func copyOf(g *messages.PlumGossip) *messages.PlumGossip {
	return &messages.PlumGossip{
		Origin: g.GetOrigin(), Incarnation: g.GetIncarnation(), Seq: g.GetSeq(), Hops: g.GetHops(), Tree: g.GetTree(),
		Spread: g.GetSpread(), Wave: g.GetWave(), Subject: g.GetSubject(), Payload: g.GetPayload(), Root: g.GetRoot(), Lifted: g.GetLifted(), AgeMs: g.GetAgeMs(),
	}
}

// age reads an age from the wire.
func age(ms uint32) time.Duration { return time.Duration(ms) * time.Millisecond }

// String is the links of each tree, on one line: eager ones, then lazy ones.
func (m *Machine) String() string {
	text := fmt.Sprintf("plumtree: %d neighbors, %d kept, %d missing", m.used, m.store.len(), len(m.missing))
	roots := make([]key, 0, len(m.trees))
	for r := range m.trees {
		roots = append(roots, key{incarnation: r})
	}
	sortKeys(roots)
	for _, r := range roots {
		t := m.trees[r.incarnation]
		text += fmt.Sprintf("; tree %s", overlay.Incarnation(r.incarnation))
		for _, lazy := range []bool{false, true} {
			sep := " ["
			for i := range m.neighbors {
				if m.neighbors[i].peer.Name != "" && t.lazy.has(i) == lazy {
					text += sep + m.neighbors[i].peer.Name
					sep = " "
				}
			}
			if sep == " [" {
				text += sep
			}
			text += "]"
		}
	}
	return text
}

// Check implements overlay.Checker.
func (m *Machine) Check() error {
	n := 0
	var used mask
	for i := range m.neighbors {
		if m.neighbors[i].peer.Name != "" {
			n++
			used.set(i)
		}
	}
	switch {
	case n != m.used:
		return fmt.Errorf("plumtree: %d neighbors counted as %d", n, m.used)
	case len(m.trees) > m.cfg.Trees:
		return fmt.Errorf("plumtree: %d trees with room for %d", len(m.trees), m.cfg.Trees)
	case len(m.lifted) > maxLifted:
		return fmt.Errorf("plumtree: %d lifted messages with room for %d", len(m.lifted), maxLifted)
	case len(m.seen.origins) > m.cfg.Origins:
		return fmt.Errorf("plumtree: %d origins with room for %d", len(m.seen.origins), m.cfg.Origins)
	}
	counts := make(map[int][2]int)
	for _, x := range m.missing {
		c := counts[x.by]
		counts[x.by] = [2]int{c[0] + 1, c[1]}
	}
	for _, t := range m.trees {
		c := counts[t.by]
		counts[t.by] = [2]int{c[0], c[1] + 1}
	}
	for i, n := range m.neighbors {
		if c := counts[i]; c != [2]int{n.missing, n.trees} || n.missing > maxMissing {
			return fmt.Errorf("plumtree: %s has %d messages missing of %d, and brought %d trees counted as %d", n.peer.Name, c[0], n.missing, c[1], n.trees)
		}
	}
	for r, t := range m.trees {
		for w := range t.lazy {
			if bits.OnesCount64(t.lazy[w]&^used[w]) > 0 {
				return fmt.Errorf("plumtree: the tree %x has links to nobody", r)
			}
		}
	}
	return m.store.check(m.cfg.KeepMessages, m.cfg.KeepBytes)
}

var (
	_ overlay.Layer   = (*Machine)(nil)
	_ overlay.Checker = (*Machine)(nil)
)
