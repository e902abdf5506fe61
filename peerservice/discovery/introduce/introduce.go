package introduce

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// How often the member list is looked at without a Poke. Our choice.
const (
	lookHurried = time.Second
	lookCalm    = 5 * time.Second
)

// Introducer runs strategies and introduces the node to what they find. Its
// methods may be called at any time by anybody.
type Introducer struct {
	cfg  Config
	pace *discovery.Pace
	wake chan struct{}

	mu    sync.Mutex
	table *table
}

// New makes an Introducer, which does nothing until Run.
func New(cfg Config) (*Introducer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &Introducer{
		cfg:   cfg,
		pace:  new(discovery.Pace),
		wake:  make(chan struct{}, 1),
		table: newTable(cfg, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
	}, nil
}

// Poke tells that the member list has changed. It does not block. Without it
// the list is looked at every second, every 5 s once the node is calm.
func (in *Introducer) Poke() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// Status returns what is known now.
func (in *Introducer) Status() Status {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.table.status(time.Now())
}

// Explain is Status as text, for a doctor.
func (in *Introducer) Explain() string { return in.Status().String() }

// Run introduces the node until ctx ends; then it waits for strategies and
// calls of Join to end and returns. It is to be called once, and to be ended
// before the node leaves its cluster, lest it joins again.
func (in *Introducer) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	sources := discovery.WithSelf(discovery.WithPace(ctx, in.pace), in.cfg.Self)
	for i, s := range in.cfg.Strategies {
		wg.Go(func() {
			if err := discovery.Keep(s).Run(sources, func(got discovery.Snapshot) { in.hear(i, got) }); err != nil {
				in.hear(i, discovery.Snapshot{Err: err}) // its options are invalid, which New had found
			}
		})
	}
	gone := make(chan struct{}, 1) // held while OnGone runs
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-in.wake:
		case <-timer.C:
		}
		in.step(ctx, &wg, gone, timer)
	}
}

// hear takes a snapshot of strategy i.
func (in *Introducer) hear(i int, s discovery.Snapshot) {
	in.mu.Lock()
	was := in.table.sources[i].last.Err
	in.table.hear(time.Now(), i, s)
	name := in.table.sources[i].name
	in.mu.Unlock()
	switch { // once for each change, not for each try
	case s.Err != nil && was == nil:
		in.cfg.Logger.Warn("discovery: a source fails; what it named before is kept", "source", name, "error", firstLine(s.Err.Error()))
	case s.Err == nil && was != nil:
		in.cfg.Logger.Info("discovery: a source answers again", "source", name, "candidates", len(s.Candidates))
	}
	in.Poke()
}

// step looks at the members, dials and prunes.
func (in *Introducer) step(ctx context.Context, wg *sync.WaitGroup, gone chan struct{}, timer *time.Timer) {
	members := in.cfg.Members()
	now := time.Now()
	in.mu.Lock()
	in.table.members(now, members)
	calm := in.table.calm()
	dial, again := in.table.pick(now)
	var prune []Gone
	select {
	case gone <- struct{}{}:
		if prune = in.table.gone(now); len(prune) == 0 {
			<-gone
		}
	default: // OnGone is slow: later
	}
	in.mu.Unlock()
	in.pace.SetCalm(calm)
	if dial != "" {
		wg.Go(func() { in.dial(ctx, dial) })
	}
	if len(prune) > 0 {
		wg.Go(func() {
			defer func() { <-gone }()
			for _, g := range prune {
				in.cfg.Logger.Info("discovery: a member is named by no source any more", "node", g.Node, "addr", g.Addr, "absent", g.Absent)
				in.cfg.OnGone(ctx, g)
			}
		})
	}
	look := lookHurried
	if calm {
		look = lookCalm
	}
	if !again.IsZero() {
		look = min(look, max(again.Sub(now), 0))
	}
	timer.Reset(look)
}

// dial makes one attempt.
func (in *Introducer) dial(ctx context.Context, addr string) {
	call, cancel := context.WithTimeout(ctx, in.cfg.DialTimeout)
	defer cancel()
	err := in.join(call, addr)
	reason := ""
	if err != nil {
		if in.cfg.Reason != nil {
			reason = in.cfg.Reason(err)
		}
		if reason == "" {
			reason = ReasonOf(err)
		}
	}
	in.mu.Lock()
	e := in.table.entries[addr]
	news := e != nil && verdictOf(reason) == stranger && e.reason != reason
	in.table.done(time.Now(), addr, reason, err)
	in.mu.Unlock()
	if news {
		in.cfg.Logger.Warn("discovery: a candidate refuses this node", "addr", addr, "reason", reason, "error", firstLine(err.Error()), "remedy", Remedy(reason))
	}
	in.Poke()
}

// join turns a panic of the application's function into an error.
func (in *Introducer) join(ctx context.Context, addr string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("introduce: Join panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return in.cfg.Join(ctx, addr)
}
