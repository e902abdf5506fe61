// Package fullmesh is the overlay in which everyone is everyone's neighbor: a
// dial rule over the roster. It takes a hold on the session with each member
// and dials again, with jittered back-off, when one is lost.
//
// Heeds Start, MemberUp, MemberDown, LinkUp, LinkDown and Fired. Notifies
// overlay.NeighborUp and overlay.NeighborDown; the latter also for each redial
// that failed, with its reason, since the roster judges by it.
package fullmesh

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Timers, by peer: the next dial; a guest is no member yet.
const (
	timerDial  overlay.TimerKind = "dial"
	timerGuest overlay.TimerKind = "guest"
)

// maxGuests bounds the links from peers that are no members yet.
const maxGuests = 256

// Config of a full mesh. It must not be changed after New.
type Config struct {
	Self overlay.Peer
	Rand *rand.Rand // the machine's dice
	// Yield is how long the greater of two (name, incarnation) leaves the first
	// dial to the smaller, so that not both dial at once. Our choice: 200 ms.
	Yield time.Duration
	// RetryMin and RetryMax bound the pause between dials. Our choice: 100 ms
	// to 5 s.
	RetryMin, RetryMax time.Duration
	// Take says which members are to be neighbors; nil: all. Dial says which of
	// those this node dials, while it awaits the others; nil: all. Packages
	// clientserver and static are made of these.
	Take, Dial func(overlay.Peer) bool
}

// DefaultConfig returns a Config with the defaults for a node.
func DefaultConfig(self overlay.Peer, rng *rand.Rand) Config {
	return Config{Self: self, Rand: rng, Yield: 200 * time.Millisecond, RetryMin: 100 * time.Millisecond, RetryMax: 5 * time.Second}
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.Self.Name == "" || c.Self.Incarnation == 0 {
		errs = append(errs, errors.New("fullmesh: Config.Self needs a name and an incarnation"))
	}
	if c.Rand == nil {
		errs = append(errs, errors.New("fullmesh: Config.Rand is missing"))
	}
	if c.Yield < 0 || c.RetryMin <= 0 || c.RetryMax < c.RetryMin {
		errs = append(errs, fmt.Errorf("fullmesh: Config times are %v, %v, %v; use positive ones, RetryMax not below RetryMin", c.Yield, c.RetryMin, c.RetryMax))
	}
	return errors.Join(errs...)
}

// member is a member to be linked with.
type member struct {
	peer    overlay.Peer
	up      bool
	dialing bool // a Connect is not answered yet
	tries   int
}

// Machine is the full mesh of one node.
type Machine struct {
	cfg     Config
	members map[string]*member
	guests  map[string]overlay.Peer // linked, and no members yet: they dialed before we heard of them
}

// New makes a full mesh without members.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Machine{cfg: cfg, members: make(map[string]*member), guests: make(map[string]overlay.Peer)}, nil
}

// Step implements overlay.Machine.
func (m *Machine) Step(_ overlay.Time, ev overlay.Event, out *overlay.Effects) {
	switch ev := ev.(type) {
	case overlay.MemberUp:
		m.onMemberUp(ev.Peer, out)
	case overlay.MemberDown:
		if k := m.members[ev.Peer.Name]; k != nil && k.peer.Same(ev.Peer) {
			m.drop(k, out)
		}
		m.dismiss(ev.Peer, out)
	case overlay.LinkUp:
		m.onLinkUp(ev, out)
	case overlay.LinkDown:
		m.onLinkDown(ev, out)
	case overlay.Fired:
		if ev.Timer.Kind == timerGuest {
			m.dismiss(m.guests[ev.Timer.Peer], out)
		} else if k := m.members[ev.Timer.Peer]; k != nil {
			m.dial(k, out)
		}
	}
}

func (m *Machine) onMemberUp(p overlay.Peer, out *overlay.Effects) {
	if p.Name == m.cfg.Self.Name || m.cfg.Take != nil && !m.cfg.Take(p) {
		return
	}
	if k := m.members[p.Name]; k != nil {
		if k.peer.Same(p) {
			k.peer.Addr = p.Addr
			if !k.up && m.dials(p) { // it is back: dial it now
				k.tries = 0
				out.SetTimer(overlay.Timer{Kind: timerDial, Peer: p.Name}, 0)
			}
			return
		}
		m.drop(k, out)
	}
	if g := m.guests[p.Name]; !g.Same(p) {
		m.dismiss(g, out)
	}
	k := &member{peer: p}
	m.members[p.Name] = k
	switch {
	case m.guests[p.Name].Same(p):
		m.forget(p, out)
		k.up = true
		out.Notify(overlay.NeighborUp{Peer: p})
	case !m.dials(p):
	case m.cfg.Self.Compare(p) < 0 || m.cfg.Dial != nil && !m.cfg.Dial(m.cfg.Self):
		m.dial(k, out)
	default:
		out.SetTimer(overlay.Timer{Kind: timerDial, Peer: p.Name}, m.cfg.Yield)
	}
}

