package overlay

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
)

// EffectKind says which verb wrote an effect.
type EffectKind uint8

// The verbs.
const (
	EffectNone EffectKind = iota // nothing is left to do: a Stack did it
	EffectSend
	EffectConnect
	EffectDisconnect
	EffectSetTimer
	EffectCancelTimer
	EffectMeasure
	EffectNotify
	EffectReject
)

// Effect is one thing that a machine asks its driver to do. It is a flat
// struct, not an interface: a Step may write many, and boxing them costs five
// times as much.
type Effect struct {
	Kind   EffectKind
	Peer   Peer            // Send, Connect, Disconnect, Measure, Reject
	Msg    proto.Message   // Send
	Timer  Timer           // SetTimer, CancelTimer
	After  time.Duration   // SetTimer
	Notice any             // Notify: a value of the machine's notification types
	Reason messages.Reason // Reject, Disconnect
}

// Effects collects what one Step asks for, in order. The zero value is ready;
// drivers reuse one and call Reset between steps.
type Effects struct{ list []Effect }

// All returns the effects in the order written; valid until Reset.
func (e *Effects) All() []Effect { return e.list }

// Len returns the number of effects written since Reset.
func (e *Effects) Len() int { return len(e.list) }

// keptEffects is how many effects' memory is kept between steps: a rare step with
// very many is not to hold it for good.
const keptEffects = 64

// Reset forgets all effects and keeps the memory of some.
func (e *Effects) Reset() {
	if cap(e.list) > keptEffects {
		e.list = nil
		return
	}
	clear(e.list)
	e.list = e.list[:0]
}

// Send sends m to a peer, over the session if one is up.
func (e *Effects) Send(to Peer, m proto.Message) {
	e.list = append(e.list, Effect{Kind: EffectSend, Peer: to, Msg: m})
}

// Connect takes a hold on the session with a peer; see contract 4.
func (e *Effects) Connect(to Peer) {
	e.list = append(e.list, Effect{Kind: EffectConnect, Peer: to})
}

// Disconnect releases the hold on the session with a peer.
func (e *Effects) Disconnect(from Peer, why messages.Reason) {
	e.list = append(e.list, Effect{Kind: EffectDisconnect, Peer: from, Reason: why})
}

// SetTimer sets or replaces the timer of that key. A negative duration counts
// as zero.
func (e *Effects) SetTimer(t Timer, after time.Duration) {
	e.list = append(e.list, Effect{Kind: EffectSetTimer, Timer: t, After: max(after, 0)})
}

// CancelTimer cancels the timer of that key, if it is set.
func (e *Effects) CancelTimer(t Timer) {
	e.list = append(e.list, Effect{Kind: EffectCancelTimer, Timer: t})
}

// Measure asks for the cost of the link to a peer; the answer is Measured.
func (e *Effects) Measure(p Peer) {
	e.list = append(e.list, Effect{Kind: EffectMeasure, Peer: p})
}

// Notify tells the driver's listeners something; each machine documents its
// notification types.
func (e *Effects) Notify(notice any) {
	e.list = append(e.list, Effect{Kind: EffectNotify, Notice: notice})
}

// Reject counts a peer's bad input under a reason.
func (e *Effects) Reject(p Peer, why messages.Reason) {
	e.list = append(e.list, Effect{Kind: EffectReject, Peer: p, Reason: why})
}
