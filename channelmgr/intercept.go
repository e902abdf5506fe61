package channelmgr

import (
	"time"

	"github.com/maquis-go/maquis/messages"
)

// Packet is what an interceptor sees of a message that has arrived.
type Packet struct {
	From, To string // names of nodes
	Channel  string // of a message for an actor; "" for an overlay's
	Overlay  string // the instance, of an overlay's message; else ""
	Type     string // name of the message's type
	Target   string // id of the actor
	Msg      any    // the message; nil for an overlay's
}

// Verdict is what becomes of a packet. The zero value is Pass.
type Verdict struct {
	action uint8
	after  time.Duration
}

// Verdicts.
var (
	Pass      = Verdict{}
	Drop      = Verdict{action: 1}
	Duplicate = Verdict{action: 2}
)

// Delay lets a packet go on after a while, out of its turn.
func Delay(d time.Duration) Verdict { return Verdict{action: 3, after: d} }

// SetIntercept has every message that arrives judged, for tests of what happens
// when messages are lost, come twice or late; nil ends that. It is called by the
// goroutines that read links, must not block and must be safe for concurrent
// use. Without it, it costs a load per message.
func (r *Registry) SetIntercept(f func(Packet) Verdict) {
	if f == nil {
		r.intercept.Store(nil)
		return
	}
	r.intercept.Store(&f)
}

// judge carries out a verdict; deliver may be called later and more than once.
func (r *Registry) judge(v Verdict, deliver func() messages.Reason) messages.Reason {
	r.count("intercepted")
	switch v.action {
	case 1:
		return ""
	case 2:
		_ = deliver()
	case 3:
		time.AfterFunc(v.after, func() {
			if r.ctx.Err() == nil {
				_ = deliver()
			}
		})
		return ""
	}
	return deliver()
}
