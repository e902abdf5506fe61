package roster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Config of a roster. It must not be changed after New. All times are our
// choice; see the presets.
type Config struct {
	Self Record     // this node; its generation and version are at least 1
	Rand *rand.Rand // the machine's dice
	Seed []Member   // what a predecessor of the machine knew, after a restart of its host

	// Partial says that the overlay keeps links to few of the members. Then the
	// end of a link by agreement is no sign, nor is it that nobody near has a
	// link to a suspect; and a neighbor may come before its record.
	Partial bool

	// Tree says that news go over a broadcast tree: the machine notifies
	// overlay.Publish with Subject, and takes overlay.Delivered. What it does
	// not bring, digests do.
	Tree bool

	// Gather is from how many members on, with Partial and Tree, news are brought to one
	// member who tells them to all, rather than told by each who has some. Zero:
	// never. The presets have 64, our choice.
	Gather int

	// Grace is how long a lost link may be gone before neighbors are asked
	// whether they still have one. A redial that is refused ends it early.
	Grace time.Duration
	// Suspicion is how long a suspect has to refute.
	Suspicion time.Duration
	// Sync is the mean time between exchanges of digests with a random neighbor.
	Sync time.Duration
	// Merge is the mean time between calls to a random down member or seed by a
	// node of a small cluster; in one of n members it is n/8 times that.
	Merge time.Duration
	// RetryMin and RetryMax bound the pause before a contact is tried again.
	RetryMin, RetryMax time.Duration
	// Tombstones is how long down and left members are remembered.
	Tombstones time.Duration

	// Spread sends news on; nil means Flood.
	Spread Spread
}

// Subject is that of the roster's news on a broadcast tree.
const Subject = "roster"

// Spread sends news to neighbors, where there is no broadcast tree. It may lose
// news: digests repair that.
type Spread func(news *messages.RosterUpdate, neighbors []overlay.Peer, out *overlay.Effects)

// Flood is the Spread that sends to every neighbor.
func Flood(news *messages.RosterUpdate, neighbors []overlay.Peer, out *overlay.Effects) {
	for _, p := range neighbors {
		out.Send(p, news)
	}
}

// preset makes a function that sets all times, and Gather.
func preset(grace, suspicion, sync, merge time.Duration) func(Config) Config {
	return func(c Config) Config {
		c.Grace, c.Suspicion, c.Sync, c.Merge = grace, suspicion, sync, merge
		c.RetryMin, c.RetryMax = 100*time.Millisecond, 5*time.Second
		c.Tombstones = 24 * time.Hour
		c.Gather = 64
		return c
	}
}

// Presets of times: Local for nodes on one machine, LAN for one data center,
// WAN for several. With each but WAN a killed process is known everywhere in
// under three seconds.
var (
	Local = preset(500*time.Millisecond, time.Second, 2*time.Second, 5*time.Second)
	LAN   = preset(time.Second, 1500*time.Millisecond, 5*time.Second, 10*time.Second)
	WAN   = preset(3*time.Second, 5*time.Second, 10*time.Second, 20*time.Second)
)

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	if err := c.Self.Validate(); err != nil {
		errs = append(errs, err)
	}
	if c.Rand == nil {
		errs = append(errs, errors.New("roster: Config.Rand is missing"))
	}
	for _, f := range []struct {
		name string
		d    time.Duration
	}{
		{"Grace", c.Grace}, {"Suspicion", c.Suspicion}, {"Sync", c.Sync}, {"Merge", c.Merge},
		{"RetryMin", c.RetryMin}, {"RetryMax", c.RetryMax}, {"Tombstones", c.Tombstones},
	} {
		if f.d <= 0 || f.d > 365*24*time.Hour {
			errs = append(errs, fmt.Errorf("roster: Config.%s is %v; it must be positive and at most a year", f.name, f.d))
		}
	}
	if c.Gather < 0 {
		errs = append(errs, fmt.Errorf("roster: Config.Gather is %d; use 0 for never, or a number of members", c.Gather))
	}
	if c.RetryMax < c.RetryMin {
		errs = append(errs, fmt.Errorf("roster: Config.RetryMax is %v; it must not be below RetryMin, %v", c.RetryMax, c.RetryMin))
	}
	return errors.Join(errs...)
}
