// Package xbot makes a HyParView overlay cheaper without changing how it hangs
// together, by Leitão, Marques, Pereira and Rodrigues (X-BOT: A Protocol for
// Resilient Optimization of Unstructured Overlay Networks, SRDS 2009): now and
// then a node asks one of its passive peers, which is nearer than its farthest
// neighbor, for a swap of two edges among four nodes. Degrees stay as they are,
// and so does connectivity, but for chance.
//
// The machine wraps a hyparview.Machine and is used in its place. The cost of a
// link is what the driver measures: the round trip.
//
// Deviations are in docs/protocols/xbot.md.
package xbot

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/hyparview"
)

// Timers: the next attempt; its decision, when costs have been measured; the
// end of a swap that is stuck, by its part.
const (
	timerAttempt overlay.TimerKind = "xbot-attempt"
	timerDecide  overlay.TimerKind = "xbot-decide"
	timerStuck   overlay.TimerKind = "xbot-stuck"
)

// Config of an X-BOT. It must not be changed after New.
type Config struct {
	HyParView hyparview.Config
	Rand      *rand.Rand // the machine's dice
	// Every is the time between attempts, drawn from 0.9 to 1.1 of it. Our
	// choice: 10 s, as shuffles.
	Every time.Duration
	// Scan is how many passive peers are measured for an attempt, the passive
	// scan length: 2.
	Scan int
	// Unbiased is how many neighbors are never given up for a cheaper one, so
	// that the overlay keeps random edges: 1.
	Unbiased int
	// Wait is how long costs and answers may take. Our choice: 3 s.
	Wait time.Duration
}

// DefaultConfig returns a Config with the defaults for a node.
func DefaultConfig(self overlay.Peer, rng *rand.Rand) Config {
	return Config{HyParView: hyparview.DefaultConfig(self, rng), Rand: rng, Every: 10 * time.Second, Scan: 2, Unbiased: 1, Wait: 3 * time.Second}
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	errs := []error{c.HyParView.Validate()}
	if c.Rand == nil {
		errs = append(errs, errors.New("xbot: Config.Rand is missing"))
	}
	if c.Every <= 0 || c.Wait <= 0 {
		errs = append(errs, fmt.Errorf("xbot: Config times are %v and %v; use positive ones", c.Every, c.Wait))
	}
	if c.Scan < 1 || c.Unbiased < 0 || c.Unbiased >= c.HyParView.Active {
		errs = append(errs, fmt.Errorf("xbot: Config.Scan and Unbiased are %d and %d; use at least 1, and 0 up to but not Active", c.Scan, c.Unbiased))
	}
	return errors.Join(errs...)
}

// part is one node's part in a swap. A node plays one part at a time, but for
// o's, which needs no memory.
type part struct {
	role byte // 'i', 'c' or 'd'; 0: none
	swap uint64
	up   bool         // i and d: the session with the new neighbor is up
	back overlay.Peer // whom to answer: of c i, of d c
	old  overlay.Peer // whom this node gives up: of i o, of c d, of d c
	with overlay.Peer // for whom: of i c, of c i, of d o
	msg  *messages.XbotOptimization
	gain time.Duration // of d: the limit
	init *messages.NodeRef
}

// Machine is the X-BOT of one node.
type Machine struct {
	cfg   Config
	view  *hyparview.Machine
	costs map[string]time.Duration
	scan  []overlay.Peer // candidates of this attempt
	part  part
	swaps uint64 // begun

	// Done counts the swaps that this node began and that were done.
	Done uint64
}

// New makes the X-BOT of a node without neighbors.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	view, err := hyparview.New(cfg.HyParView)
	if err != nil {
		return nil, err
	}
	return &Machine{cfg: cfg, view: view, costs: make(map[string]time.Duration)}, nil
}

// HyParView returns the machine that is wrapped.
func (m *Machine) HyParView() *hyparview.Machine { return m.view }

