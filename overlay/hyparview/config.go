package hyparview

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// Config of a HyParView. It must not be changed after New.
type Config struct {
	Self overlay.Peer
	Rand *rand.Rand // the machine's dice

	// Active is the size of the active view. Section 5.1: log n + c, 5 for
	// 10,000 nodes.
	Active int
	// Passive is the size of the passive view. Section 5.1: k (log n + c), 30.
	Passive int
	// ActiveWalk is the length of the walks of joins and shuffles, ARWL in
	// section 4.2: 6. PassiveWalk is how far from its end a join is put into
	// passive views, PRWL: 3.
	ActiveWalk, PassiveWalk int
	// ShuffleActive and ShufflePassive are how many of each view a shuffle
	// carries, ka and kp in section 4.4: 3 and 4.
	ShuffleActive, ShufflePassive int
	// Shuffle is the time between shuffles, drawn anew from 0.9 to 1.1 of it
	// each time. The paper counts in cycles. Our choice: 10 s, as Partisan.
	Shuffle time.Duration
	// Request is how long a peer may take to answer. Our choice: 5 s, above
	// what a dial over a slow link takes.
	Request time.Duration
	// RetryMin and RetryMax bound the pauses between attempts to come back from
	// isolation through the contacts. Our choice: 500 ms to 30 s.
	RetryMin, RetryMax time.Duration
	// Tries is how many passive peers may refuse, between two shuffles, before
	// this node leaves a place free until the next. Our choice: 3, as a full
	// neighborhood would be asked through otherwise.
	Tries int

	// Reserved is how many places of the active view are kept for peers of
	// whom Reserve says so; they are never given up for others. Zero: none.
	Reserved int
	Reserve  func(overlay.Peer) bool
}

// DefaultConfig returns a Config with the defaults for a node.
func DefaultConfig(self overlay.Peer, rng *rand.Rand) Config {
	return Config{
		Self: self, Rand: rng,
		Active: 5, Passive: 30, ActiveWalk: 6, PassiveWalk: 3, ShuffleActive: 3, ShufflePassive: 4,
		Shuffle: 10 * time.Second, Request: 5 * time.Second,
		RetryMin: 500 * time.Millisecond, RetryMax: 30 * time.Second, Tries: 3,
	}
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("hyparview: "+format, args...)) }
	if c.Self.Name == "" || c.Self.Incarnation == 0 {
		wrong("Config.Self needs a name and an incarnation")
	}
	if c.Rand == nil {
		wrong("Config.Rand is missing")
	}
	if c.Active < 2 || c.Active > 100 {
		wrong("Config.Active is %d; use 2 to 100 (with 1 the nodes would be pairs)", c.Active)
	}
	if c.Passive < c.Active || c.Passive > 1000 {
		wrong("Config.Passive is %d; use Active (%d) to 1000", c.Passive, c.Active)
	}
	if c.ActiveWalk < 1 || c.ActiveWalk > maxWalk || c.PassiveWalk < 0 || c.PassiveWalk > c.ActiveWalk {
		wrong("Config.ActiveWalk and PassiveWalk are %d and %d; use 1 to %d, PassiveWalk not above ActiveWalk", c.ActiveWalk, c.PassiveWalk, maxWalk)
	}
	if c.ShuffleActive < 0 || c.ShufflePassive < 0 || c.ShuffleActive+c.ShufflePassive+1 > maxNodes {
		wrong("Config.ShuffleActive and ShufflePassive are %d and %d; use at most %d in all", c.ShuffleActive, c.ShufflePassive, maxNodes-1)
	}
	if c.Shuffle <= 0 || c.Request <= 0 || c.RetryMin <= 0 || c.RetryMax < c.RetryMin {
		wrong("Config times are %v, %v, %v, %v; use positive ones, RetryMax not below RetryMin", c.Shuffle, c.Request, c.RetryMin, c.RetryMax)
	}
	if c.Tries < 1 {
		wrong("Config.Tries is %d; use at least 1", c.Tries)
	}
	if c.Reserved < 0 || c.Reserved > c.Active {
		wrong("Config.Reserved is %d; use 0 to Active (%d)", c.Reserved, c.Active)
	}
	if c.Reserved > 0 && c.Reserve == nil {
		errs = append(errs, errors.New("hyparview: Config.Reserve must say for whom places are reserved"))
	}
	return errors.Join(errs...)
}

// Bounds on what a peer may say.
const (
	maxWalk     = 32 // hops of a walk
	maxNodes    = 32 // peers in a message
	maxContacts = 64
	maxAsked    = 16 // requests that wait for their answers
	mostSeldom  = 32 // shuffles between two attempts that were in vain before, at most
	patience    = 4  // shuffles in which a single place is asked for without a pause
	// perPeriod is how often a peer may ask for a place, and a neighbor send
	// shuffles (a hundred times that), between two shuffles of ours.
	perPeriod = 8
)
