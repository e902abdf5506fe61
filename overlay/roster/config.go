package roster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Config of a roster. It must not be changed after New.
type Config struct {
	Self Record     // this node; its generation and version are at least 1
	Rand *rand.Rand // the machine's dice
	Seed []Member   // what a predecessor of the machine knew, after a restart of its host

	// Grace is how long a lost link may be gone before its peer is suspected
	// without further evidence.
	Grace time.Duration
	// Suspicion is how long a suspect has to refute.
	Suspicion time.Duration
	// Sync is the mean time between exchanges of digests with a random neighbor.
	Sync time.Duration
	// Merge is the mean time between calls to a random down member or seed, so
	// that the halves of a partition find each other again.
	Merge time.Duration
	// RetryMin and RetryMax bound the pause before a contact is tried again.
	RetryMin, RetryMax time.Duration
	// Tombstones is how long down and left members are remembered.
	Tombstones time.Duration
}

// Presets of times. All are our choice: a killed process is known in under
// three seconds with every one but wan, and a pause of a second changes
// nothing.
func preset(grace, suspicion, sync, merge time.Duration) func(Config) Config {
	return func(c Config) Config {
		c.Grace, c.Suspicion, c.Sync, c.Merge = grace, suspicion, sync, merge
		c.RetryMin, c.RetryMax = 100*time.Millisecond, 5*time.Second
		c.Tombstones = 24 * time.Hour
		return c
	}
}

// Local is for nodes on one machine, LAN for one data center, WAN for several.
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
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"Grace", c.Grace}, {"Suspicion", c.Suspicion}, {"Sync", c.Sync}, {"Merge", c.Merge}, {"RetryMin", c.RetryMin}, {"RetryMax", c.RetryMax}, {"Tombstones", c.Tombstones}} {
		if d.d <= 0 {
			errs = append(errs, fmt.Errorf("roster: Config.%s is %v; it must be positive", d.name, d.d))
		}
	}
	return errors.Join(errs...)
}