// Step implements overlay.Machine.
func (m *Machine) Step(now overlay.Time, ev overlay.Event, out *overlay.Effects) {
	switch ev := ev.(type) {
	case overlay.Start:
		m.view.Step(now, ev, out)
		m.later(out)
		return
	case overlay.Measured:
		m.costs[ev.Peer.Name] = max(ev.Cost, 0)
		if m.part.role == 'd' && ev.Peer.Same(m.part.with) {
			m.measured(ev.Cost, out)
		}
		return
	case overlay.Fired:
		switch ev.Timer.Kind {
		case timerAttempt:
			m.later(out)
			m.attempt(out)
			return
		case timerDecide:
			m.decide(out)
			return
		case timerStuck:
			m.end(false, out)
			return
		}
	case overlay.LinkUp:
		if (m.part.role == 'i' || m.part.role == 'd') && !m.part.up && ev.Peer.Same(m.part.with) {
			m.part.up = true
			m.linked(out)
			return
		}
	case overlay.LinkDown:
		if m.part.role != 0 && ev.Peer.Same(m.part.with) {
			m.part.up = false
			m.end(false, out)
		}
	case overlay.Received:
		switch msg := ev.Msg.(type) {
		case *messages.XbotOptimization:
			m.onOptimization(ev.From, msg, out)
			return
		case *messages.XbotReplace:
			m.onReplace(ev.From, msg, out)
			return
		case *messages.XbotSwitch:
			m.onSwitch(ev.From, msg, out)
			return
		case *messages.XbotReply:
			m.onReply(ev.From, msg, out)
			return
		}
	}
	m.view.Step(now, ev, out)
}

func (m *Machine) later(out *overlay.Effects) {
	d := m.cfg.Every
	out.SetTimer(overlay.Timer{Kind: timerAttempt}, d*9/10+time.Duration(m.cfg.Rand.Int64N(int64(d/5)+1)))
}

// biased are the neighbors that may be given up.
func (m *Machine) biased() []overlay.Peer {
	list := m.view.Active()
	return list[min(m.cfg.Unbiased, len(list)):]
}

// worst is the farthest of the neighbors that may be given up.
func (m *Machine) worst(except overlay.Peer) (p overlay.Peer, cost time.Duration, ok bool) {
	for _, q := range m.biased() {
		if c, known := m.costs[q.Name]; known && !q.Same(except) && (!ok || c > cost) {
			p, cost, ok = q, c, true
		}
	}
	return p, cost, ok
}

// attempt measures the neighbors and some candidates. Only a full view is
// optimized (section 4).
func (m *Machine) attempt(out *overlay.Effects) {
	if m.part.role != 0 || !m.view.Full() || len(m.view.Passive()) == 0 {
		return
	}
	var all overlay.View
	for _, p := range m.view.Passive() {
		all.Add(p)
	}
	m.scan = all.Sample(m.scan[:0], m.cfg.Rand, m.cfg.Scan, nil)
	old := m.costs
	m.costs = make(map[string]time.Duration, len(old))
	for _, p := range m.view.Active() {
		if c, ok := old[p.Name]; ok {
			m.costs[p.Name] = c
		}
		out.Measure(p)
	}
	for _, p := range m.scan {
		out.Measure(p)
	}
	out.SetTimer(overlay.Timer{Kind: timerDecide}, m.cfg.Wait)
}

// decide begins a swap with the nearest candidate, if that is nearer than the
// farthest neighbor.
func (m *Machine) decide(out *overlay.Effects) {
	if m.part.role != 0 {
		return
	}
	old, far, ok := m.worst(overlay.Peer{})
	if !ok {
		return
	}
	var with overlay.Peer
	near := far
	for _, p := range m.scan {
		if c, known := m.costs[p.Name]; known && c < near && !slices.ContainsFunc(m.view.Active(), p.Same) {
			with, near = p, c
		}
	}
	if with.Name == "" {
		return
	}
	m.swaps++
	m.begin(part{role: 'i', swap: m.swaps, old: old, with: with, msg: &messages.XbotOptimization{Swap: m.swaps, Old: overlay.Ref(old), GainNs: uint64(far - near)}}, out)
	out.Connect(with)
}

func (m *Machine) begin(p part, out *overlay.Effects) {
	m.part = p
	out.SetTimer(overlay.Timer{Kind: timerStuck}, m.cfg.Wait)
}

// end ends this node's part: with its exchange of neighbors, or without.
func (m *Machine) end(done bool, out *overlay.Effects) {
	p := m.part
	m.part = part{}
	if p.role == 0 {
		return
	}
	out.CancelTimer(overlay.Timer{Kind: timerStuck})
	if done {
		done = m.view.Exchange(p.old, p.with, out) || m.view.Admit(p.with, out)
		if !done { // it believes that we are neighbors
			out.Send(p.with, &messages.HyparDisconnect{})
		} else if p.role == 'i' {
			m.Done++
		}
	}
	if p.role != 'i' {
		out.Send(p.back, &messages.XbotReply{Swap: p.swap, Accepted: done})
	}
	if !done && p.role != 'c' {
		out.Disconnect(p.with, messages.ReasonClosed)
	}
}

