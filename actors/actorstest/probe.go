package actorstest

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Probe is an actor of a node that a test speaks through. What it receives waits
// in its order for the Expect functions, which are for the test's goroutine.
type Probe struct {
	PID  *actor.PID
	n    *Node
	got  chan any
	kept []any
}

// order has the probe's actor do something.
type order func(actor.Context)

// Probe spawns a probe on a node.
func (n *Node) Probe() *Probe {
	p := &Probe{n: n, got: make(chan any, 1<<16)}
	p.PID = n.System.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case order:
			m(c)
		case actor.SystemMessage, actor.AutoReceiveMessage:
			if t, ok := m.(*actor.Terminated); ok {
				p.got <- t
			}
		default:
			p.got <- m
		}
	}))
	return p
}

func (p *Probe) do(f order) { p.n.System.Root.Send(p.PID, f) }

// Send sends without a sender.
func (p *Probe) Send(to *actor.PID, msg any) { p.do(func(c actor.Context) { c.Send(to, msg) }) }

// Request sends with the probe as the sender.
func (p *Probe) Request(to *actor.PID, msg any) {
	p.do(func(c actor.Context) { c.Request(to, msg) })
}

// Watch has the probe watch an actor.
func (p *Probe) Watch(pid *actor.PID) { p.do(func(c actor.Context) { c.Watch(pid) }) }

// Unwatch ends that.
func (p *Probe) Unwatch(pid *actor.PID) { p.do(func(c actor.Context) { c.Unwatch(pid) }) }

// next returns what was received next, or nil after a time.
func (p *Probe) next(within time.Duration) any {
	if len(p.kept) > 0 {
		m := p.kept[0]
		p.kept = p.kept[1:]
		return m
	}
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case m := <-p.got:
		return m
	case <-t.C:
		return nil
	}
}

// Expect returns the next message, which must be a T and come in time. Else the
// test fails.
func Expect[T any](p *Probe, within time.Duration) T {
	p.n.c.t.Helper()
	m := p.next(within)
	got, ok := m.(T)
	switch {
	case m == nil:
		p.n.c.t.Fatalf("%s: no %T came within %v", p.n.name, got, within)
	case !ok:
		p.n.c.t.Fatalf("%s: a %T came, not a %T: %v", p.n.name, m, got, m)
	}
	return got
}

// ExpectTerminated waits for the Terminated of an actor and returns its reason.
// What comes before stays for other expectations.
func (p *Probe) ExpectTerminated(pid *actor.PID, within time.Duration) actor.TerminatedReason {
	p.n.c.t.Helper()
	var before []any
	defer func() { p.kept = append(before, p.kept...) }()
	for end := time.Now().Add(within); ; {
		m := p.next(time.Until(end))
		if m == nil {
			p.n.c.t.Fatalf("%s: no Terminated of %v within %v", p.n.name, pid, within)
		}
		if t, ok := m.(*actor.Terminated); ok && t.Who.Equal(pid) {
			return t.Why
		}
		before = append(before, m)
	}
}

// ExpectNone fails the test if anything comes in a time.
func (p *Probe) ExpectNone(during time.Duration) {
	p.n.c.t.Helper()
	if m := p.next(during); m != nil {
		p.n.c.t.Fatalf("%s: a %T came, and nothing was expected: %v", p.n.name, m, fmt.Sprint(m))
	}
}
