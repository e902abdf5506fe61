package channelmgr

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Outgoing is one message for an actor on another node. Session.Send reads it
// and keeps nothing of it but Msg's encoding.
type Outgoing struct {
	Channel       string            // "" means as rules, bound types and Reply say
	Reply         string            // the channel of the message that this one answers
	Urgency       Priority          // what rules by urgency look at
	Target        string            // id of the actor at the destination
	TargetRequest uint32            // request id of the target PID
	Key           string            // partition key; "" means Target
	Sender        *actor.PID        // who is answered; nil, of this node or of another
	Header        map[string]string // message headers
	Msg           any               // the message
	Ack           bool              // at least once, whatever the channel's delivery is: on its twin, if need be
	Label         string            // causal label: in causal order with all messages of the label on the channel, or its twin; see ChannelSpec
	Receipt       chan<- Receipt    // told what became of the message, if Send returns no error; has room for one; implies Ack
	System        bool              // Msg is a system message of protoactor
	NoBlock       bool              // the caller is a runtime goroutine: use the reserved room, never wait
	Timeout       time.Duration     // not in the mailbox by then: undelivered; 0 for none; millisecond resolution
	Cancel        <-chan struct{}   // closed when waiting for room is to end; may be nil
	Wait          time.Duration     // longest wait for room in the queue; 0 means the channel's BlockTimeout

	hash uint64 // of Target
}

// SendError says why a message was not accepted. The message did not leave.
type SendError struct {
	Node    string
	Channel string
	Reason  messages.Reason
	Err     error // the cause, or nil
}

// Error implements error.
func (e *SendError) Error() string {
	s := fmt.Sprintf("channelmgr: send to node %q on channel %q: %s", e.Node, e.Channel, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }

// Receiver takes what arrives for the actors of this node. Its methods are
// called on readers of links and must be safe for concurrent use.
type Receiver interface {
	// Receive posts one message. Messages of a flow come in order, one at a
	// time; m and its Target stay valid only during the call, except for the
	// Target itself. It returns "" or why the message could not be
	// delivered; the origin is told.
	Receive(m *Incoming) messages.Reason
	// Undelivered reports a message of ours that is known not to have
	// arrived.
	Undelivered(u Undelivered)
	// Lost reports messages of ours that were written to a link that died.
	Lost(l Loss)
}

// Incoming is one message that arrived.
type Incoming struct {
	Session       *Session
	Channel       string
	Target        *Target
	TargetRequest uint32
	Sender        *actor.PID // nil if none
	Header        map[string]string
	System        bool
	Msg           any
}

// Target is an actor's id as interned by a link. One Target is used only by
// one reader at a time.
type Target struct {
	ID string
	// Cache is free for the Receiver, which may keep there what it found for
	// the id.
	Cache atomic.Pointer[any]
}

// Undelivered is a message of ours that is known not to have arrived.
type Undelivered struct {
	Session  *Session
	Channel  string
	Target   string     // id of the actor at the peer
	Sender   *actor.PID // nil if none
	Msg      any        // nil when the peer reported it
	TypeName string
	Reason   messages.Reason
	Remote   bool // the peer reported it
}

// Loss is a range of messages of one flow that were written to a link that
// died.
type Loss struct {
	Session   *Session
	Channel   string
	Slot      uint8
	From, To  uint64 // sequence numbers [From, To)
	Confirmed bool   // the peer said that they did not arrive; otherwise nobody knows
}

// Release tells that a node's end has released messages of a causal order.
type Release struct {
	Session *Session // with that node
	Channel string
	GivenUp int // messages to it that are not known to have arrived, and hold up no others any more
	Waited  int // messages from it that waited here for others of its, and do so no more
}

// Stall is a sender that waits for room: the peer takes nothing, or too slowly.
type Stall struct {
	Session *Session
	Channel string
	For     time.Duration
}

// Newcomer is what an admission rule is asked about: a peer that shook hands
// up to its name.
type Newcomer struct {
	Peer       overlay.Peer
	Generation uint64
	Addrs      []string
	LinkAlive  bool // a live control link to another life of that name stands here
}
