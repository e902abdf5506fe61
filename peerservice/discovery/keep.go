package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// Keep returns a strategy that runs s for ever: when s returns or panics
// before its context ends, that is emitted as an error and s is run again
// after a back-off of 1 s that doubles to 1 min, with jitter. Only a strategy
// whose options are invalid is given up.
func Keep(s Strategy) Strategy { return keep{s} }

type keep struct{ Strategy }

func (k keep) Validate() error { return Validate(k.Strategy) }
func (k keep) String() string  { return Describe(k.Strategy) }

func (k keep) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := Validate(k.Strategy); err != nil {
		return err
	}
	wait := newBackoff(time.Second, time.Minute)
	for {
		started := time.Now()
		err := runSafely(ctx, k.Strategy, emit)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("it returned without being told to")
		}
		emit(failed(fmt.Errorf("discovery: %s ended: %w", Describe(k.Strategy), err)))
		if time.Since(started) > time.Minute {
			wait.reset()
		}
		if !sleep(ctx, wait.next()) {
			return nil
		}
	}
}

// runSafely turns a panic of a strategy, which may be an application's own,
// into an error.
func runSafely(ctx context.Context, s Strategy, emit func(Snapshot)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return s.Run(ctx, emit)
}

// backoff doubles from first to last.
type backoff struct{ first, last, now time.Duration }

func newBackoff(first, last time.Duration) backoff {
	return backoff{first: first, last: max(first, last)}
}

func (b *backoff) reset() { b.now = 0 }

func (b *backoff) next() time.Duration {
	b.now = min(max(b.first, 2*b.now), b.last)
	return jitter(b.now)
}

// jitter spreads a time between three and five quarters of itself, so that
// nodes started together do not ask together.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d*3/4 + rand.N(d/2+1)
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
