package roster

import (
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// maxObservers bounds the names kept with a suspicion.
const maxObservers = 16

// onUpdate takes news and passes on what was news to us.
func (m *Machine) onUpdate(from overlay.Peer, up *messages.RosterUpdate, out *overlay.Effects) {
	fresh := &messages.RosterUpdate{}
	m.rising = up.GetRise() && !m.fromTree
	defer func() { m.rising = false }()
	var names []string // of the records in fresh
	for _, b := range up.GetRecords() {
		if e := m.table.holder(b); e != nil && e.status == StatusAlive {
			m.heard(e.rec.Peer.Name)
			continue
		}
		r, err := decodeRecord(b)
		if err != nil {
			out.Reject(from, messages.ReasonMalformed)
			continue
		}
		m.heard(r.Peer.Name)
		if m.takeRecord(from, r, out) {
			fresh.Records = append(fresh.Records, b)
			names = append(names, r.Peer.Name)
		}
	}
	if len(fresh.Records) > 0 {
		m.pass(fresh, names, from, out)
	}
	for _, c := range up.GetClaims() {
		m.heard(c.GetName())
		m.takeClaim(from, c, out)
	}
}

// takeRecord takes what an owner says and reports whether it was news.
func (m *Machine) takeRecord(from overlay.Peer, r *Record, out *overlay.Effects) bool {
	if r.Peer.Name == m.self.Peer.Name {
		m.takeOwnName(from, r, out)
		return false
	}
	e := m.table.get(r.Peer.Name)
	if e == nil {
		e = &entry{rec: r, changed: m.now}
		if !m.makeRoom() {
			out.Reject(from, messages.ReasonLimit)
			return false
		}
		m.table.put(e)
		out.Notify(Up{e.member()})
		m.meet(e, out)
		m.tryJoin(out)
		return true
	}
	s, mine := state{r.Peer.Incarnation, r.Generation, r.Version, StatusAlive}, e.state()
	switch {
	case s.generation > mine.generation && s.generation-mine.generation > maxJump:
		out.Reject(from, messages.ReasonBadFrame)
		return false
	case s.sameLife(mine) && e.status == StatusSuspect && s.version <= e.accused:
		// Of before the suspicion: it refutes nothing, but may have news.
		if s.version <= mine.version {
			return false
		}
		old := e.member()
		m.table.change(e, r, StatusSuspect)
		out.Notify(Updated{old, e.member()})
		return true
	case s.compare(mine) <= 0:
		return false
	case s.incarnation != mine.incarnation:
		m.succeed(e, r, out)
	case mine.final():
		m.revive(e, r, out)
	default:
		m.renew(e, r, out)
	}
	return true
}

// succeed puts another life in the place of one.
func (m *Machine) succeed(e *entry, r *Record, out *overlay.Effects) {
	if !e.state().final() {
		m.unwatch(e, out)
		m.table.link(e, false)
		m.endVisit(e.rec.Peer, out)
		dead := e.member()
		dead.Status = StatusDown
		out.Notify(Down{dead, messages.ReasonPastLife})
		m.checkAlone(out)
	}
	m.revive(e, r, out)
}

// revive makes a name that was gone a member again.
func (m *Machine) revive(e *entry, r *Record, out *overlay.Effects) {
	m.table.change(e, r, StatusAlive)
	e.observers, e.accused, e.verdict, e.changed = nil, 0, nil, m.now
	out.Notify(Up{e.member()})
	m.meet(e, out)
	m.tryJoin(out)
}

// renew takes a newer record of a life that is here. It answers any suspicion
// and any verdict on an older generation.
func (m *Machine) renew(e *entry, r *Record, out *overlay.Effects) {
	old := e.member()
	m.table.change(e, r, StatusAlive)
	e.observers, e.accused = nil, 0
	if v := e.verdict; v != nil && v.GetGeneration() < r.Generation {
		e.verdict = nil
	}
	if old.Status != StatusSuspect {
		out.Notify(Updated{old, e.member()})
		return
	}
	e.changed = m.now
	out.Notify(Cleared{e.member()})
	if e.neighbor {
		m.unwatch(e, out)
	} else { // it lives, though we have no link: ask about it later
		m.vouched(e, out)
	}
}

// makeRoom reports whether an entry can be added; the oldest tombstone gives
// way to one that lives.
func (m *Machine) makeRoom() bool {
	if len(m.table.order) < MaxMembers {
		return true
	}
	old := m.table.oldestTomb()
	if old == nil {
		return false
	}
	m.table.remove(old)
	return true
}

// takeClaim takes what somebody says of a member.
func (m *Machine) takeClaim(from overlay.Peer, c *messages.RosterClaim, out *overlay.Effects) {
	s, name := stateOfClaim(c), c.GetName()
	if !saneClaim(c) {
		out.Reject(from, messages.ReasonBadFrame)
		return
	}
	if name == m.self.Peer.Name {
		m.refute(from, s, out)
		return
	}
	e := m.table.get(name)
	switch {
	case e == nil:
		if s.final() {
			m.remember(c, s)
		}
	case s.generation > e.rec.Generation && s.generation-e.rec.Generation > maxJump:
		out.Reject(from, messages.ReasonBadFrame)
	case s.final():
		m.takeVerdict(from, e, c, out)
	case e.status < StatusDown && s.sameLife(e.state()):
		m.takeSuspicion(from, e, c, out)
	}
}

// saneClaim checks a claim at the border.
func saneClaim(c *messages.RosterClaim) bool {
	s := stateOfClaim(c)
	if c.GetName() == "" || len(c.GetName()) > maxName || len(c.GetAddr()) > maxName || !s.sane() || s.status == StatusAlive || len(c.GetObservers()) > maxObservers {
		return false
	}
	for _, o := range c.GetObservers() {
		if o == "" || len(o) > maxName {
			return false
		}
	}
	return true
}

// since is when the thing claimed was declared, in our time.
func (m *Machine) since(c *messages.RosterClaim) overlay.Time {
	age := min(c.GetAgeMs(), uint64(2*m.cfg.Tombstones/time.Millisecond))
	return m.now.Add(-time.Duration(age) * time.Millisecond)
}

// remember keeps a tombstone of one we never met, so that an old record of it
// is not taken for news. Nobody is told.
func (m *Machine) remember(c *messages.RosterClaim, s state) {
	at := m.since(c)
	if m.now.Sub(at) > m.cfg.Tombstones {
		return
	}
	if m.table.tombs >= maxTombstones {
		old := m.table.oldestTomb()
		if old.changed >= at {
			return
		}
		m.table.remove(old)
	}
	if len(m.table.order) >= MaxMembers {
		return
	}
	m.table.put(&entry{
		rec: &Record{
			Peer:       overlay.Peer{Name: c.GetName(), Incarnation: s.incarnation, Addr: c.GetAddr()},
			Generation: s.generation, Version: s.version,
		},
		status: s.status, observers: c.GetObservers(), changed: at,
	})
}

// maxTombstones bounds those of whom we know nothing but that they are gone.
const maxTombstones = MaxMembers / 4
