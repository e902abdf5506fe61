package sim

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/overlay"
)

// Instance is one of several machines of a node.
type Instance struct {
	Machine overlay.Machine
	// Owns says which messages are its own; for the last instance nil: the rest.
	Owns func(proto.Message) bool
}

// Node is several machines of one node that share its sessions, as the roster
// and the stacks of a running node do: each has its own holds, a message goes
// to the machine that owns its kind, and an inbound session belongs to the one
// that its first message is for. It is a Machine itself.
//
// Notice connects them: it is called for each notice, and may feed others.
type Node struct {
	Notice func(n *Node, from int, notice any)

	instances []Instance
	sessions  map[overlay.Incarnation]*shared
	contacts  map[string]uint8 // who waits for the answer of a contact
	timers    map[overlay.Timer]int
	queue     []fed
	now       overlay.Time
	out       overlay.Effects
}

// shared is what instances have of a session, a bit for each.
type shared struct {
	up      bool
	hold    uint8
	want    uint8
	inbound overlay.LinkUp // not claimed yet, if unclaimed is set
	waiting bool
}

type fed struct {
	to int
	ev overlay.Event
}

// NewNode joins up to eight instances.
func NewNode(notice func(n *Node, from int, notice any), instances ...Instance) *Node {
	return &Node{
		Notice: notice, instances: instances, sessions: make(map[overlay.Incarnation]*shared),
		contacts: make(map[string]uint8), timers: make(map[overlay.Timer]int),
	}
}

// Instance returns a machine.
func (n *Node) Instance(i int) overlay.Machine { return n.instances[i].Machine }

// Feed gives an instance an event, after those in progress.
func (n *Node) Feed(to int, ev overlay.Event) { n.queue = append(n.queue, fed{to, ev}) }

// Step implements overlay.Machine.
func (n *Node) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	n.now = now
	switch ev := ev.(type) {
	case overlay.Start, overlay.Resumed, overlay.Leave, overlay.Join:
		for i := range n.instances {
			n.Feed(i, ev)
		}
	case overlay.Received:
		n.received(ev)
	case overlay.Fired:
		if i, ok := n.timers[ev.Timer]; ok {
			delete(n.timers, ev.Timer)
			n.Feed(i, ev)
		}
	case overlay.LinkUp:
		n.linkUp(ev)
	case overlay.LinkDown:
		n.linkDown(ev)
	case overlay.Command:
		n.Feed(0, ev)
	default:
		n.Feed(len(n.instances)-1, ev)
	}
	for len(n.queue) > 0 {
		f := n.queue[0]
		n.queue = n.queue[1:]
		n.out.Reset()
		n.instances[f.to].Machine.Step(now, f.ev, &n.out)
		for _, e := range n.out.All() {
			n.execute(f.to, e, out)
		}
	}
	n.queue = nil
}

func (n *Node) session(p overlay.Peer) *shared {
	s := n.sessions[p.Incarnation]
	if s == nil {
		s = &shared{}
		n.sessions[p.Incarnation] = s
	}
	return s
}

func (n *Node) received(ev overlay.Received) {
	for i, x := range n.instances {
		if x.Owns != nil && !x.Owns(ev.Msg) {
			continue
		}
		if s := n.session(ev.From); s.hold&(1<<i) == 0 && s.waiting {
			s.hold |= 1 << i
			n.Feed(i, s.inbound)
		}
		n.Feed(i, ev)
		return
	}
}

func (n *Node) linkUp(ev overlay.LinkUp) {
	s := n.session(ev.Peer)
	s.up = true
	want := s.want
	if ev.Contact != "" {
		want |= n.contacts[ev.Contact]
		delete(n.contacts, ev.Contact)
	}
	s.want = 0
	if want == 0 {
		s.inbound, s.waiting = ev, true
	}
	for i := range n.instances {
		if want&(1<<i) != 0 {
			s.hold |= 1 << i
			n.Feed(i, ev)
		}
	}
}

func (n *Node) linkDown(ev overlay.LinkDown) {
	var to uint8
	if ev.Contact != "" {
		to = n.contacts[ev.Contact]
		delete(n.contacts, ev.Contact)
	} else if s := n.sessions[ev.Peer.Incarnation]; s != nil {
		to = s.hold | s.want
		delete(n.sessions, ev.Peer.Incarnation)
	}
	for i := range n.instances {
		if to&(1<<i) != 0 {
			n.Feed(i, ev)
		}
	}
}

func (n *Node) execute(i int, e overlay.Effect, out *overlay.Effects) {
	bit := uint8(1) << i
	switch e.Kind {
	case overlay.EffectConnect:
		n.connect(i, e.Peer, out)
	case overlay.EffectDisconnect:
		if e.Peer.IsContact() {
			n.contacts[e.Peer.Addr] &^= bit
			return
		}
		s := n.sessions[e.Peer.Incarnation]
		if s == nil {
			return
		}
		s.hold &^= bit
		s.want &^= bit
		if s.hold|s.want == 0 {
			delete(n.sessions, e.Peer.Incarnation)
			out.Disconnect(e.Peer, e.Reason)
		}
	case overlay.EffectSetTimer:
		n.timers[e.Timer] = i
		out.SetTimer(e.Timer, e.After)
	case overlay.EffectCancelTimer:
		if n.timers[e.Timer] == i {
			delete(n.timers, e.Timer)
			out.CancelTimer(e.Timer)
		}
	case overlay.EffectNotify:
		out.Notify(e.Notice)
		if n.Notice != nil {
			n.Notice(n, i, e.Notice)
		}
	case overlay.EffectSend:
		out.Send(e.Peer, e.Msg)
	case overlay.EffectMeasure:
		out.Measure(e.Peer)
	case overlay.EffectReject:
		out.Reject(e.Peer, e.Reason)
	}
}

func (n *Node) connect(i int, p overlay.Peer, out *overlay.Effects) {
	bit := uint8(1) << i
	if p.IsContact() {
		first := n.contacts[p.Addr] == 0
		n.contacts[p.Addr] |= bit
		if first {
			out.Connect(p)
		}
		return
	}
	s := n.session(p)
	switch {
	case s.up && s.hold|s.want != 0 || s.up && s.waiting:
		s.hold |= bit
		n.Feed(i, overlay.LinkUp{Peer: p, Generation: 1})
	case s.want == 0:
		s.want = bit
		out.Connect(p)
	default:
		s.want |= bit
	}
}

// String is a line per instance.
func (n *Node) String() string {
	var lines []string
	for _, x := range n.instances {
		lines = append(lines, fmt.Sprint(x.Machine))
	}
	return strings.Join(lines, "\n")
}

// Check implements overlay.Checker.
func (n *Node) Check() error {
	for _, x := range n.instances {
		if c, ok := x.Machine.(overlay.Checker); ok {
			if err := c.Check(); err != nil {
				return err
			}
		}
	}
	return nil
}
