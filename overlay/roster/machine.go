package roster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Timers.
const (
	timerSync    overlay.TimerKind = "sync"
	timerMerge   overlay.TimerKind = "merge"
	timerSweep   overlay.TimerKind = "sweep"
	timerGrace   overlay.TimerKind = "grace"
	timerSuspect overlay.TimerKind = "suspect"
	timerContact overlay.TimerKind = "contact"
)

// sweepEvery is the pause between looks for tombstones that have expired.
const sweepEvery = time.Minute

// Machine is the roster of one node. See the package comment.
type Machine struct {
	cfg      Config
	self     Record
	raw      []byte // self, encoded
	entries  map[string]*entry
	contacts map[string]*contact
	linked   map[string]overlay.Peer // peers on whose session we have a hold of our own
	joined   bool
	leaving  bool
	now      overlay.Time
}

// contact is an address to be called.
type contact struct {
	tries int
	once  bool // a call of the merge timer: not tried again
	busy  bool // a Connect is not answered yet
	peer  overlay.Peer
}

// New makes a roster that knows its own node.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Machine{cfg: cfg, self: cfg.Self, entries: make(map[string]*entry), contacts: make(map[string]*contact), linked: make(map[string]overlay.Peer)}
	m.raw = m.self.encode()
	for _, k := range cfg.Seed {
		if k.Peer.Name != m.self.Peer.Name && k.Validate() == nil {
			m.entries[k.Peer.Name] = &entry{rec: k.Record, raw: k.Record.encode(), status: min(k.Status, StatusLeft)}
			m.joined = true
		}
	}
	return m, nil
}

// Self returns this node's record.
func (m *Machine) Self() Record { return m.self }

// Members returns all that are known, this node included, sorted by name.
func (m *Machine) Members() []Member {
	list := []Member{{Record: m.self}}
	for _, e := range m.entries {
		if e.raw != nil {
			list = append(list, Member{e.rec, e.status})
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return a.Peer.Compare(b.Peer) })
	return list
}

// Step implements overlay.Machine.
func (m *Machine) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	m.now = now
	switch ev := ev.(type) {
	case overlay.Start:
		out.SetTimer(overlay.Timer{Kind: timerSync}, m.jitter(m.cfg.Sync))
		out.SetTimer(overlay.Timer{Kind: timerMerge}, m.jitter(m.cfg.Merge))
		out.SetTimer(overlay.Timer{Kind: timerSweep}, sweepEvery)
		for _, name := range m.names() {
			if m.entries[name].status == StatusSuspect {
				out.SetTimer(overlay.Timer{Kind: timerSuspect, Peer: name}, m.cfg.Suspicion)
			}
		}
	case overlay.Join:
		m.onJoin(ev, out)
	case overlay.Leave:
		m.onLeave(out)
	case overlay.Resumed:
		m.onResumed(out)
	case overlay.Received:
		m.onReceived(ev, out)
	case overlay.Fired:
		m.onFired(ev.Timer, out)
	case overlay.LinkUp:
		m.onLinkUp(ev, out)
	case overlay.LinkDown:
		m.onLinkDown(ev, out)
	case overlay.NeighborUp:
		m.onNeighborUp(ev.Peer, out)
	case overlay.NeighborDown:
		m.onNeighborDown(ev, out)
	case overlay.Command:
		m.onCommand(ev.Order, out)
	}
}

func (m *Machine) onFired(t overlay.Timer, out *overlay.Effects) {
	switch t.Kind {
	case timerSync:
		out.SetTimer(t, m.jitter(m.cfg.Sync))
		if n := m.neighbors(); len(n) > 0 {
			m.sendDigest(n[m.cfg.Rand.IntN(len(n))], false, out)
		}
	case timerMerge:
		out.SetTimer(t, m.jitter(m.cfg.Merge))
		m.merge(out)
	case timerSweep:
		out.SetTimer(t, sweepEvery)
		m.sweep()
	case timerGrace:
		if e := m.entries[t.Peer]; e != nil && e.lost && e.status == StatusAlive {
			m.suspect(e, out)
		}
	case timerSuspect:
		m.onSuspicionOver(t.Peer, out)
	case timerContact:
		m.call(t.Peer, out)
	}
}

func (m *Machine) onReceived(ev overlay.Received, out *overlay.Effects) {
	switch msg := ev.Msg.(type) {
	case *messages.RosterUpdate:
		m.onUpdate(ev.From, msg, out)
	case *messages.RosterDigest:
		m.onDigest(ev.From, msg, out)
	case *messages.RosterSummary:
		m.onSummary(ev.From, msg, out)
	case *messages.RosterPull:
		m.onPull(ev.From, msg, out)
	case *messages.RosterSynced:
		m.onSynced(ev.From, out)
	default:
		out.Reject(ev.From, messages.ReasonUnknownType)
	}
}

