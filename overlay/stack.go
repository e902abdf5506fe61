package overlay

import "fmt"

// Layer is a machine that lies on an overlay in a Stack: a broadcast tree, a
// table of routes. It is fed NeighborUp and NeighborDown.
type Layer interface {
	Machine
	// Owns reports whether an event is for this layer alone: its messages, its
	// timers, what it asked to be measured or was told to publish.
	Owns(ev Event) bool
}

// Stack is a membership overlay with the layers on it, as one machine: they
// share sessions, and what the overlay notifies of neighbors becomes events of
// the layers in the same step. All notices reach the driver too, those of the
// overlay first.
//
// An event that a layer owns goes to that layer; any other goes to the overlay,
// and Start, Leave and Resumed go to all (Leave to the layers first).
type Stack struct {
	base   Machine
	layers []Layer
}

// NewStack joins an overlay and layers, lowest first.
func NewStack(base Machine, layers ...Layer) *Stack { return &Stack{base, layers} }

// Base returns the overlay.
func (s *Stack) Base() Machine { return s.base }

// Layers returns the layers, lowest first; it is not to be changed.
func (s *Stack) Layers() []Layer { return s.layers }

// Step implements Machine.
func (s *Stack) Step(now Time, ev Event, out *Effects) {
	switch ev.(type) {
	case Start, Resumed:
		s.lower(now, ev, out)
		s.each(now, ev, out)
		return
	case Leave:
		s.each(now, ev, out)
		s.lower(now, ev, out)
		return
	}
	for _, l := range s.layers {
		if l.Owns(ev) {
			l.Step(now, ev, out)
			return
		}
	}
	s.lower(now, ev, out)
}

func (s *Stack) each(now Time, ev Event, out *Effects) {
	for _, l := range s.layers {
		l.Step(now, ev, out)
	}
}

// lower steps the overlay and feeds the layers what it notified of neighbors.
func (s *Stack) lower(now Time, ev Event, out *Effects) {
	from := out.Len()
	s.base.Step(now, ev, out)
	for i, n := from, out.Len(); i < n; i++ {
		if out.list[i].Kind != EffectNotify {
			continue
		}
		switch notice := out.list[i].Notice.(type) {
		case NeighborUp:
			s.each(now, notice, out)
		case NeighborDown:
			s.each(now, notice, out)
		}
	}
}

// String joins those of the machines.
func (s *Stack) String() string {
	text := fmt.Sprint(s.base)
	for _, l := range s.layers {
		text += "\n" + fmt.Sprint(l)
	}
	return text
}

// Check implements Checker.
func (s *Stack) Check() error {
	if c, ok := s.base.(Checker); ok {
		if err := c.Check(); err != nil {
			return err
		}
	}
	for _, l := range s.layers {
		if c, ok := l.(Checker); ok {
			if err := c.Check(); err != nil {
				return err
			}
		}
	}
	return nil
}
