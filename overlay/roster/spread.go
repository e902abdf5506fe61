package roster

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// passMost bounds to how many neighbors news of others are passed on: in a
// full mesh their origin has sent them to everyone itself.
const passMost = 16

// spread sends news of our own making to all neighbors, and to those whom we
// visit, but one.
func (m *Machine) spread(news *messages.RosterUpdate, but overlay.Peer, out *overlay.Effects) {
	if m.cfg.Tree {
		if b, err := proto.Marshal(news); err == nil && len(m.table.near)+len(m.ahead) > 0 {
			out.Notify(overlay.Publish{Subject: Subject, Payload: b})
		}
		return
	}
	to := m.reach()
	to = slices.DeleteFunc(to, but.Same)
	if len(to) > 0 {
		m.cfg.Spread(news, to, out)
	}
}

// pass sends on what others told us, once: what it says is known then. names are
// those of the records in it. A node that is still joining, or is no member, relays
// nothing.
func (m *Machine) pass(news *messages.RosterUpdate, names []string, from overlay.Peer, out *overlay.Effects) {
	if !m.joined || m.taken.Name != "" || m.fromTree {
		return
	}
	if m.cfg.Tree {
		for _, name := range names {
			_, joining := m.dumps[overlay.Peer{Name: name, Incarnation: m.table.get(name).rec.Peer.Incarnation}]
			m.later(name, joining, out)
		}
		for _, c := range news.GetClaims() { // who made it has told the tree, too, or has us bring it on
			m.bad(c.GetName(), m.rising, out)
		}
		return
	}
	if len(m.table.near) <= passMost {
		m.spread(news, from, out)
	} else if to := m.sample(passMost, from); len(to) > 0 {
		m.cfg.Spread(news, to, out)
	}
}

// later has news of a member told over the tree in a moment, with others, unless
// the tree brings them until then: what one neighbor tells, all others of its
// hear, too, and one word over the tree reaches all. Who was not the contact of a
// member that joins, or the one who accuses another, waits long: it is there in
// case that those are gone.
func (m *Machine) later(name string, soon bool, out *overlay.Effects) {
	if !soon {
		m.keep(name, 3*m.cfg.Grace, out)
		return
	}
	if len(m.untold) == 0 {
		wait := m.cfg.Grace / 4
		if m.spoken != 0 && m.now.Sub(m.spoken) < 2*m.cfg.Grace {
			wait = m.cfg.Grace / 2 // there is much to tell
		}
		out.SetTimer(overlay.Timer{Kind: timerSpread}, m.jitter(wait))
	}
	m.untold[name] = true
}

// keep has news of a member told after a while, unless the tree brings them until then.
func (m *Machine) keep(name string, wait time.Duration, out *overlay.Effects) {
	wait = m.jitter(wait)
	at := m.now.Add(wait)
	if m.spareAt == 0 || at < m.spareAt {
		m.spareAt = at
		out.SetTimer(overlay.Timer{Kind: timerSpare}, wait)
	}
	if old, ok := m.spare[name]; !ok || at < old {
		m.spare[name] = at
	}
}

// bad is later for a member that is suspect or gone.
func (m *Machine) bad(name string, soon bool, out *overlay.Effects) {
	if soon && m.gathers() {
		m.collect(name, out)
		return
	}
	m.later(name, soon, out)
}

// tell tells what we found of a member: at once, or with more of it when we
// spoke a moment ago. So a crash is told without delay, and that of hundreds at
// once, each seen by several, is not hundreds of words from each of these.
func (m *Machine) tell(e *entry, but overlay.Peer, out *overlay.Effects) {
	if m.cfg.Tree && m.spoken != 0 && m.now.Sub(m.spoken) < 2*m.cfg.Grace || m.gathers() {
		m.bad(e.rec.Peer.Name, true, out)
		return
	}
	if m.cfg.Tree {
		m.spoken = max(m.now, 1)
	}
	m.spread(&messages.RosterUpdate{Claims: []*messages.RosterClaim{m.claimOf(e)}}, but, out)
}

// onSpread tells what the tree has not brought.
func (m *Machine) onSpread(out *overlay.Effects) {
	m.say(slices.Sorted(maps.Keys(m.untold)), out)
}

// onSpare tells what nobody has told for long.
func (m *Machine) onSpare(out *overlay.Effects) {
	var due []string
	m.spareAt = 0
	for name, at := range m.spare {
		switch next := max(at, m.now.Add(m.cfg.Grace/4)); { // those that are due soon wait for each other
		case at <= m.now:
			due = append(due, name)
		case m.spareAt == 0 || next < m.spareAt:
			m.spareAt = next
		}
	}
	if m.spareAt != 0 {
		out.SetTimer(overlay.Timer{Kind: timerSpare}, m.spareAt.Sub(m.now))
	}
	if len(due) > 0 {
		slices.Sort(due)
		m.say(due, out)
	}
}

// say tells the tree what we hold of members.
func (m *Machine) say(names []string, out *overlay.Effects) {
	m.spoken = max(m.now, 1)
	for _, news := range m.newsOf(names) {
		m.spread(news, overlay.Peer{}, out)
	}
}

// maxTold bounds the news in one word over the tree, in bytes.
const maxTold = 32 << 10

// newsOf is what we hold of members, and may tell. It is not to be told again.
func (m *Machine) newsOf(names []string) (list []*messages.RosterUpdate) {
	news, size := &messages.RosterUpdate{}, 0
	for _, name := range names {
		m.untell(name)
		e := m.table.get(name)
		if e == nil || !m.joined || m.leaving || m.taken.Name != "" {
			continue
		}
		if e.status == StatusAlive && e.rec.raw != nil {
			news.Records = append(news.Records, e.rec.raw)
		}
		if e.status > StatusAlive {
			news.Claims = append(news.Claims, m.claimOf(e))
		}
		if size += len(e.rec.raw) + 256; size > maxTold {
			list = append(list, news)
			news, size = &messages.RosterUpdate{}, 0
		}
	}
	if size > 0 {
		list = append(list, news)
	}
	return list
}

// heard: the tree has brought news of a member.
func (m *Machine) heard(name string) {
	if m.fromTree {
		m.untell(name)
	}
}

func (m *Machine) untell(name string) {
	delete(m.untold, name)
	delete(m.spare, name)
	delete(m.gather.names, name)
	delete(m.gather.brought, name)
}

// reach returns everyone to whom a link stands: neighbors by name, then those
// whom we visit.
func (m *Machine) reach() []overlay.Peer {
	list := make([]overlay.Peer, 0, len(m.table.near)+len(m.visits))
	for _, e := range m.table.near {
		list = append(list, e.rec.Peer)
	}
	n := len(list)
	for name, p := range m.visits {
		if e := m.table.get(name); e == nil || !e.neighbor {
			list = append(list, p)
		}
	}
	slices.SortFunc(list[n:], overlay.Peer.Compare)
	return list
}

// sample returns up to n random neighbors but one, in random order.
func (m *Machine) sample(n int, but overlay.Peer) []overlay.Peer {
	list := make([]overlay.Peer, 0, len(m.table.near))
	for _, e := range m.table.near {
		if !e.rec.Peer.Same(but) {
			list = append(list, e.rec.Peer)
		}
	}
	n = min(n, len(list))
	for i := range n {
		j := i + m.cfg.Rand.IntN(len(list)-i)
		list[i], list[j] = list[j], list[i]
	}
	return list[:n]
}