func (m *Machine) onCommand(order any, out *overlay.Effects) {
	switch o := order.(type) {
	case SetTags:
		m.self.Tags = maps.Clone(o.Tags)
		m.selfChanged(out)
	case SetKinds:
		m.self.Kinds = slices.Sorted(slices.Values(o.Kinds))
		m.selfChanged(out)
	case ForceLeave:
		if e := m.entries[o.Name]; e != nil && (e.status == StatusDown || e.status == StatusSuspect) {
			m.claim(e, StatusLeft, nil, messages.ReasonDown, overlay.Peer{}, out)
		}
	}
}

// selfChanged makes a new version of our record and spreads it.
func (m *Machine) selfChanged(out *overlay.Effects) {
	m.self.Version++
	m.publishSelf(out)
}

func (m *Machine) publishSelf(out *overlay.Effects) {
	m.raw = m.self.encode()
	out.Notify(SelfChanged{m.self})
	m.spread(&messages.RosterUpdate{Records: [][]byte{m.raw}}, overlay.Peer{}, out)
}

// raise takes a generation above g: a life of this name, or this life, was
// declared over up to g.
func (m *Machine) raise(g uint64, out *overlay.Effects) {
	if g < m.self.Generation || g-m.self.Generation > maxJump {
		return
	}
	m.self.Generation, m.self.Version = g+1, 1
	m.publishSelf(out)
}

// spread sends news to all neighbors and linked contacts but one.
func (m *Machine) spread(msg proto.Message, but overlay.Peer, out *overlay.Effects) {
	for _, p := range m.reach() {
		if !p.Same(but) {
			out.Send(p, msg)
		}
	}
}

// reach returns everyone to whom a link stands, sorted by name.
func (m *Machine) reach() []overlay.Peer {
	list := m.neighbors()
	for _, name := range slices.Sorted(maps.Keys(m.linked)) {
		if e := m.entries[name]; e == nil || !e.neighbor {
			list = append(list, m.linked[name])
		}
	}
	return list
}

// neighbors returns the overlay's neighbors, sorted by name.
func (m *Machine) neighbors() []overlay.Peer {
	var list []overlay.Peer
	for _, name := range m.names() {
		if e := m.entries[name]; e.neighbor {
			list = append(list, e.rec.Peer)
		}
	}
	return list
}

func (m *Machine) names() []string { return slices.Sorted(maps.Keys(m.entries)) }

// jitter spreads a time between three and five quarters of itself.
func (m *Machine) jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(m.cfg.Rand.Int64N(int64(d)/2+1))
}

// sweep forgets tombstones that are old, and the oldest when there are too
// many.
func (m *Machine) sweep() {
	for _, name := range m.names() {
		if e := m.entries[name]; e.status >= StatusDown && m.now.Sub(e.changed) > m.cfg.Tombstones {
			delete(m.entries, name)
		}
	}
}

// String is a stable one-line account for golden files.
func (m *Machine) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s g%d v%d joined=%v:", m.self.Peer, m.self.Generation, m.self.Version, m.joined)
	for _, name := range m.names() {
		e := m.entries[name]
		fmt.Fprintf(&b, " %s=%s/g%d/v%d", name, e.status, e.rec.Generation, e.rec.Version)
		if e.neighbor {
			b.WriteString("/n")
		}
	}
	return b.String()
}

// Check implements overlay.Checker.
func (m *Machine) Check() error {
	if m.entries[m.self.Peer.Name] != nil {
		return fmt.Errorf("roster: %s is in its own list of others", m.self.Peer)
	}
	if len(m.entries) > MaxMembers {
		return fmt.Errorf("roster: %d members, the limit is %d", len(m.entries), MaxMembers)
	}
	for _, name := range m.names() {
		e := m.entries[name]
		switch {
		case e.rec.Peer.Name != name:
			return fmt.Errorf("roster: %q is kept as %q", e.rec.Peer.Name, name)
		case e.neighbor && e.status >= StatusDown:
			return fmt.Errorf("roster: %s is %s and a neighbor", name, e.status)
		case e.raw != nil && e.rec.Validate() != nil:
			return fmt.Errorf("roster: the record of %s: %w", name, e.rec.Validate())
		}
	}
	return nil
}
