package roster

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Timers. There is one of each kind, but per member one timerWatch and
// timerVisit, and per contact one timerContact.
const (
	timerSync    overlay.TimerKind = "sync"    // exchange digests
	timerMerge   overlay.TimerKind = "merge"   // call somebody outside
	timerSweep   overlay.TimerKind = "sweep"   // forget old tombstones
	timerEcho    overlay.TimerKind = "echo"    // joining: stop waiting for a second member
	timerAlone   overlay.TimerKind = "alone"   // tell that we are isolated
	timerWatch   overlay.TimerKind = "watch"   // the member's stage is over
	timerSpread  overlay.TimerKind = "spread"  // tell what the tree has not brought
	timerSpare   overlay.TimerKind = "spare"   // tell what another should have told
	timerGather  overlay.TimerKind = "gather"  // bring on, or tell, what was gathered
	timerProbe   overlay.TimerKind = "probe"   // call the next members
	timerVisit   overlay.TimerKind = "visit"   // release a hold of our own
	timerContact overlay.TimerKind = "contact" // call a contact again
	timerBeacon  overlay.TimerKind = "beacon"  // say, or look, that the tree is whole
)

// sweepEvery is the pause between looks for tombstones that have expired.
const sweepEvery = time.Minute

// Machine is the roster of one node. See the package comment for the events
// that it heeds and the notifications that it makes.
type Machine struct {
	cfg   Config
	self  Record
	table table
	asked map[*entry][]string // of members being asked about: who has not answered yet
	now   overlay.Time

	// Joining.
	contacts map[string]*contact           // by address
	visits   map[string]overlay.Peer       // peers on whose session we took a hold, by name
	dumps    map[overlay.Peer]overlay.Time // what lives were sent the whole roster when
	ahead    map[string]overlay.Peer       // neighbors whose records have not come yet, by name
	vias     []overlay.Peer                // contacts that told all, until we have joined
	echoes   []string                      // members that know us, until we have joined
	joined   bool                          // we may accuse and relay
	visible  bool                          // our record may travel

	probed   map[string]overlay.Peer // members that are being called
	untold   map[string]bool         // members of whom the tree has not brought what we know: to be told soon
	spare    map[string]overlay.Time // the same, if nobody else does by then
	spareAt  overlay.Time            // when timerSpare fires; 0: it is not set
	gather   gathering
	rising   bool         // what is being taken is to be brought on
	compared overlay.Time // when a neighbor was last told how our roster differs
	spoken   overlay.Time // when news of others were last told
	probing  overlay.Time // when timerProbe fires; 0: it is not set
	fallen   int          // members that went down since the last call
	called   overlay.Time // when members were last called for that
	taken    overlay.Peer // the life that owns our name in the eyes of others
	told     bool         // NameTaken was notified
	lonely   bool         // timerAlone is set
	leaving  bool         // farewell was said
	isolated bool
	fromTree bool // what is being taken came over the tree, to all
	beacon   beacon

	// Awareness of our own slowness, see health.go.
	strain int
	quiet  overlay.Time // nobody is accused before
	due    overlay.Time // when timerSync is to fire
}

// New makes a roster that knows its own node and what Config.Seed says.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Spread == nil {
		cfg.Spread = Flood
	}
	m := &Machine{
		cfg: cfg, self: cfg.Self, table: table{byName: make(map[string]*entry)}, asked: make(map[*entry][]string),
		contacts: make(map[string]*contact), visits: make(map[string]overlay.Peer), dumps: make(map[overlay.Peer]overlay.Time), ahead: make(map[string]overlay.Peer), probed: make(map[string]overlay.Peer), untold: make(map[string]bool), spare: make(map[string]overlay.Time), gather: gathering{names: make(map[string]bool), brought: make(map[string]overlay.Peer)},
	}
	m.self.raw = m.self.encode()
	for _, k := range cfg.Seed {
		if k.Record == nil || k.Peer.Name == m.self.Peer.Name || m.table.get(k.Peer.Name) != nil || k.Validate() != nil || len(m.table.order) >= MaxMembers {
			continue
		}
		if k.raw == nil {
			r := *k.Record
			r.raw = r.encode()
			k.Record = &r
		}
		m.table.put(&entry{rec: k.Record, status: min(k.Status, StatusLeft), accused: k.Version})
		m.joined, m.visible = true, true
	}
	return m, nil
}

// Self returns this node's record.
func (m *Machine) Self() Record { return m.self }

// Members returns all whose record is known, this node included, in the order
// of their names: also those that are down or have left, while remembered.
func (m *Machine) Members() []Member {
	list := make([]Member, 0, len(m.table.order)+1)
	self := m.self
	list = append(list, Member{Record: &self})
	for _, e := range m.table.order {
		if e.known() {
			list = append(list, e.member())
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return a.Peer.Compare(b.Peer) })
	return list
}

// Lookup returns what is known of a name: also a tombstone of which only the
// numbers are known.
func (m *Machine) Lookup(name string) (Member, bool) {
	if name == m.self.Peer.Name {
		r := m.self
		return Member{Record: &r}, true
	}
	e := m.table.get(name)
	if e == nil {
		return Nobody, false
	}
	return e.member(), true
}

