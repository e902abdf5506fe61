package peerservice

import (
	"time"

	"github.com/maquis-go/maquis/overlay"
)

// lateAtLeast is how much too late a timer is, at least, in a process that was
// suspended or starved; with patient timing it is the grace that members have.
// Our choice.
const lateAtLeast = time.Second

// clock is a host's time and timers: at most one per key, and one that was
// replaced or cancelled is never delivered (contract 3). Only its host's
// goroutine uses it.
type clock struct {
	began  time.Time
	timers map[timerKey]*timer
	fire   func(fired)
	slack  time.Duration // a timer that is later than this tells of a suspension
	told   overlay.Time  // up to here the machine knows that it was late
	looked overlay.Time  // when a suspension was last looked for
}

// timerKey names a timer. Exactly one field is set: a timer of the machine, or
// the host's own wait for the answer to a Connect.
type timerKey struct {
	timer   overlay.Timer
	connect overlay.Peer
}

type timer struct {
	due overlay.Time
	t   *time.Timer
}

// fired is the message of a timer to its host. The pointer tells it from those
// that were replaced, also by the host's successor.
type fired struct {
	timerKey
	t *timer
}

func (c *clock) start(slack time.Duration, fire func(fired)) {
	*c = clock{began: time.Now(), timers: make(map[timerKey]*timer), slack: max(slack, lateAtLeast), fire: fire}
}

func (c *clock) stop() {
	for _, t := range c.timers {
		t.t.Stop()
	}
	c.timers = nil
}

// now is the time since the machine began, monotonic.
func (c *clock) now() overlay.Time { return overlay.Time(time.Since(c.began)) }

func (c *clock) set(k timerKey, after time.Duration) {
	c.cancel(k)
	t, fire := &timer{due: c.now().Add(after)}, c.fire
	c.timers[k] = t
	t.t = time.AfterFunc(after, func() { fire(fired{k, t}) })
}

func (c *clock) cancel(k timerKey) {
	if t := c.timers[k]; t != nil {
		t.t.Stop()
		delete(c.timers, k)
	}
}

// valid reports whether a timer that fired was neither replaced nor cancelled.
func (c *clock) valid(f fired) bool { return c.timers[f.timerKey] == f.t }

// late returns how much too late the earliest timer is, if that is more than
// the slack; what the machine was told once does not count again. It looks only
// when that can have happened: after a pause without events, or if the timer that
// fired is so late.
func (c *clock) late(f *timer) time.Duration {
	now := c.now()
	pause := now.Sub(c.looked)
	c.looked = now
	if pause <= c.slack && (f == nil || now.Sub(f.due) <= c.slack) {
		return 0
	}
	var worst time.Duration
	for _, t := range c.timers {
		worst = max(worst, now.Sub(max(t.due, c.told)))
	}
	if worst <= c.slack {
		return 0
	}
	c.told = now
	return worst
}
