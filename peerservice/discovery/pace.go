package discovery

import (
	"context"
	"sync"
)

// Pace says how much a consumer wants of its strategies: everything at once
// while it is alone, little once it is calm. All methods may be called at any
// time by anybody. A new Pace is not calm.
type Pace struct {
	mu      sync.Mutex
	calm    bool
	changed chan struct{}
}

// SetCalm says whether the consumer has what it needs.
func (p *Pace) SetCalm(calm bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calm != calm {
		p.calm = calm
		if p.changed != nil {
			close(p.changed)
			p.changed = nil
		}
	}
}

// Calm returns whether the consumer is calm, and a channel that is closed when
// that changes.
func (p *Pace) Calm() (calm bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.calm, p.changed
}

type paceKey struct{}

// WithPace returns a context that carries p to the strategies run under it.
func WithPace(ctx context.Context, p *Pace) context.Context {
	return context.WithValue(ctx, paceKey{}, p)
}

// PaceOf returns the Pace that ctx carries, or else one that is never calm.
func PaceOf(ctx context.Context) *Pace {
	if p, ok := ctx.Value(paceKey{}).(*Pace); ok && p != nil {
		return p
	}
	return new(Pace)
}
