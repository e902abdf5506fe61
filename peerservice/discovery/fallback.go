package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// patience is how long Fallback waits for the first answer of a strategy
// before it asks the next one too. Our choice.
const patience = 5 * time.Second

// Fallback returns a strategy that asks the first of s, and the next one only
// while those before fail, find nobody, or have not answered within 5 s. When
// an earlier one finds candidates again, the later ones are stopped. What a
// later one finds is partial, so that nothing is pruned by it. Sources are
// kept running (Keep).
func Fallback(s ...Strategy) Strategy { return fallback{s} }

type fallback struct{ list []Strategy }

func (f fallback) Validate() error { return validateAll("fallback", f.list) }
func (f fallback) String() string  { return describeAll("fallback", f.list) }

// Run implements Strategy.
func (f fallback) Run(ctx context.Context, emit func(Snapshot)) error {
	if err := f.Validate(); err != nil {
		return err
	}
	r := &fallbackRun{ctx: ctx, list: f.list, emit: emit, views: make([]view, len(f.list)), cancel: make([]context.CancelFunc, len(f.list))}
	r.mu.Lock()
	r.start(0)
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock() // nobody starts another from here on
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

type fallbackRun struct {
	ctx  context.Context
	list []Strategy
	emit func(Snapshot)
	wg   sync.WaitGroup

	mu     sync.Mutex
	views  []view
	cancel []context.CancelFunc // of those that run
}

// start runs strategy i, and the one after it when i does not answer in time.
// The lock is held.
func (r *fallbackRun) start(i int) {
	if i >= len(r.list) || r.cancel[i] != nil || r.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	r.cancel[i] = cancel
	r.views[i] = view{}
	r.wg.Go(func() { keep{r.list[i]}.Run(ctx, func(s Snapshot) { r.hear(ctx, i, s) }) })
	r.wg.Go(func() {
		if !sleep(ctx, patience) {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if ctx.Err() == nil && !r.views[i].heard {
			r.views[i].last.Err = fmt.Errorf("discovery: %s has not answered in %v", Describe(r.list[i]), patience)
			r.start(i + 1)
		}
	})
}

func (r *fallbackRun) hear(ctx context.Context, i int, s Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil { // stopped meanwhile
		return
	}
	r.views[i].hear(s)
	if s.Err == nil && len(s.Candidates) > 0 {
		for j := i + 1; j < len(r.list); j++ {
			if r.cancel[j] != nil {
				r.cancel[j]()
				r.cancel[j], r.views[j] = nil, view{}
			}
		}
	} else {
		r.start(i + 1)
	}
	if out, ok := r.answer(); ok {
		r.emit(out)
	}
}

// answer is what the first strategy with candidates says, or else the failure
// of those asked. A whole empty answer needs all of them to be empty.
func (r *fallbackRun) answer() (Snapshot, bool) {
	var errs []error
	pending := false
	for i, v := range r.views {
		if v.last.Err == nil && len(v.last.Candidates) > 0 {
			s := v.last
			s.Partial = s.Partial || i > 0
			s.Err = errors.Join(errs...)
			return s, true
		}
		errs = append(errs, v.last.Err)
		pending = pending || !v.heard || v.last.Partial
	}
	err := errors.Join(errs...)
	if err == nil && pending {
		return Snapshot{}, false
	}
	// What was found beside an error is better than nothing.
	for _, v := range r.views {
		if len(v.last.Candidates) > 0 {
			return Snapshot{Candidates: v.last.Candidates, Partial: true, Err: err}, true
		}
	}
	return Snapshot{Partial: pending, Err: err}, true
}
