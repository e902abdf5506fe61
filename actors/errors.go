package actors

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
)

// Reason says why a message did not arrive, a link ended or a peer was
// refused. The values are the constants of package messages.
type Reason = messages.Reason

// Errors to branch on with errors.Is. They come wrapped with the value that
// caused them.
var (
	ErrStopped        = errors.New("maquis: stopped")
	ErrUnknownNode    = errors.New("maquis: unknown node")
	ErrNodeDown       = errors.New("maquis: node is down")
	ErrUnreachable    = errors.New("maquis: unreachable")
	ErrUnknownChannel = channelmgr.ErrUnknownChannel
	ErrOverflow       = errors.New("maquis: the channel's queue is full")
	ErrTooLarge       = errors.New("maquis: the message is too large")
	ErrNoCodec        = messages.ErrNoCodec
	ErrUnknownKind    = errors.New("maquis: unknown kind")
	ErrNameTaken      = errors.New("maquis: another live node has this name")
	ErrUnconfirmed    = errors.New("maquis: unconfirmed: it left this node, whether it arrived is not known")
	ErrNameExists     = actor.ErrNameExists
	ErrDeadLetter     = actor.ErrDeadLetter
)

// sentinel returns the error that stands for a reason, or nil.
func sentinel(why Reason) error {
	switch why {
	case messages.ReasonStopped:
		return ErrStopped
	case messages.ReasonUnknownNode:
		return ErrUnknownNode
	case messages.ReasonNodeDown, messages.ReasonPastLife:
		return ErrNodeDown
	case messages.ReasonUnreachable:
		return ErrUnreachable
	case messages.ReasonOverflow:
		return ErrOverflow
	case messages.ReasonTooLarge:
		return ErrTooLarge
	case messages.ReasonNoCodec:
		return ErrNoCodec
	case messages.ReasonNameTaken:
		return ErrNameTaken
	case messages.ReasonNoSuchActor:
		return ErrDeadLetter
	}
	return nil
}

// NodeError is a failure that concerns a node.
type NodeError struct {
	Node   string
	Reason Reason
	Err    error // the cause; errors.Is finds the sentinels
}

// Error implements error.
func (e *NodeError) Error() string {
	s := fmt.Sprintf("maquis: node %q: %s", e.Node, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *NodeError) Unwrap() error { return e.Err }

func nodeError(node string, why Reason, cause error) error {
	err := sentinel(why)
	switch {
	case err == nil:
		err = cause
	case cause != nil && !errors.Is(cause, err):
		err = fmt.Errorf("%w (%w)", err, cause)
	case cause != nil:
		err = cause
	}
	return &NodeError{Node: node, Reason: why, Err: err}
}

// JoinError says why no contact accepted this node.
type JoinError struct{ Contacts []ContactError }

// ContactError is why one contact did not accept.
type ContactError struct {
	Contact string
	Reason  Reason
	Err     error
}

// Error implements error.
func (e *JoinError) Error() string {
	var b strings.Builder
	b.WriteString("maquis: no contact accepted this node")
	for _, c := range e.Contacts {
		fmt.Fprintf(&b, "; %s: %s", c.Contact, cmp.Or(c.Reason, "no answer yet"))
	}
	return b.String()
}

// Unwrap returns the causes.
func (e *JoinError) Unwrap() []error {
	var errs []error
	for _, c := range e.Contacts {
		if c.Err != nil {
			errs = append(errs, c.Err)
		}
	}
	return errs
}