// Step implements overlay.Machine.
func (m *Machine) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	m.now = now
	switch ev := ev.(type) {
	case overlay.Start:
		m.onStart(out)
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
		m.onNeighborUp(ev, out)
	case overlay.NeighborDown:
		m.onNeighborDown(ev, out)
	case overlay.Delivered:
		m.onDelivered(ev, out)
	case overlay.Command:
		m.onCommand(ev.Order, out)
	}
}

// onDelivered takes news that came over the tree; everyone gets them.
func (m *Machine) onDelivered(ev overlay.Delivered, out *overlay.Effects) {
	if ev.Subject != Subject || ev.From.Name == "" {
		return // another's, or our own
	}
	up := &messages.RosterUpdate{}
	if err := proto.Unmarshal(ev.Payload, up); err != nil {
		out.Reject(ev.From, messages.ReasonMalformed)
		return
	}
	by := overlay.Peer{Name: ev.ID.Origin, Incarnation: ev.ID.Incarnation}
	m.fromTree = true
	m.lit(by)
	m.onUpdate(by, up, out)
	m.fromTree = false
	m.guided(by, ev.From, out)
}

func (m *Machine) onStart(out *overlay.Effects) {
	m.setSync(out)
	out.SetTimer(overlay.Timer{Kind: timerMerge}, m.jitter(m.cfg.Merge))
	out.SetTimer(overlay.Timer{Kind: timerSweep}, sweepEvery)
	if m.cfg.Partial && m.cfg.Tree {
		out.SetTimer(overlay.Timer{Kind: timerBeacon}, m.jitter(m.cfg.Merge))
	}
	for _, e := range m.table.order {
		e.changed = m.now
		if e.status == StatusSuspect {
			m.watch(e, stageSuspect, m.suspicion()/(tries+1), out)
		}
	}
}

func (m *Machine) onFired(t overlay.Timer, out *overlay.Effects) {
	switch t.Kind {
	case timerSync:
		m.onSync(out)
	case timerMerge:
		m.onMerge(out)
	case timerSweep:
		out.SetTimer(t, sweepEvery)
		m.sweep()
	case timerEcho:
		m.join(out)
	case timerSpread:
		m.onSpread(out)
	case timerSpare:
		m.onSpare(out)
	case timerGather:
		m.onGather(out)
	case timerProbe:
		m.onProbe(out)
	case timerAlone:
		m.onAlone(out)
	case timerWatch:
		if e := m.table.get(t.Peer); e != nil {
			m.onWatch(e, out)
		}
	case timerVisit:
		m.onVisitOver(t.Peer, out)
	case timerContact:
		m.call(t.Peer, out)
	case timerBeacon:
		m.onBeacon(out)
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
	case *messages.RosterAsk:
		m.onAsk(ev.From, msg, out)
	case *messages.RosterAnswer:
		m.onAnswer(ev.From, msg, out)
	default:
		out.Reject(ev.From, messages.ReasonUnknownType)
	}
}

func (m *Machine) onCommand(order any, out *overlay.Effects) {
	next := m.self
	switch o := order.(type) {
	case SetTags:
		next.Tags = o.Tags
	case SetKinds:
		next.Kinds = slices.Sorted(slices.Values(o.Kinds))
	case SetLeaving:
		next.Leaving = o.Leaving
	case SetRecord:
		next = o.Record
		next.Peer.Name, next.Peer.Incarnation = m.self.Peer.Name, m.self.Peer.Incarnation
		next.Generation, next.Version = m.self.Generation, m.self.Version
	case overlay.Forget:
		m.forget(o.Contacts, out)
		return
	case ForceLeave:
		if e := m.table.get(o.Name); e != nil && (e.status == StatusDown || e.status == StatusSuspect) {
			s := e.state()
			s.status = StatusLeft
			m.bury(e, s, e.rec.Peer.Addr, []string{m.self.Peer.Name}, m.now, messages.ReasonDown, overlay.Peer{}, out)
		}
		return
	default:
		return
	}
	if next.Validate() != nil {
		out.Reject(m.self.Peer, messages.ReasonTooLarge) // the caller validates before it orders
		return
	}
	m.self = next
	m.newVersion(m.self.Version+1, out)
}

// jitter spreads a time between three and five quarters of itself.
func (m *Machine) jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(m.cfg.Rand.Int64N(int64(d)/2+1))
}

// sweep forgets tombstones whose time is over. Their age counts from the
// declaration, wherever that was, so that all nodes forget at the same time
// and none teaches another anew.
func (m *Machine) sweep() {
	for _, e := range slices.Clone(m.table.order) {
		if e.status >= StatusDown && m.now.Sub(e.changed) > m.cfg.Tombstones {
			m.table.remove(e)
		}
	}
	for life, at := range m.dumps { // order does not matter: nothing leaves
		if m.now.Sub(at) > dumpEvery {
			delete(m.dumps, life)
		}
	}
}
