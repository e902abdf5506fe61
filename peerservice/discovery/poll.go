package discovery

import (
	"context"
	"time"
)

// calmInterval is how often a calm consumer's sources are asked, where asking
// is a burden on somebody: 10 min. Our choice; see API.md, gap 14.
const calmInterval = 10 * time.Minute

// poller asks a source again and again.
type poller struct {
	interval time.Duration // between questions, jittered
	calm     time.Duration // the same while the consumer is calm
}

// run asks until ctx ends. ask returns what to emit, and when to ask again if
// that is not after the interval. After errors the interval doubles, up to a
// minute or what it was if longer; a change of pace to hurried asks at once.
func (p poller) run(ctx context.Context, emit func(Snapshot), ask func(context.Context) (Snapshot, time.Duration)) {
	wait := newBackoff(p.interval, time.Minute)
	for {
		calm, changed := PaceOf(ctx).Calm()
		s, next := ask(ctx)
		if ctx.Err() != nil {
			return
		}
		emit(s)
		switch {
		case s.Err != nil:
			next = max(next, wait.next())
		case next == 0:
			next = jitter(p.interval)
		}
		if s.Err == nil {
			wait.reset()
			if calm {
				next = jitter(p.calm)
			}
		}
		if !pause(ctx, next, changed, calm) {
			return
		}
	}
}

// pause waits for d, or until a calm consumer is in a hurry again. It reports
// whether ctx lives.
func pause(ctx context.Context, d time.Duration, changed <-chan struct{}, calm bool) bool {
	if !calm {
		changed = nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-changed:
		// All nodes that lost the same neighbor hurry at the same time.
		return sleep(ctx, jitter(100*time.Millisecond))
	case <-t.C:
		return true
	}
}
