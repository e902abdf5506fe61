// Package introduce brings a node to others: it takes the candidates that
// discovery strategies find and dials a few of them, for ever.
//
// While the node is alone it dials several candidates at once. Once it has
// joined it dials one now and then that is no member, in any order: that is
// how two halves of a cluster which were started, or came, apart find each
// other. A candidate that fails is tried again after a pause that grows; one
// that answered and refused us, for its secret or cluster, after a long one.
// Own addresses, those that end, and those that nobody could dial are left
// out. Who is a member is never decided here: Config.Members says it.
//
// Of what sources say, the last good is kept: an error, a partial answer, or an
// empty one after one that was not, takes no candidate away. Whether a node
// that a source no longer names is to be removed from the cluster is a policy
// (Prune), by default never.
//
// table.go, with what it calls, is pure: time and chance are its arguments.
// The Introducer runs strategies, calls and timers around it.
package introduce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// Member is what the introducer needs to know of a member.
type Member struct {
	Name  string
	Addrs []string // advertised, and aliases; "host:port"
	Left  bool     // it said farewell: it comes back by itself, if at all
}

// Gone is a node that its sources no longer name.
type Gone struct {
	Addr   string
	Node   string        // the member at that address
	Absent time.Duration // since a whole answer last named it
}

// Prune says when a member that no source names any more is reported to
// Config.OnGone.
type Prune struct {
	on    bool
	after time.Duration
}

// The policies of pruning. An address counts as gone when all sources that
// named it answered whole without it; an empty answer after one that was not
// counts only with PruneImmediately. Never is the default: failure detection
// decides who is gone.
var (
	PruneNever       = Prune{}
	PruneImmediately = Prune{on: true} // libcluster's meaning
)

// PruneAfter reports a member that has been missing from whole answers for d.
func PruneAfter(d time.Duration) Prune { return Prune{on: true, after: max(d, time.Millisecond)} }

// Config of an Introducer. It must not be changed after New. Zero stands for
// the default, which is our choice everywhere.
type Config struct {
	// Strategies are the sources. Each is kept running (discovery.Keep).
	Strategies []discovery.Strategy
	// Self is this node: its addresses are not dialed; strategies announce it.
	Self discovery.Self
	// Members returns the members, this node among them or not, and those that
	// left as long as they are remembered, but none that are down. It must not
	// block.
	Members func() []Member
	// Join makes one attempt to be let in at addr, and returns nil if it was.
	// It ends when ctx does. Several calls may run at once.
	Join func(ctx context.Context, addr string) error
	// Reason names the cause of an error of Join, in the words of
	// messages.Reason; "" where it cannot tell. Without it, or then, the
	// standard library's errors are looked at.
	Reason func(error) string
	// Prune and OnGone: see Prune. Calls of OnGone do not overlap.
	Prune  Prune
	OnGone func(ctx context.Context, g Gone)
	// Expected is with how many members, this node included, the cluster is
	// complete. Below, candidates are dialed faster and sources asked more: 2.
	Expected int
	// Dials bounds the calls of Join at once, while the node is not calm: 3.
	Dials int
	// DialTimeout ends a call of Join: 10 s.
	DialTimeout time.Duration
	// RetryMin and RetryMax bound the pause after which a candidate that failed
	// is dialed again, doubling, with jitter: 1 s and 1 min.
	RetryMin, RetryMax time.Duration
	// RefusedMin and RefusedMax are the same for one that answered and refused
	// us: 1 min and 10 min.
	RefusedMin, RefusedMax time.Duration
	// Merge is the mean time between dials of candidates that are no members,
	// once the node is calm: 10 s.
	Merge time.Duration
	// Logger is told of sources that fail and come back, and of each refused
	// candidate once: slog.Default.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.DialTimeout, 10*time.Second)
	def(&c.RetryMin, time.Second)
	def(&c.RetryMax, max(time.Minute, c.RetryMin))
	def(&c.RefusedMin, time.Minute)
	def(&c.RefusedMax, max(10*time.Minute, c.RefusedMin))
	def(&c.Merge, 10*time.Second)
	if c.Expected == 0 {
		c.Expected = 2
	}
	if c.Dials == 0 {
		c.Dials = 3
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Validate reports everything that is wrong, with the options of strategies.
func (c Config) Validate() error {
	var errs []error
	if len(c.Strategies) == 0 {
		errs = append(errs, errors.New("introduce: Config.Strategies is empty; name at least one"))
	}
	for _, s := range c.Strategies {
		errs = append(errs, discovery.Validate(s))
	}
	if c.Members == nil || c.Join == nil {
		errs = append(errs, errors.New("introduce: Config.Members and Join are needed"))
	}
	if c.Prune.on && c.OnGone == nil {
		errs = append(errs, errors.New("introduce: Config.Prune without OnGone; give it what is to be done"))
	}
	c = c.withDefaults()
	if c.Expected < 1 || c.Dials < 1 {
		errs = append(errs, fmt.Errorf("introduce: Config.Expected and Dials are %d and %d; use at least 1", c.Expected, c.Dials))
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"DialTimeout", c.DialTimeout}, {"RetryMin", c.RetryMin}, {"RefusedMin", c.RefusedMin}, {"Merge", c.Merge}} {
		if d.v <= 0 {
			errs = append(errs, fmt.Errorf("introduce: Config.%s is %v; use a positive time", d.name, d.v))
		}
	}
	if c.RetryMax < c.RetryMin || c.RefusedMax < c.RefusedMin {
		errs = append(errs, fmt.Errorf("introduce: Config.RetryMax %v and RefusedMax %v must not be below RetryMin %v and RefusedMin %v", c.RetryMax, c.RefusedMax, c.RetryMin, c.RefusedMin))
	}
	return errors.Join(errs...)
}