// linked: the session with the new neighbor is up.
func (m *Machine) linked(out *overlay.Effects) {
	if m.part.role == 'i' {
		out.Send(m.part.with, m.part.msg)
		return
	}
	out.Measure(m.part.with)
}

// onOptimization is c's part: with room it takes i; else it asks its farthest
// neighbor d whether it would rather have o.
func (m *Machine) onOptimization(from overlay.Peer, msg *messages.XbotOptimization, out *overlay.Effects) {
	old, ok := overlay.DialableOf(msg.GetOld())
	if !ok || msg.GetGainNs() > maxCost {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	if m.view.Admit(from, out) {
		out.Send(from, &messages.XbotReply{Swap: msg.GetSwap(), Accepted: true, Kept: true})
		return
	}
	d, cost, found := m.worst(from)
	if m.part.role != 0 || !found || d.Same(old) || old.Name == m.cfg.HyParView.Self.Name || slices.ContainsFunc(m.view.Active(), from.Same) {
		m.refuse(from, msg.GetSwap(), out)
		return
	}
	// cost(i,c) + cost(d,o) is to be below cost(i,o) + cost(c,d).
	m.begin(part{role: 'c', swap: msg.GetSwap(), back: from, old: d, with: from}, out)
	out.Send(d, &messages.XbotReplace{Swap: msg.GetSwap(), Initiator: overlay.Ref(from), Old: msg.GetOld(), LimitNs: uint64(cost) + msg.GetGainNs()})
}

func (m *Machine) refuse(p overlay.Peer, swap uint64, out *overlay.Effects) {
	out.Send(p, &messages.XbotReply{Swap: swap})
}

// onReplace is d's part: it measures o, and asks it if all four together gain.
func (m *Machine) onReplace(from overlay.Peer, msg *messages.XbotReplace, out *overlay.Effects) {
	old, ok := overlay.DialableOf(msg.GetOld())
	if _, fit := overlay.DialableOf(msg.GetInitiator()); !ok || !fit || msg.GetLimitNs() > 2*maxCost {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	if m.part.role != 0 || old.Name == m.cfg.HyParView.Self.Name || !slices.ContainsFunc(m.biased(), from.Same) || slices.ContainsFunc(m.view.Active(), old.Same) {
		m.refuse(from, msg.GetSwap(), out)
		return
	}
	m.begin(part{role: 'd', swap: msg.GetSwap(), back: from, old: from, with: old, gain: time.Duration(msg.GetLimitNs()), init: msg.GetInitiator()}, out)
	out.Connect(old)
}

func (m *Machine) measured(cost time.Duration, out *overlay.Effects) {
	if cost >= m.part.gain {
		m.end(false, out)
		return
	}
	if m.part.init != nil {
		out.Send(m.part.with, &messages.XbotSwitch{Swap: m.part.swap, Initiator: m.part.init})
		m.part.init = nil
	}
}

// onSwitch is o's part: it gives up i for d, unless i is one of those that it
// keeps.
func (m *Machine) onSwitch(from overlay.Peer, msg *messages.XbotSwitch, out *overlay.Effects) {
	i, ok := overlay.DialableOf(msg.GetInitiator())
	if !ok {
		out.Reject(from, messages.ReasonMalformed)
		return
	}
	done := slices.ContainsFunc(m.biased(), i.Same) && m.view.Exchange(i, from, out)
	out.Send(from, &messages.XbotReply{Swap: msg.GetSwap(), Accepted: done})
}

// onReply goes back from o to d, c and i.
func (m *Machine) onReply(from overlay.Peer, msg *messages.XbotReply, out *overlay.Effects) {
	p := &m.part
	expected := p.with // of i and d
	if p.role == 'c' {
		expected = p.old
	}
	if p.role == 0 || p.swap != msg.GetSwap() || !expected.Same(from) {
		// Too late: who says yes believes that we are neighbors, but for d, who
		// has given us up.
		return
	}
	m.end(msg.GetAccepted(), out)
}

// maxCost bounds the costs that peers tell: an hour.
const maxCost = uint64(time.Hour)

// String is the view and the part that is played, on one line.
func (m *Machine) String() string {
	if m.part.role == 0 {
		return m.view.String()
	}
	return fmt.Sprintf("%v swap=%c:%s>%s", m.view, m.part.role, m.part.old, m.part.with)
}

// Check implements overlay.Checker.
func (m *Machine) Check() error { return m.view.Check() }

var (
	_ overlay.Machine = (*Machine)(nil)
	_ overlay.Checker = (*Machine)(nil)
)
