package roster

import (
	"fmt"
	"strings"

	"github.com/maquis-go/maquis/overlay"
)

// String is a stable one-line account for golden files: this node, then the
// others as name=status/generation/version, "*" for a neighbor.
func (m *Machine) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/g%d/v%d", m.self.Peer, m.self.Generation, m.self.Version)
	for _, f := range []struct {
		on   bool
		word string
	}{{!m.joined, "joining"}, {m.isolated, "isolated"}, {m.leaving, "left"}, {m.taken.Name != "", "taken"}} {
		if f.on {
			b.WriteString(" " + f.word)
		}
	}
	b.WriteByte(':')
	for _, e := range m.table.order {
		fmt.Fprintf(&b, " %s=%s/g%d/v%d", e.rec.Peer.Name, e.status, e.rec.Generation, e.rec.Version)
		if e.neighbor {
			b.WriteByte('*')
		}
	}
	return b.String()
}

// Check implements overlay.Checker.
func (m *Machine) Check() error {
	t := &m.table
	switch {
	case t.get(m.self.Peer.Name) != nil:
		return fmt.Errorf("roster: %s is in its own list of others", m.self.Peer)
	case len(t.order) > MaxMembers || len(t.order) != len(t.byName):
		return fmt.Errorf("roster: %d members in order, %d by name, the limit is %d", len(t.order), len(t.byName), MaxMembers)
	case len(m.contacts) > maxContacts+1 || len(m.dumps) > maxDumps || len(m.vias) > len(m.contacts)+1:
		return fmt.Errorf("roster: %d contacts, %d dumps, %d vias", len(m.contacts), len(m.dumps), len(m.vias))
	case m.joined && len(m.vias)+len(m.echoes) > 0:
		return fmt.Errorf("roster: joined, and waiting for an echo")
	case len(m.spare) > 0 && m.spareAt == 0:
		return fmt.Errorf("roster: %d members are to be told of, and no timer is set", len(m.spare))
	case m.self.Validate() != nil:
		return fmt.Errorf("roster: our own record: %w", m.self.Validate())
	}
	near, tombs, doubts, sums := 0, 0, 0, [buckets]uint64{}
	for i, e := range t.order {
		name := e.rec.Peer.Name
		sums[bucketOf(name)] += hashOf(name, e.state())
		if e.status >= StatusDown {
			tombs++
		}
		if e.status == StatusSuspect {
			doubts++
		}
		if e.neighbor {
			if near >= len(t.near) || t.near[near] != e {
				return fmt.Errorf("roster: %s is missing among the neighbors", name)
			}
			near++
		}
		if err := m.checkEntry(e); err != nil {
			return err
		}
		if i > 0 && t.order[i-1].rec.Peer.Name >= name || t.byName[name] != e {
			return fmt.Errorf("roster: %q is not in its place", name)
		}
	}
	switch {
	case near != len(t.near) || tombs != t.tombs || doubts != t.doubts:
		return fmt.Errorf("roster: %d neighbors, %d tombstones, %d suspects; counted %d, %d, %d", near, tombs, doubts, len(t.near), t.tombs, t.doubts)
	case sums != t.sums:
		return fmt.Errorf("roster: the digest is not that of the entries")
	}
	return nil
}

func (m *Machine) checkEntry(e *entry) error {
	name := e.rec.Peer.Name
	switch {
	case e.status >= StatusDown && (e.neighbor || e.stage != stageFine || e.verdict != nil):
		return fmt.Errorf("roster: %s is %s and still watched (neighbor %v, stage %d)", name, e.status, e.neighbor, e.stage)
	case e.status == StatusSuspect && e.stage != stageSuspect || e.status == StatusAlive && e.stage == stageSuspect:
		return fmt.Errorf("roster: %s is %s in stage %d", name, e.status, e.stage)
	case e.stage != stageFine && e.due == overlay.Never:
		return fmt.Errorf("roster: %s is watched without an end", name)
	case e.neighbor && e.status == StatusAlive && e.stage != stageFine:
		return fmt.Errorf("roster: %s is a neighbor in stage %d", name, e.stage)
	case e.status < StatusDown && e.rec.Validate() != nil:
		return fmt.Errorf("roster: the record of %s: %w", name, e.rec.Validate())
	case len(e.observers) > maxObservers:
		return fmt.Errorf("roster: %d observers of %s", len(e.observers), name)
	}
	return nil
}
