package peerservice

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
)

// maxSuspects bounds how many messages are remembered as having killed a part;
// the oldest is forgotten first. Our choice.
const maxSuspects = 256

// quarantine remembers messages that killed a part. One that did so twice is
// dropped when that part sees it again. A message is known by its content: a
// peer that sends the same bytes again makes a new message each time. It is
// safe for concurrent use.
type quarantine struct {
	active atomic.Bool // something is quarantined

	mu    sync.Mutex
	kills map[suspect]int
	order []suspect

	count   func(name string)
	dropped func(msg any)              // settles what a dropped message was booked for
	tap     func(part string, msg any) // sees every message of a part first; nil but in tests
}

// suspect is a message to a part.
type suspect struct {
	part string
	sum  uint64
}

func newQuarantine(count func(string), dropped func(any)) *quarantine {
	return &quarantine{kills: make(map[suspect]int), count: count, dropped: dropped}
}

// killed books that a message killed a part and reports whether it is
// quarantined by that.
func (q *quarantine) killed(part string, msg any) bool {
	sum, ok := fingerprint(msg)
	if !ok {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	k := suspect{part, sum}
	if q.kills[k] == 0 {
		if len(q.order) >= maxSuspects {
			delete(q.kills, q.order[0])
			q.order = slices.Delete(q.order, 0, 1)
		}
		q.order = append(q.order, k)
	}
	q.kills[k]++
	if q.kills[k] != 2 {
		return false
	}
	q.active.Store(true)
	return true
}

// refuses reports whether a message is quarantined for a part.
func (q *quarantine) refuses(part string, msg any) bool {
	sum, ok := fingerprint(msg)
	if !ok {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.kills[suspect{part, sum}] >= 2
}

// guard is the middleware of a part that drops what is quarantined. While
// nothing is, it costs one load per message.
func (q *quarantine) guard(part string) actor.ReceiverMiddleware {
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(c actor.ReceiverContext, e *actor.MessageEnvelope) {
			if q.tap != nil {
				q.tap(part, e.Message)
			}
			if q.active.Load() && q.refuses(part, e.Message) {
				q.count("quarantined")
				q.dropped(e.Message)
				return
			}
			next(c, e)
		}
	}
}

// fingerprint identifies a message by type and content. It reports false for
// those that are never at fault: what the actor system sends, and ticks and
// timers, without which a part would stand still; if one of them kills again
// and again, the node is given up.
func fingerprint(msg any) (uint64, bool) {
	switch msg.(type) {
	case nil, actor.SystemMessage, actor.AutoReceiveMessage, *messages.Tick, fired:
		return 0, false
	}
	h := xxhash.New()
	_, _ = fmt.Fprintf(h, "%T ", msg)
	if m, ok := msg.(proto.Message); ok {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			return 0, false
		}
		_, _ = h.Write(b)
	} else {
		_, _ = fmt.Fprintf(h, "%+v", msg) // maps are printed sorted
	}
	return h.Sum64(), true
}
