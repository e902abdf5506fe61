package overlaytest

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Dice draws choices from the bytes of a fuzzer. When they are used up every
// draw is zero.
type Dice struct{ data []byte }

// NewDice makes dice from bytes.
func NewDice(data []byte) *Dice { return &Dice{data} }

// Done reports whether the bytes are used up.
func (d *Dice) Done() bool { return len(d.data) == 0 }

// Byte draws a byte.
func (d *Dice) Byte() byte {
	if len(d.data) == 0 {
		return 0
	}
	b := d.data[0]
	d.data = d.data[1:]
	return b
}

// N draws a number below n, which is at most 256.
func (d *Dice) N(n int) int { return int(d.Byte()) % n }

// Uint draws a number, often a small one and sometimes an extreme one.
func (d *Dice) Uint() uint64 {
	switch b := d.Byte(); {
	case b < 200:
		return uint64(b % 5)
	case b < 220:
		return 1<<(b%64) + uint64(d.Byte())
	case b < 240:
		return ^uint64(0) - uint64(d.Byte()%3)
	default:
		return uint64(d.Byte())<<32 | uint64(d.Byte())
	}
}

// Drive feeds a machine random events that are legal under the contract of
// package overlay: only timers that are set fire, each Connect is answered
// once, links go down only when they are up. It returns the trace of effects,
// so that two runs can be compared.
type Drive struct {
	Machine overlay.Machine
	Peers   []overlay.Peer // who may speak, be linked, become a neighbor
	// Message makes a message from a peer; Order an order, or nil.
	Message func(d *Dice, from overlay.Peer) proto.Message
	Order   func(d *Dice) any
	// Event makes other events; nil, or its nil result: none.
	Event func(d *Dice) overlay.Event
	// Below: the machine lies below a driver that feeds it members (a dial
	// rule); otherwise it is fed neighbors (a roster).
	Below bool
	// Check is called after each step.
	Check func(now overlay.Time, effects []overlay.Effect)
}

var reasons = []messages.Reason{
	messages.ReasonRefused, messages.ReasonTimeout, messages.ReasonSilent, messages.ReasonReset, messages.ReasonDown,
	messages.ReasonNameTaken, messages.ReasonWrongName, messages.ReasonSelf, messages.ReasonDisconnected,
}

type setTimer struct {
	key overlay.Timer
	due overlay.Time
}

// Run drives the machine until the dice are used up.
func (v *Drive) Run(d *Dice) []string {
	var (
		now    overlay.Time
		out    overlay.Effects
		trace  []string
		timers []setTimer
		calls  []overlay.Peer
		links  []overlay.Peer
	)
	step := func(ev overlay.Event) {
		r := &Recorder{Name: "x", Machine: v.Machine, Lines: func(s string) { trace = append(trace, s) }}
		out.Reset()
		r.Step(now, ev, &out)
		for _, e := range out.All() {
			switch e.Kind {
			case overlay.EffectSetTimer, overlay.EffectCancelTimer:
				timers = slices.DeleteFunc(timers, func(t setTimer) bool { return t.key == e.Timer })
				if e.Kind == overlay.EffectSetTimer {
					timers = append(timers, setTimer{e.Timer, now.Add(e.After)})
				}
			case overlay.EffectConnect:
				if !slices.Contains(calls, e.Peer) {
					calls = append(calls, e.Peer)
				}
			case overlay.EffectDisconnect:
				links = slices.DeleteFunc(links, e.Peer.Same)
				calls = slices.DeleteFunc(calls, func(p overlay.Peer) bool { return !p.IsContact() && p.Same(e.Peer) })
			}
		}
		if v.Check != nil {
			v.Check(now, out.All())
		}
	}
	step(overlay.Start{})
	for !d.Done() {
		p := v.Peers[d.N(len(v.Peers))]
		switch d.N(12) {
		case 0, 1, 2:
			step(overlay.Received{From: p, Msg: v.Message(d, p)})
		case 3, 4: // the next timer fires, perhaps late
			if len(timers) == 0 {
				break
			}
			i := 0
			for j := range timers {
				if timers[j].due < timers[i].due {
					i = j
				}
			}
			t := timers[i]
			timers = slices.Delete(timers, i, i+1)
			now = max(now, t.due)
			if d.N(8) == 0 {
				now = now.Add(time.Duration(d.Byte()) * 50 * time.Millisecond)
			}
			step(overlay.Fired{Timer: t.key})
		case 5, 6: // a call is answered
			if len(calls) == 0 {
				break
			}
			i := d.N(len(calls))
			c := calls[i]
			calls = slices.Delete(calls, i, i+1)
			contact := ""
			if c.IsContact() {
				contact = c.Addr
			} else {
				p = c
			}
			if d.N(3) == 0 {
				step(overlay.LinkDown{Peer: c, Reason: reasons[d.N(len(reasons))], Known: d.Uint(), Contact: contact, Dial: true})
				break
			}
			if !slices.ContainsFunc(links, p.Same) {
				links = append(links, p)
			}
			step(overlay.LinkUp{Peer: p, Generation: d.Uint(), Known: d.Uint(), Contact: contact})
		case 7: // a link breaks
			if len(links) == 0 {
				break
			}
			i := d.N(len(links))
			l := links[i]
			links = slices.Delete(links, i, i+1)
			step(overlay.LinkDown{Peer: l, Reason: reasons[d.N(len(reasons))], Known: d.Uint()})
		case 8:
			if v.Below {
				step(overlay.MemberUp{Peer: p})
			} else {
				step(overlay.NeighborUp{Peer: p, Known: d.Uint()})
			}
		case 9:
			if v.Below {
				step(overlay.MemberDown{Peer: p})
			} else {
				step(overlay.NeighborDown{Peer: p, Reason: reasons[d.N(len(reasons))], Known: d.Uint()})
			}
		case 10:
			now = now.Add(time.Duration(d.Byte()) * 20 * time.Millisecond)
		case 11:
			switch d.N(6) {
			case 0:
				step(overlay.Resumed{Gap: time.Duration(d.Byte()) * time.Second})
			case 1:
				step(overlay.Join{Contacts: []overlay.Peer{{Addr: p.Addr}}})
			case 2:
				if d.N(8) == 0 {
					step(overlay.Leave{})
				}
			default:
				if v.Event != nil {
					if ev := v.Event(d); ev != nil {
						step(ev)
					}
				}
				if v.Order != nil {
					if o := v.Order(d); o != nil {
						step(overlay.Command{Order: o})
					}
				}
			}
		}
	}
	return trace
}
