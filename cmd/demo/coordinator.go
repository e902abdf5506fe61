package main

import (
	"github.com/asynkron/protoactor-go/actor"
)

// window is how many chunks wait at one counter.
const window = 4

// Messages of the coordinator that never leave its process.
type (
	addCounter struct {
		pid  *actor.PID
		node string
	}
	noMore struct{ size int64 } // all chunks were read: so many bytes
)

// progress is what the coordinator tells after every change.
type progress struct {
	chunks, done, redispatched, terminated int
	work                                   map[string]int // chunks by node
	finished                               bool
}

// coordinator hands chunks to counters and gathers what they found. A counter
// that is terminated gives its chunks back: they are done by others. It learns
// that from Watch, not from a timeout.
type coordinator struct {
	tell   func(progress)
	counts map[string]uint64
	words  uint64

	counters []*counter
	queue    []*Chunk
	seen     map[uint32]bool // chunks that were counted
	total    int
	done     int
	again    int
	ended    int
	work     map[string]int
	closed   bool
	size     int64
}

// counter is an actor that counts.
type counter struct {
	pid    *actor.PID
	node   string
	flying map[uint32]*Chunk
}

func newCoordinator(tell func(progress)) *coordinator {
	return &coordinator{tell: tell, counts: make(map[string]uint64), seen: make(map[uint32]bool), work: make(map[string]int)}
}

// Receive implements actor.Actor.
func (k *coordinator) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case addCounter:
		c.Watch(m.pid)
		k.counters = append(k.counters, &counter{pid: m.pid, node: m.node, flying: make(map[uint32]*Chunk)})
	case *Chunk:
		k.total++
		k.queue = append(k.queue, m)
	case noMore:
		k.closed, k.size = true, m.size
	case *Counted:
		k.counted(m)
	case *actor.Terminated:
		k.terminated(m.Who)
	default:
		return
	}
	k.dispatch(c)
	k.tell(k.progress())
}

// counted takes a result. A chunk that was given to two counters counts once.
func (k *coordinator) counted(m *Counted) {
	for _, ct := range k.counters {
		if _, ok := ct.flying[m.GetId()]; ok { // protoactor's Respond names no sender
			delete(ct.flying, m.GetId())
			if !k.seen[m.GetId()] {
				k.work[ct.node]++
			}
			break
		}
	}
	if k.seen[m.GetId()] {
		return
	}
	k.seen[m.GetId()] = true
	k.done++
	k.words += m.GetWords()
	for w, n := range m.GetCounts() {
		k.counts[w] += n
	}
}

// terminated gives the chunks of a counter that is gone to others.
func (k *coordinator) terminated(who *actor.PID) {
	for i, ct := range k.counters {
		if !ct.pid.Equal(who) {
			continue
		}
		k.ended++
		for _, ch := range ct.flying {
			if !k.seen[ch.GetId()] {
				k.queue = append(k.queue, ch)
				k.again++
			}
		}
		k.counters = append(k.counters[:i:i], k.counters[i+1:]...)
		return
	}
}

// dispatch gives chunks to those that have the least to do.
func (k *coordinator) dispatch(c actor.Context) {
	for len(k.queue) > 0 {
		var best *counter
		for _, ct := range k.counters {
			if len(ct.flying) < window && (best == nil || len(ct.flying) < len(best.flying)) {
				best = ct
			}
		}
		if best == nil {
			return
		}
		ch := k.queue[0]
		k.queue = k.queue[1:]
		if k.seen[ch.GetId()] {
			continue
		}
		best.flying[ch.GetId()] = ch
		c.Request(best.pid, ch)
	}
}

func (k *coordinator) progress() progress {
	work := make(map[string]int, len(k.work))
	for n, w := range k.work {
		work[n] = w
	}
	return progress{chunks: k.total, done: k.done, redispatched: k.again, terminated: k.ended, work: work, finished: k.closed && k.done == k.total}
}
