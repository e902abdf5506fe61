package overlay

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
)

// Machine is a protocol as a pure state machine; see the package comment for
// the contract between a machine and its driver.
type Machine interface {
	// Step takes one event at the moment now and writes its effects to out.
	Step(now Time, ev Event, out *Effects)
}

// Checker is implemented by machines that can verify their own invariants.
type Checker interface {
	// Check returns an error that names the broken invariant, or nil.
	Check() error
}

// Event is something that happened to a machine. The set is closed.
type Event interface{ event() }

type (
	// Start is the first event of every machine.
	Start struct{}

	// Join asks the machine to join through contacts, best first.
	Join struct{ Contacts []Peer }

	// Leave asks the machine to leave in order.
	Leave struct{}

	// Resumed tells that the driver was suspended or starved for the time
	// given: deadlines are to be restarted before anyone is accused.
	Resumed struct{ Gap time.Duration }

	// Received is a message from a peer. Msg is immutable.
	Received struct {
		From Peer
		Msg  proto.Message
	}

	// Fired is the expiry of a timer that was set and not cancelled.
	Fired struct{ Timer Timer }

	// LinkUp tells that a session is up on which the machine has a hold. It may come
	// again, and after a Disconnect: where that crossed with a message of the peer's,
	// the hold stays until the machine, which has that message now, releases it.
	LinkUp struct {
		Peer       Peer
		Generation uint64 // of the peer, as it said in its handshake
		Known      uint64 // on a session that we dialed: the highest generation of our name that the peer remembers for another life, or for ours after it declared us down; 0 if none
		Contact    string // the address dialed, when Connect named a contact
		Inbound    bool   // the peer dialed
	}

	// LinkDown answers a Connect that failed, or ends a LinkUp.
	LinkDown struct {
		Peer    Peer
		Reason  messages.Reason
		Known   uint64 // with messages.ReasonDown and ReasonNameTaken: the generation that the peer remembers
		Contact string // the address dialed, when Connect named a contact
		Dial    bool   // the link never came up
	}

	// Measured answers Measure with the cost of the link to Peer.
	Measured struct {
		Peer Peer
		Cost time.Duration
	}

	// MemberUp tells dial rules and trees that a member is to be considered.
	MemberUp struct{ Peer Peer }

	// MemberDown tells that a member is down or has left.
	MemberDown struct{ Peer Peer }

	// NeighborUp tells what lies above an overlay that a neighbor is there.
	NeighborUp struct {
		Peer  Peer
		Known uint64 // as in LinkUp
	}

	// NeighborDown ends NeighborUp.
	NeighborDown struct {
		Peer   Peer
		Reason messages.Reason
		Known  uint64 // with messages.ReasonDown: the generation of ours that the peer declared down
	}

	// Publish asks a broadcast tree to deliver Payload at every node, this one
	// among them. With ID.Seq zero the tree gives the next number of its own.
	// A layer of a Stack asks by a notice of this type.
	Publish struct {
		ID      MessageID
		Subject string // which layer the payload is for; the application's are empty
		Payload []byte // immutable
	}

	// Delivered is what a broadcast tree notifies of each message, once at each
	// node; in a Stack it is an event of the other layers.
	Delivered struct {
		ID      MessageID
		Subject string
		Payload []byte // immutable
		From    Peer   // the neighbor that brought it; the zero Peer at the origin
		Hops    int    // links crossed; 0 at the origin
		Lifted  bool   // it was brought to a tree's root before: From is no way to its origin

		// Age is for how long nodes have kept it since it was published. What links
		// took does not count: it is never older than that.
		Age time.Duration
	}

	// Carry is a notice: a message for the machine of the same overlay at a node
	// that need not be a neighbor. The driver brings it there by whatever way
	// there is, as Received, or loses it: it is for what had better come soon,
	// and comes otherwise, too.
	Carry struct {
		To  Peer
		Msg proto.Message
	}

	// Command is an order of the application to one kind of machine, which
	// documents the commands that it heeds.
	Command struct{ Order any }

	// Forget is a Command's order for machines that keep the contacts of a Join:
	// these are called no more.
	Forget struct{ Contacts []string }
)

func (Start) event()        {}
func (Join) event()         {}
func (Leave) event()        {}
func (Resumed) event()      {}
func (Received) event()     {}
func (Fired) event()        {}
func (LinkUp) event()       {}
func (LinkDown) event()     {}
func (Measured) event()     {}
func (MemberUp) event()     {}
func (MemberDown) event()   {}
func (NeighborUp) event()   {}
func (NeighborDown) event() {}
func (Publish) event()      {}
func (Delivered) event()    {}
func (Command) event()      {}

// MessageID identifies one broadcast: two equal payloads are two broadcasts.
type MessageID struct {
	Origin      string
	Incarnation Incarnation
	Seq         uint64
}

// TimerKind names a machine's timer; each machine declares its own.
type TimerKind string

// Timer is the comparable key of a timer. Unused fields stay zero.
type Timer struct {
	Kind TimerKind
	Peer string // a node's name or a contact's address
	ID   MessageID
}
