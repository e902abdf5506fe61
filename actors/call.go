package actors

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/actors/watch"
	"github.com/maquis-go/maquis/channelmgr"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// DefaultCallTimeout bounds a Call whose context has no deadline.
const DefaultCallTimeout = 5 * time.Second

// calls are the Calls that wait. A Call is not a protoactor future: nothing is
// registered in the process registry, the reader of the link hands the answer
// straight to the goroutine that waits.
type calls struct {
	next   atomic.Uint64
	shards [16]callShard
	pool   sync.Pool // each node has its own: channels must not leave a bubble of synctest
}

type callShard struct {
	mu sync.Mutex
	m  map[uint64]*call
}

// call is one that waits. It is used once and pooled with its channel.
type call struct {
	life   watch.Life
	result chan callResult
	timer  *time.Timer
}

type callResult struct {
	msg any
	err error
}

func (c *calls) init() {
	c.pool.New = func() any { return &call{result: make(chan callResult, 1)} }
	for i := range c.shards {
		c.shards[i].m = make(map[uint64]*call)
	}
}

// open makes a call and the id under which it is answered.
func (c *calls) open() (*call, uint64, string) {
	n := c.next.Add(1)
	k := c.pool.Get().(*call)
	k.life = watch.Life{}
	s := &c.shards[n%16]
	s.mu.Lock()
	s.m[n] = k
	s.mu.Unlock()
	return k, n, "call$" + strconv.FormatUint(n, 36)
}

// take removes a call; nil if it was answered or given up.
func (c *calls) take(n uint64) *call {
	s := &c.shards[n%16]
	s.mu.Lock()
	k := s.m[n]
	delete(s.m, n)
	s.mu.Unlock()
	return k
}

func callNumber(id string) (uint64, bool) {
	if len(id) < 6 || id[:5] != "call$" {
		return 0, false
	}
	n, err := strconv.ParseUint(id[5:], 36, 64)
	return n, err == nil
}

// answer hands an answer to who waits for it.
func (c *calls) answer(id string, msg any) {
	if n, ok := callNumber(id); ok {
		if k := c.take(n); k != nil {
			if _, dead := msg.(*actor.DeadLetterResponse); dead {
				k.result <- callResult{err: ErrDeadLetter}
				return
			}
			k.result <- callResult{msg: msg}
		}
	}
}

// fail ends a call with an error. It reports whether the id is a call's.
func (c *calls) fail(id string, err error) bool {
	n, ok := callNumber(id)
	if ok {
		if k := c.take(n); k != nil {
			k.result <- callResult{err: err}
		}
	}
	return ok
}

// gone fails all calls to a life that is over.
func (c *calls) gone(p overlay.Peer) {
	c.failAll(&NodeError{Node: p.Name, Reason: messages.ReasonNodeDown, Err: ErrNodeDown}, func(k *call) bool { return k.life == lifeOf(p) })
}

func (c *calls) stop() { c.failAll(ErrStopped, func(*call) bool { return true }) }

func (c *calls) failAll(err error, which func(*call) bool) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for n, k := range s.m {
			if which(k) {
				delete(s.m, n)
				k.result <- callResult{err: err}
			}
		}
		s.mu.Unlock()
	}
}

// Call sends a request and waits for its answer, as gen_server:call does. It
// ends when the answer is here, when it is known that none will come, or with
// ctx (DefaultCallTimeout if it has no deadline): then the error wraps
// ErrUnconfirmed and ctx's. It must not be called inside an actor that the
// answer depends on.
func Call[R any](ctx context.Context, d *Distribution, pid *actor.PID, req any, opts ...SendOption) (R, error) {
	var zero R
	msg, err := d.call(ctx, pid, req, opts)
	if err != nil {
		return zero, err
	}
	r, ok := msg.(R)
	if !ok {
		return zero, fmt.Errorf("maquis: call of %s: the answer is a %T, not a %T", pid, msg, zero)
	}
	return r, nil
}

func (d *Distribution) call(ctx context.Context, pid *actor.PID, req any, opts []SendOption) (any, error) {
	wait := DefaultCallTimeout
	if t, ok := ctx.Deadline(); ok {
		wait = time.Until(t)
	}
	p, o := d.optionsFor(pid, opts)
	if o.timeout > 0 {
		wait = min(wait, o.timeout)
	}
	if p == nil {
		return d.callLocal(pid, req, wait)
	}
	k, n, id := d.calls.open()
	if s, _ := p.session(); s != nil {
		k.life = lifeOf(s.Peer())
	}
	began := time.Now()
	out := o.outgoing(req)
	out.Sender = &actor.PID{Address: d.address, Id: id}
	if wait < channelmgr.DefaultBlockTimeout { // no longer for room, either
		out.Timeout = max(wait, time.Millisecond)
	}
	if err := p.sendThere(pid, &out); err != nil {
		d.endCall(k, n)
		return nil, err
	}
	if wait = max(wait-time.Since(began), 0); k.timer == nil {
		k.timer = time.NewTimer(wait)
	} else {
		k.timer.Reset(wait)
	}
	select {
	case r := <-k.result:
		k.timer.Stop()
		d.calls.pool.Put(k)
		return r.msg, r.err
	case <-k.timer.C:
		d.endCall(k, n)
		return nil, fmt.Errorf("%w: call of %s: %w", ErrUnconfirmed, pid, context.DeadlineExceeded)
	case <-ctx.Done():
		k.timer.Stop()
		d.endCall(k, n)
		return nil, fmt.Errorf("%w: call of %s: %w", ErrUnconfirmed, pid, ctx.Err())
	}
}

// endCall gives a call up. An answer that is just being handed over is
// thrown away.
func (d *Distribution) endCall(k *call, n uint64) {
	if d.calls.take(n) == nil {
		<-k.result
	}
	d.calls.pool.Put(k)
}

func (d *Distribution) callLocal(pid *actor.PID, req any, wait time.Duration) (any, error) {
	res, err := d.root.RequestFuture(&actor.PID{Address: d.address, Id: pid.Id}, req, wait).Result()
	if errors.Is(err, actor.ErrTimeout) {
		err = fmt.Errorf("%w: call of %s: %w", ErrUnconfirmed, pid, context.DeadlineExceeded)
	}
	return res, err
}
