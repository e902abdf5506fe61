package roster

import (
	"hash/fnv"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// buckets is the number of parts in which digests compare rosters.
const buckets = 64

// page bounds the bytes of records or heads in one message.
const page = 32 << 10

func bucketOf(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32() % buckets
}

// head is one line of a digest. Suspicion is left out: it is spread as news
// and dies by itself.
func head(s state, name string) []byte {
	if s.status == StatusSuspect {
		s.status = StatusAlive
	}
	b := append([]byte(name), 0)
	b = strconv.AppendUint(b, uint64(s.incarnation), 36)
	b = strconv.AppendUint(append(b, '/'), s.generation, 36)
	if s.status < StatusDown { // the version of one that is gone does not matter
		b = strconv.AppendUint(append(b, '/'), s.version, 36)
	}
	return append(b, '/', byte(s.status))
}

// digest hashes the roster by buckets. The sum of hashes does not depend on
// order.
func (m *Machine) digest() []uint64 {
	sums := make([]uint64, buckets)
	add := func(name string, s state) {
		h := fnv.New64a()
		_, _ = h.Write(head(s, name))
		sums[bucketOf(name)] += h.Sum64()
	}
	add(m.self.Peer.Name, m.selfState())
	for name, e := range m.entries {
		add(name, e.state())
	}
	return sums
}

func (m *Machine) selfState() state {
	return state{m.self.Peer.Incarnation, m.self.Generation, m.self.Version, StatusAlive}
}

func (m *Machine) sendDigest(to overlay.Peer, joining bool, out *overlay.Effects) {
	out.Send(to, &messages.RosterDigest{Buckets: m.digest(), Joining: joining})
}

// onDigest answers with the heads of what differs, or to a joining node with
// everything.
func (m *Machine) onDigest(from overlay.Peer, d *messages.RosterDigest, out *overlay.Effects) {
	if len(d.GetBuckets()) != buckets {
		out.Reject(from, messages.ReasonBadFrame)
		return
	}
	if d.GetJoining() {
		m.sendRecords(from, func(string) bool { return true }, out)
		out.Send(from, &messages.RosterSynced{Members: uint32(len(m.entries) + 1)})
		return
	}
	mine := m.digest()
	differs := make(map[uint32]bool)
	var which []uint32
	for i := range uint32(buckets) {
		if mine[i] != d.GetBuckets()[i] {
			differs[i] = true
			which = append(which, i)
		}
	}
	if len(which) == 0 {
		return
	}
	sum := &messages.RosterSummary{}
	size := 0
	flush := func(done []uint32) {
		sum.Buckets = done
		out.Send(from, sum)
		sum, size = &messages.RosterSummary{}, 0
	}
	var done []uint32
	names := append(m.names(), m.self.Peer.Name)
	for _, b := range which {
		if size > page {
			flush(done)
			done = nil
		}
		for _, name := range names {
			if bucketOf(name) != b {
				continue
			}
			s := m.selfState()
			if e := m.entries[name]; e != nil {
				s = e.state()
			}
			sum.Heads = append(sum.Heads, &messages.RosterHead{Name: name, Incarnation: uint64(s.incarnation), Generation: s.generation, Version: s.version, Status: messages.RosterStatus(s.status)})
			size += len(name) + 32
		}
		done = append(done, b)
	}
	flush(done)
}

// onSummary pulls what the peer knows better and sends what we know better.
func (m *Machine) onSummary(from overlay.Peer, sum *messages.RosterSummary, out *overlay.Effects) {
	theirs := make(map[string]bool, len(sum.GetHeads()))
	send := make(map[string]bool)
	pull := &messages.RosterPull{}
	for _, h := range sum.GetHeads() {
		name := h.GetName()
		theirs[name] = true
		s := state{overlay.Incarnation(h.GetIncarnation()), h.GetGeneration(), h.GetVersion(), Status(min(max(h.GetStatus(), 0), 3))}
		mine, ok := m.selfState(), true
		if name != m.self.Peer.Name {
			e := m.entries[name]
			if ok = e != nil; ok {
				mine = e.state()
			}
		}
		switch c := s.compare(mine); {
		case !ok || c > 0:
			pull.Names = append(pull.Names, name)
		case c < 0:
			send[name] = true
		}
	}
	for _, b := range sum.GetBuckets() {
		for _, name := range append(m.names(), m.self.Peer.Name) {
			if bucketOf(name) == b && !theirs[name] {
				send[name] = true
			}
		}
	}
	if len(pull.Names) > 0 {
		out.Send(from, pull)
	}
	if len(send) > 0 {
		m.sendRecords(from, func(n string) bool { return send[n] }, out)
	}
}

func (m *Machine) onPull(from overlay.Peer, p *messages.RosterPull, out *overlay.Effects) {
	want := make(map[string]bool, len(p.GetNames()))
	for _, n := range p.GetNames() {
		want[n] = true
	}
	m.sendRecords(from, func(n string) bool { return want[n] }, out)
}

// sendRecords sends accounts of the members chosen, a page at a time.
func (m *Machine) sendRecords(to overlay.Peer, which func(string) bool, out *overlay.Effects) {
	up := &messages.RosterUpdate{}
	size := 0
	if which(m.self.Peer.Name) {
		up.Records = append(up.Records, m.raw)
		size += len(m.raw)
	}
	for _, name := range m.names() {
		if !which(name) {
			continue
		}
		e := m.entries[name]
		if size > page {
			out.Send(to, up)
			up, size = &messages.RosterUpdate{}, 0
		}
		if e.raw != nil {
			up.Records = append(up.Records, e.raw)
			size += len(e.raw)
		}
		if e.status != StatusAlive {
			up.Claims = append(up.Claims, claimOf(e))
			size += len(name) + 64
		}
	}
	if len(up.Records)+len(up.Claims) > 0 {
		out.Send(to, up)
	}
}

// onUpdate takes news and passes on what was news to us.
func (m *Machine) onUpdate(from overlay.Peer, up *messages.RosterUpdate, out *overlay.Effects) {
	fresh := &messages.RosterUpdate{}
	for _, b := range up.GetRecords() {
		r, err := decodeRecord(b)
		if err != nil {
			out.Reject(from, messages.ReasonMalformed)
			continue
		}
		if m.takeRecord(from, r, b, out) {
			fresh.Records = append(fresh.Records, slices.Clone(b))
		}
	}
	if len(fresh.Records) > 0 {
		m.spread(fresh, from, out)
	}
	for _, c := range up.GetClaims() {
		m.takeClaim(from, c, out)
	}
}

// takeRecord takes a record and reports whether it was news.
func (m *Machine) takeRecord(from overlay.Peer, r Record, raw []byte, out *overlay.Effects) bool {
	name := r.Peer.Name
	if name == m.self.Peer.Name {
		m.takeOwnName(from, r, out)
		return false
	}
	e := m.entries[name]
	if e == nil {
		if len(m.entries) >= MaxMembers {
			out.Reject(from, messages.ReasonLimit)
			return false
		}
		e = &entry{rec: r, raw: slices.Clone(raw), changed: m.now}
		m.entries[name] = e
		out.Notify(Up{Member{r, StatusAlive}})
		return true
	}
	s := state{r.Peer.Incarnation, r.Generation, r.Version, StatusAlive}
	if r.Generation > e.rec.Generation && r.Generation-e.rec.Generation > maxJump {
		out.Reject(from, messages.ReasonBadFrame)
		return false
	}
	if e.raw == nil && s.incarnation == e.rec.Peer.Incarnation && s.generation == e.rec.Generation {
		e.rec, e.raw = r, slices.Clone(raw) // the record behind a claim that came first
		return false
	}
	if s.compare(state{e.rec.Peer.Incarnation, e.rec.Generation, e.rec.Version, min(e.status, StatusDown)}) <= 0 || s.compare(e.state()) <= 0 {
		return false
	}
	old := Member{e.rec, e.status}
	known := e.raw != nil
	sameLife := e.rec.Peer.Incarnation == r.Peer.Incarnation
	neighbor := e.neighbor && sameLife
	if !sameLife && e.status < StatusDown && known {
		// The next life of the name is here, so the old one is gone.
		m.dropLife(e, out)
	}
	*e = entry{rec: r, raw: slices.Clone(raw), changed: m.now, neighbor: neighbor, lost: e.lost && sameLife && e.status == StatusAlive}
	out.CancelTimer(overlay.Timer{Kind: timerSuspect, Peer: name})
	now := Member{r, StatusAlive}
	switch {
	case !sameLife || old.Status >= StatusDown || !known:
		out.Notify(Up{now})
	case old.Status == StatusSuspect:
		out.Notify(Cleared{now})
		if !neighbor { // it lives, though we have no link: look again later
			e.lost = true
			out.SetTimer(overlay.Timer{Kind: timerGrace, Peer: name}, 4*m.cfg.Suspicion)
		}
	default:
		out.Notify(Updated{old, now})
	}
	return true
}

// dropLife tells of the end of a life that another has followed.
func (m *Machine) dropLife(e *entry, out *overlay.Effects) {
	out.CancelTimer(overlay.Timer{Kind: timerGrace, Peer: e.rec.Peer.Name})
	if p, ok := m.linked[e.rec.Peer.Name]; ok && p.Same(e.rec.Peer) {
		delete(m.linked, e.rec.Peer.Name)
		out.Disconnect(p, messages.ReasonDown)
	}
	out.Notify(Down{Member: Member{e.rec, StatusDown}, Reason: messages.ReasonPastLife})
}

// takeOwnName takes a record under our own name.
func (m *Machine) takeOwnName(from overlay.Peer, r Record, out *overlay.Effects) {
	if r.Peer.Incarnation == m.self.Peer.Incarnation {
		if r.Generation > m.self.Generation || r.Generation == m.self.Generation && r.Version > m.self.Version {
			out.Reject(from, messages.ReasonBadFrame) // nobody but us makes our records
		}
		return
	}
	s := state{r.Peer.Incarnation, r.Generation, r.Version, StatusAlive}
	if s.compare(m.selfState()) > 0 {
		out.Notify(NameTaken{})
	}
}

// takeClaim takes what somebody says of a member.
func (m *Machine) takeClaim(from overlay.Peer, c *messages.RosterClaim, out *overlay.Effects) {
	s := state{overlay.Incarnation(c.GetIncarnation()), c.GetGeneration(), c.GetVersion(), Status(min(max(c.GetStatus(), 0), 3))}
	name := c.GetName()
	if name == "" || len(name) > maxName || s.generation == 0 || s.incarnation == 0 || s.status == StatusAlive {
		out.Reject(from, messages.ReasonBadFrame)
		return
	}
	by := c.GetObservers()
	if len(by) > 16 {
		by = by[:16]
	}
	if name == m.self.Peer.Name {
		m.refute(s, out)
		return
	}
	e := m.entries[name]
	if e == nil {
		if s.status == StatusSuspect || len(m.entries) >= MaxMembers {
			return
		}
		// A tombstone of one we never met: remembered, so that old records of it
		// are not taken for news.
		m.entries[name] = &entry{rec: Record{Peer: overlay.Peer{Name: name, Incarnation: s.incarnation}, Generation: s.generation, Version: max(s.version, 1)}, status: s.status, observers: slices.Clone(by), changed: m.now}
		return
	}
	if s.incarnation != e.rec.Peer.Incarnation || s.generation != e.rec.Generation || s.compare(e.state()) <= 0 {
		return
	}
	if s.status == StatusSuspect && s.version < e.rec.Version {
		return // refuted already
	}
	if s.status == StatusDown && e.neighbor {
		// We have a link to it: it lives. It hears of it and returns with a new
		// generation.
		out.Send(e.rec.Peer, &messages.RosterUpdate{Claims: []*messages.RosterClaim{proto.CloneOf(c)}})
		return
	}
	m.claim(e, s.status, slices.Clone(by), messages.ReasonDown, from, out)
}

// refute answers what others say of us: a suspicion with a higher version, a
// death with a higher generation.
func (m *Machine) refute(s state, out *overlay.Effects) {
	if s.incarnation != m.self.Peer.Incarnation || m.leaving {
		return
	}
	switch {
	case s.status >= StatusDown && s.generation >= m.self.Generation:
		m.raise(s.generation, out)
	case s.status == StatusSuspect && s.generation == m.self.Generation && s.version >= m.self.Version && s.version-m.self.Version < maxJump:
		m.self.Version = s.version
		m.selfChanged(out)
	}
}
