package hyparview

import (
	"fmt"
	"strings"

	"github.com/maquis-go/maquis/overlay"
)

// String is the views and what goes on, on one line.
func (m *Machine) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "active=%v passive=%v", &m.active, &m.passive)
	for _, p := range m.parting {
		fmt.Fprintf(&b, " parting=%s>%s", p.peer, p.instead)
	}
	if m.last.Name != "" {
		fmt.Fprintf(&b, " last=%s", m.last)
	}
	for _, a := range m.asked {
		fmt.Fprintf(&b, " asked=%s/%d", a.peer, a.why)
	}
	if len(m.kept) > 0 {
		fmt.Fprintf(&b, " kept=%v", m.kept)
	}
	if m.left {
		b.WriteString(" left")
	}
	return b.String()
}

// Check implements overlay.Checker.
func (m *Machine) Check() error {
	if n := m.active.Len(); n > m.cfg.Active {
		return fmt.Errorf("hyparview: %d neighbors with %d places: %v", n, m.cfg.Active, m)
	}
	if n := m.passive.Len(); n > m.cfg.Passive {
		return fmt.Errorf("hyparview: %d passive peers with %d places: %v", n, m.cfg.Passive, m)
	}
	for _, p := range m.active.All() {
		if p.Name == m.cfg.Self.Name {
			return fmt.Errorf("hyparview: a neighbor of itself: %v", m)
		}
		if m.passive.Has(p) {
			return fmt.Errorf("hyparview: %s is in both views: %v", p, m)
		}
		if q, ok := m.isParting(p.Name); ok && q.Same(p) {
			return fmt.Errorf("hyparview: %s is a neighbor and parting: %v", p, m)
		}
	}
	if _, ok := m.passive.Find(m.cfg.Self.Name); ok {
		return fmt.Errorf("hyparview: itself in its passive view: %v", m)
	}
	if len(m.asked) > maxAsked+1 {
		return fmt.Errorf("hyparview: %d requests: %v", len(m.asked), m)
	}
	if m.last.Name != "" && m.active.Len() > 0 {
		return fmt.Errorf("hyparview: %s gave us up last and has no answer, and there are neighbors: %v", m.last, m)
	}
	if m.left && (m.active.Len() > 0 || len(m.asked) > 0 || len(m.parting) > 0) {
		return fmt.Errorf("hyparview: left, and yet: %v", m)
	}
	return nil
}

var (
	_ overlay.Machine = (*Machine)(nil)
	_ overlay.Checker = (*Machine)(nil)
)
