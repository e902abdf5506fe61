package scamp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// Config of a SCAMP. It must not be changed after New.
type Config struct {
	Self overlay.Peer
	Rand *rand.Rand // the machine's dice

	// C is how many copies of a subscription the contact makes beyond its view,
	// c in section 3.1: views grow to (c+1) ln n on average, and gossip
	// survives that part of link failures c/(c+1). Partisan has 5; the
	// HyParView paper compares with 4. Our choice: 3.
	C int
	// Walk is how many hops a subscription goes to find its contact, section
	// 4.1 (indirection); 0: the node that was joined is the contact. Our
	// choice: 10.
	Walk int
	// Hops bounds the walk of a copy; its last node keeps it. The paper has no
	// bound. Our choice: 64.
	Hops int
	// Lease is how long a subscription lasts, section 4.2. The node subscribes
	// anew when 0.9 to 1 of it has passed. Zero: for ever. Our choice: 10 min.
	Lease time.Duration
	// Heartbeat is the time between messages to the partial view, section 3.3.
	// After three without one from anybody a node believes that nobody has it,
	// and subscribes anew. Our choice: 30 s.
	Heartbeat time.Duration
	// Answer is how long a contact has, from the dial to the welcome of whom it
	// found, before the next one is asked: a subscription is lost when a session
	// on its walk ends. Our choice: 5 s.
	Answer time.Duration
	// RetryMin and RetryMax bound the pauses between attempts to come back from
	// isolation through the contacts. Our choice: 500 ms to 30 s.
	RetryMin, RetryMax time.Duration
	// MaxView bounds each view, far above what it grows to. Our choice: 128.
	MaxView int
}

// DefaultConfig returns a Config with the defaults for a node.
func DefaultConfig(self overlay.Peer, rng *rand.Rand) Config {
	return Config{
		Self: self, Rand: rng, C: 3, Walk: 10, Hops: 64, Lease: 10 * time.Minute, Heartbeat: 30 * time.Second, Answer: 5 * time.Second,
		RetryMin: 500 * time.Millisecond, RetryMax: 30 * time.Second, MaxView: 128,
	}
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("scamp: "+format, args...)) }
	if c.Self.Name == "" || c.Self.Incarnation == 0 {
		wrong("Config.Self needs a name and an incarnation")
	}
	if c.Rand == nil {
		wrong("Config.Rand is missing")
	}
	if c.C < 0 || c.C > 32 {
		wrong("Config.C is %d; use 0 to 32", c.C)
	}
	if c.Walk < 0 || c.Walk > maxHops || c.Hops < 1 || c.Hops > maxHops {
		wrong("Config.Walk and Hops are %d and %d; use 0 and 1 to %d", c.Walk, c.Hops, maxHops)
	}
	if c.Lease < 0 || c.Heartbeat <= 0 || c.Answer <= 0 || c.RetryMin <= 0 || c.RetryMax < c.RetryMin {
		wrong("Config times are %v, %v, %v, %v, %v; use positive ones, Lease 0 for ever, RetryMax not below RetryMin", c.Lease, c.Heartbeat, c.Answer, c.RetryMin, c.RetryMax)
	}
	if c.MaxView < 8 || c.MaxView > 1000 {
		wrong("Config.MaxView is %d; use 8 to 1000", c.MaxView)
	}
	return errors.Join(errs...)
}

// Bounds on what a peer may say.
const (
	maxHops     = 256
	maxContacts = 64
	maxQuiet    = 3 // heartbeats of ours without one of a peer that said it has us
	// perPeriod is how many messages a peer may send between two heartbeats of
	// ours: each subscription passes here c+1 times at most, and thousands may
	// join in that time through one contact.
	perPeriod = 20_000
)
