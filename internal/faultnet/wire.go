//go:build linux

package faultnet

import "time"

// envConfig is the environment variable by which a process knows that it is a
// node.
const envConfig = "MAQUIS_FAULTNET_NODE"

// Config is what a node's process is told at its start.
type Config struct {
	Name, Listen string
	Seeds        []string
	Secret       string
	Overlay      string
	Preset       string
	Places       map[string]string // where all nodes listen
	Dir          string            // of the ledgers
	Wrapped      bool              // faults by transport.Faults in the process
	Ways         []Way             // at the start
	Flow         FlowChannel
}

// FlowChannel is how the channel of numbered messages is to be.
type FlowChannel struct {
	Acked    bool // delivered at least once
	QueueLen int  // its bound; 0: the default
}

// Way is what is wrong in one direction between two nodes.
type Way struct {
	From, To string
	Cut      bool
	Loss     float64 // the part of the packets
	// Wrapped only.
	Latency, Jitter time.Duration
	Rate            int     // bytes a second
	Corrupt         float64 // the part of what is written in which a bit is turned over
}

// Order is a line to a node.
type Order struct {
	ID    uint64
	Do    string
	Node  string        `json:",omitempty"` // call, flow, reset, broadcast
	Addrs []string      `json:",omitempty"` // join
	Rate  float64       `json:",omitempty"` // flow, calls: a second; 0 ends it
	Size  int           `json:",omitempty"` // flow: bytes of a message
	Actor string        `json:",omitempty"` // flow: sink, or slow
	Wait  time.Duration `json:",omitempty"` // call, join: at most
	Ways  []Way         `json:",omitempty"` // faults: all that are wrong

	Places map[string]string `json:",omitempty"` // faults: where all nodes listen
}

// Line is what a node writes: an answer, or an event.
type Line struct {
	Answer uint64 `json:",omitempty"` // the order's ID
	Err    string `json:",omitempty"`

	Event      string    `json:",omitempty"`
	At         time.Time `json:",omitzero"`
	Node       string    `json:",omitempty"` // whom it is about
	Life       uint64    `json:",omitempty"`
	Generation uint64    `json:",omitempty"`
	Detail     string    `json:",omitempty"`

	Members []Member `json:",omitempty"`
	Stats   *Stats   `json:",omitempty"`
}

// Member is a member as a node knows it.
type Member struct {
	Name, Status     string
	Life, Generation uint64
}

// Stats are what a node's process uses and counts.
type Stats struct {
	Goroutines       int // without those of the wrapper that makes the faults
	Files            int
	Heap, RSS        uint64        // bytes; the heap after a collection, with stacks
	CPU              time.Duration // since its start
	Links, Neighbors int
	Counters         map[string]uint64
	Calls            map[string]uint64 // answered, dead, unconfirmed, late, wrong
	Broadcasts       map[string]Heard  // by origin, of its last life
	Sent             uint64            // broadcasts of this node
}

// Heard is what a subscriber has of one life of an origin.
type Heard struct{ Life, First, Last, Count uint64 }