// dials reports whether this node dials a member.
func (m *Machine) dials(p overlay.Peer) bool { return m.cfg.Dial == nil || m.cfg.Dial(p) }

func (m *Machine) drop(k *member, out *overlay.Effects) {
	delete(m.members, k.peer.Name)
	out.CancelTimer(overlay.Timer{Kind: timerDial, Peer: k.peer.Name})
	if k.up {
		out.Notify(overlay.NeighborDown{Peer: k.peer, Reason: messages.ReasonClosed})
	}
	if k.up || k.dialing {
		out.Disconnect(k.peer, messages.ReasonDown)
	}
}

func (m *Machine) dial(k *member, out *overlay.Effects) {
	if !k.up && !k.dialing {
		k.dialing = true
		out.Connect(k.peer)
	}
}

func (m *Machine) onLinkUp(ev overlay.LinkUp, out *overlay.Effects) {
	k := m.members[ev.Peer.Name]
	if k == nil || !k.peer.Same(ev.Peer) {
		m.welcome(ev.Peer, out)
		return
	}
	was := k.up
	k.up, k.dialing, k.tries = true, false, 0
	out.CancelTimer(overlay.Timer{Kind: timerDial, Peer: k.peer.Name})
	if !was {
		up := overlay.NeighborUp{Peer: k.peer}
		if !ev.Inbound { // only the dialed side tells what it remembers
			up.Known = ev.Known
			if m.cfg.Dial != nil {
				out.Send(k.peer, &messages.OverlayHello{}) // who awaits us does not dial
			}
		}
		out.Notify(up)
	}
}

// welcome keeps the link of a peer that is to dial us and did so before we heard
// that it is a member, for a while. Others come again, or are dialed.
func (m *Machine) welcome(p overlay.Peer, out *overlay.Effects) {
	if m.dials(p) || m.cfg.Take != nil && !m.cfg.Take(p) || p.Name == m.cfg.Self.Name || len(m.guests) >= maxGuests {
		out.Disconnect(p, messages.ReasonClosed)
		return
	}
	if old, ok := m.guests[p.Name]; ok && !old.Same(p) {
		m.dismiss(old, out)
	}
	m.guests[p.Name] = p
	out.SetTimer(overlay.Timer{Kind: timerGuest, Peer: p.Name}, 2*m.cfg.RetryMax)
}

// forget takes a peer off the guests. It reports whether it was one.
func (m *Machine) forget(p overlay.Peer, out *overlay.Effects) bool {
	if p.Name == "" || !m.guests[p.Name].Same(p) {
		return false
	}
	delete(m.guests, p.Name)
	out.CancelTimer(overlay.Timer{Kind: timerGuest, Peer: p.Name})
	return true
}

// dismiss lets a guest go.
func (m *Machine) dismiss(p overlay.Peer, out *overlay.Effects) {
	if m.forget(p, out) {
		out.Disconnect(p, messages.ReasonClosed)
	}
}

func (m *Machine) onLinkDown(ev overlay.LinkDown, out *overlay.Effects) {
	m.forget(ev.Peer, out)
	k := m.members[ev.Peer.Name]
	if k == nil || !k.peer.Same(ev.Peer) {
		return
	}
	k.up, k.dialing = false, false
	out.Notify(overlay.NeighborDown{Peer: k.peer, Reason: ev.Reason, Known: ev.Known})
	wait := m.cfg.RetryMax
	if k.tries < 10 {
		wait = min(wait, m.cfg.RetryMin<<k.tries)
	}
	k.tries++
	if !m.dials(k.peer) {
		return
	}
	out.SetTimer(overlay.Timer{Kind: timerDial, Peer: k.peer.Name}, wait*3/4+time.Duration(m.cfg.Rand.Int64N(int64(wait)/2+1)))
}

// String is a stable one-line account for golden files.
func (m *Machine) String() string {
	var b strings.Builder
	b.WriteString("fullmesh:")
	for _, name := range slices.Sorted(maps.Keys(m.members)) {
		k := m.members[name]
		fmt.Fprintf(&b, " %s up=%v dialing=%v", name, k.up, k.dialing)
	}
	return b.String()
}

// Check implements overlay.Checker.
func (m *Machine) Check() error {
	if len(m.guests) > maxGuests {
		return fmt.Errorf("fullmesh: %d guests", len(m.guests))
	}
	for name, k := range m.members {
		switch {
		case m.guests[name].Name != "":
			return fmt.Errorf("fullmesh: %s is a member and a guest", name)
		case k.peer.Name != name || name == m.cfg.Self.Name:
			return fmt.Errorf("fullmesh: %q is kept as %q", k.peer.Name, name)
		case k.up && k.dialing:
			return fmt.Errorf("fullmesh: %s is up and being dialed", name)
		}
	}
	return nil
}
