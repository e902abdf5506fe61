package peerservice

import (
	"context"
	"sync"
)

// Subscription is a bounded queue of events. Who reads too slowly finds a
// Snapshot in place of what it missed.
type Subscription struct {
	s     *Service
	mu    sync.Mutex
	queue []Event
	bound int
	lost  bool
	ended bool
	wake  chan struct{}
}

// Subscribe returns a subscription whose first event is a Snapshot. It holds
// up to bound events. It must be closed.
func (s *Service) Subscribe(bound int) *Subscription {
	sub := &Subscription{s: s, bound: max(bound, 1), lost: true, wake: make(chan struct{}, 1)}
	sub.wake <- struct{}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs == nil { // the service has stopped
		sub.ended = true
		close(sub.wake)
	} else {
		s.subs[sub] = true
	}
	return sub
}

// Close ends the subscription; Next reports false from then on.
func (sub *Subscription) Close() {
	sub.s.mu.Lock()
	delete(sub.s.subs, sub)
	sub.s.mu.Unlock()
	sub.end()
}

func (sub *Subscription) end() {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if !sub.ended {
		sub.ended = true
		close(sub.wake)
	}
}

func (sub *Subscription) put(e Event) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.ended {
		return
	}
	if _, note := e.(Noted); sub.lost && !note {
		// The Snapshot that is still to come contains it.
	} else if len(sub.queue) >= sub.bound {
		sub.queue, sub.lost = nil, true
		sub.s.counters.add("snapshots")
	} else {
		sub.queue = append(sub.queue, e)
	}
	select {
	case sub.wake <- struct{}{}:
	default:
	}
}

// Next returns the next event, waiting for one. It reports false when ctx or
// the subscription has ended.
func (sub *Subscription) Next(ctx context.Context) (Event, bool) {
	for {
		if e, ok := sub.take(); ok {
			return e, true
		}
		select {
		case _, ok := <-sub.wake:
			if !ok {
				return nil, false
			}
		case <-ctx.Done():
			return nil, false
		}
	}
}

// take holds the service's lock while it makes a Snapshot, so that every
// event is either in it or after it.
func (sub *Subscription) take() (Event, bool) {
	sub.s.mu.Lock()
	defer sub.s.mu.Unlock()
	sub.mu.Lock()
	defer sub.mu.Unlock()
	switch {
	case sub.ended:
		return nil, false
	case sub.lost:
		sub.lost = false
		return Snapshot{Members: sub.s.viewed().Members}, true
	case len(sub.queue) > 0:
		e := sub.queue[0]
		sub.queue = sub.queue[1:]
		return e, true
	}
	return nil, false
}
