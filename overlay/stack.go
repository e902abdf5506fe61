package overlay

import "fmt"

// Layer is a machine that lies on an overlay in a Stack: a broadcast tree, a
// table of routes. It is fed NeighborUp and NeighborDown, and Delivered.
type Layer interface {
	Machine
	// Owns reports whether an event is for this layer alone: its messages, its
	// timers, what it asked to be measured; for a broadcast tree, Publish.
	Owns(ev Event) bool
}

// Stack is a membership overlay with the layers on it, as one machine: they
// share sessions, and what one notifies becomes an event of the others in the
// same step, in the order notified:
//
//   - NeighborUp and NeighborDown of the overlay go to all layers,
//   - Publish of a layer goes to the layer that owns it,
//   - Delivered of a layer goes to all other layers.
//
// All notices but Publish reach the driver too.
//
// An event that a layer owns goes to that layer; any other goes to the overlay,
// and Start, Leave and Resumed go to all (Leave to the layers first).
type Stack struct {
	base   Machine
	layers []Layer
	spans  []span   // of the effects of this step
	few    [4]Layer // backs layers, so that they lie with the rest
}

// span ends the effects of one machine, by index; -1 is the overlay.
type span struct{ end, writer int }

// NewStack joins an overlay and layers, lowest first.
func NewStack(base Machine, layers ...Layer) *Stack {
	s := &Stack{base: base}
	s.layers = append(s.few[:0], layers...)
	return s
}

// Base returns the overlay.
func (s *Stack) Base() Machine { return s.base }

// Layers returns the layers, lowest first; it is not to be changed.
func (s *Stack) Layers() []Layer { return s.layers }

// Step implements Machine.
func (s *Stack) Step(now Time, ev Event, out *Effects) {
	s.spans = s.spans[:0]
	from := out.Len()
	switch ev.(type) {
	case Start, Resumed:
		for i := -1; i < len(s.layers); i++ {
			s.step(i, now, ev, out)
		}
	case Leave:
		for i := range s.layers {
			s.step(i, now, ev, out)
		}
		s.step(-1, now, ev, out)
	default:
		s.step(s.owner(ev), now, ev, out)
	}
	for i, k := from, 0; i < out.Len(); i++ {
		for s.spans[k].end <= i {
			k++
		}
		if out.list[i].Kind == EffectNotify && s.feed(s.spans[k].writer, now, out.list[i].Notice, out) {
			out.list[i].Kind = EffectNone
		}
	}
}

// feed gives one machine's notice to the others; it reports whether the notice
// is done with.
func (s *Stack) feed(writer int, now Time, notice any, out *Effects) bool {
	switch ev := notice.(type) {
	case NeighborUp, NeighborDown, Delivered:
		for j := range s.layers {
			if j != writer {
				s.step(j, now, ev.(Event), out)
			}
		}
	case Publish:
		if j := s.owner(ev); j >= 0 {
			s.step(j, now, ev, out)
			return true
		}
	}
	return false
}

// owner is the index of the layer that owns an event, or -1 for the overlay.
func (s *Stack) owner(ev Event) int {
	for i, l := range s.layers {
		if l.Owns(ev) {
			return i
		}
	}
	return -1
}

// step steps the machine of an index and notes which effects are its.
func (s *Stack) step(i int, now Time, ev Event, out *Effects) {
	if i < 0 {
		s.base.Step(now, ev, out)
	} else {
		s.layers[i].Step(now, ev, out)
	}
	s.spans = append(s.spans, span{out.Len(), i})
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
