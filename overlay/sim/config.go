package sim

import (
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/overlay"
)

// Class is what a message is for, in the counts of broadcasts.
type Class uint8

// The classes: membership, and a broadcast's payloads and everything else that
// it costs.
const (
	Membership Class = iota
	Payload
	Control
	classes
)

// Detection says how the other ends of a crashed node's links learn of it.
type Detection uint8

// Ways of detection.
const (
	// OnReset: the operating system of the crashed process resets its links.
	OnReset Detection = iota
	// OnSend: nothing is known until something is sent, as in the simulations
	// of the HyParView and Plumtree papers.
	OnSend
	// OnSilence: heartbeats are missed for Config.Silent.
	OnSilence
)

// Config of a World.
type Config struct {
	Seed uint64
	// Factory makes the machine of one life of a node: an overlay or a Stack.
	Factory func(self overlay.Peer, rng *rand.Rand) overlay.Machine
	// Generation is that which a life's handshakes tell; nil: 1.
	Generation func(m overlay.Machine) uint64
	Link       Model
	Detect     Detection
	// Silent is how long a link may carry nothing before it is down, and how
	// long a dial may take. 0 means 3 s.
	Silent time.Duration
	// Idle is how long a session stays that nobody holds. 0 means 5 s.
	Idle time.Duration
	// Quiet: timers shorter than this count as work in progress for Settle. 0
	// means 1 s.
	Quiet time.Duration
	// Classify tells what a message is for; nil: all are Membership.
	Classify func(proto.Message) Class
	// Sizes counts bytes as well as messages; it costs time.
	Sizes bool
	// Check verifies the invariants of a machine after each of its steps.
	Check bool
	// Notify takes the notices of the node with that index.
	Notify func(w *World, node int, notice any)
}
