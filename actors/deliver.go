package actors

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
)

// DefaultDeliverTimeout bounds a Deliver whose context has no deadline.
const DefaultDeliverTimeout = 5 * time.Second

// Deliver sends with WithAck and waits until the message is in its target's
// mailbox. There are three outcomes: nil: it is there; an error that says why it
// is not and will not be, as for ForwardMessage, or ErrDeadLetter if the target
// does not exist; an error that wraps ErrUnconfirmed: it may or may not have
// arrived, or may arrive yet, since ctx (or DefaultDeliverTimeout, if that has no
// deadline) or the other node ended first.
//
// Inside an actor it blocks that actor. It is safe for concurrent use.
func (d *Distribution) Deliver(ctx context.Context, pid *actor.PID, msg any, opts ...SendOption) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("maquis: delivery to %s was not begun: %w", pid, err)
	}
	p, o := d.optionsFor(pid, opts)
	if p == nil {
		return d.sendHere(pid, msg, &o)
	}
	wait := DefaultDeliverTimeout
	if t, ok := ctx.Deadline(); ok {
		wait = time.Until(t)
	}
	if o.timeout > 0 {
		wait = min(wait, o.timeout)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	receipt := make(chan channelmgr.Receipt, 1)
	out := o.outgoing(msg)
	out.Receipt, out.Cancel, out.Timeout = receipt, ctx.Done(), wait
	if err := p.sendThere(pid, &out); err != nil {
		return err
	}
	select {
	case r := <-receipt:
		switch {
		case r.Unsure:
			return &NodeError{Node: p.node, Reason: messages.ReasonLost, Err: fmt.Errorf("%w: delivery to %s", ErrUnconfirmed, pid)}
		case r.Reason != "":
			return nodeError(p.node, r.Reason, nil)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("%w: delivery to %s: %w", ErrUnconfirmed, pid, context.DeadlineExceeded)
	case <-ctx.Done():
		return fmt.Errorf("%w: delivery to %s: %w", ErrUnconfirmed, pid, ctx.Err())
	}
}
