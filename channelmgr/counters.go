package channelmgr

import (
	"sync"
	"sync/atomic"

	"github.com/maquis-go/maquis/messages"
)

// counters are always on. Those of the data path are plain atomics; the rest
// are made on first use.
type counters struct {
	received      atomic.Uint64
	retransmitted atomic.Uint64
	connections   atomic.Int64 // links that are no circuits
	named         sync.Map     // string -> *atomic.Uint64
}

func (c *counters) add(name string) { c.addN(name, 1) }

func (c *counters) addN(name string, n uint64) {
	v, ok := c.named.Load(name)
	if !ok {
		v, _ = c.named.LoadOrStore(name, new(atomic.Uint64))
	}
	v.(*atomic.Uint64).Add(n)
}

func (c *counters) refused(why messages.Reason)     { c.add("refused_" + string(why)) }
func (c *counters) rejected(why messages.Reason)    { c.add("rejected_" + string(why)) }
func (c *counters) undelivered(why messages.Reason) { c.add("undelivered_" + string(why)) }
func (c *counters) linkEnded(why messages.Reason)   { c.add("link_ended_" + string(why)) }

func (r *Registry) count(name string) { r.counters.add(name) }

// Stats is a snapshot of the counters by name: received (messages posted),
// links (that stand), relayed (frames passed on for others), retransmitted
// (messages written again since another link carries their flow),
// refused_REASON (sends not accepted), rejected_REASON (messages that arrived
// and could not be delivered), undelivered_REASON, dropped_oldest, dropped_newest, superseded, link_ended_REASON,
// handshake_REASON (handshakes that failed), relay_dropped (frames that were to be
// passed on over a link that is gone), connections (links that are no circuits),
// connections_full (lanes and shortcuts that were not opened since there were as
// many as MaxConnections), trimmed (how often
// bulk to a peer was made to leave its line's queue short), and what the limits dropped.
type Stats map[string]uint64

// Stats returns the counters.
func (r *Registry) Stats() Stats {
	s := Stats{"received": r.counters.received.Load(), "links": uint64(r.Links()), "connections": uint64(max(r.counters.connections.Load(), 0)), "relayed": r.relayed.Load(), "retransmitted": r.counters.retransmitted.Load()}
	r.counters.named.Range(func(k, v any) bool {
		s[k.(string)] = v.(*atomic.Uint64).Load()
		return true
	})
	return s
}

// Links returns how many links stand.
func (r *Registry) Links() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.links)
}
