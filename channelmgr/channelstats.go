package channelmgr

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maquis-go/maquis/messages"
)

// ChannelStats are the counters of one channel, of all peers together. They are
// always on.
type ChannelStats struct {
	Channel string
	// Of messages that this node sends.
	Queued, QueuedBytes int           // waiting now
	Sent, SentBytes     uint64        // accepted, with their frames
	Wait                time.Duration // in the queue, of messages of late: a moving mean
	MaxWait             time.Duration // the longest that was seen
	Retransmitted       uint64        // sent again since they were not confirmed
	Unpacked, Packed    uint64        // bytes that were compressed, before and after
	Lanes               int           // that have a link now
	// Of messages that come in.
	Received, ReceivedBytes uint64 // with duplicates
	Duplicates              uint64 // of them, suppressed
	// Dropped counts what was not accepted, or was accepted and did not arrive, by
	// reason.
	Dropped map[messages.Reason]uint64
}

// channelCounters are what is counted of a channel beside its lanes and flows.
// The data path counts in those, under locks that it holds anyway.
type channelCounters struct {
	unpacked, packed, retransmitted  atomic.Uint64
	received, receivedBytes, doubles atomic.Uint64
	wait, maxWait                    atomic.Int64 // in ns
	sent, sentBytes                  atomic.Uint64
	dropped                          sync.Map // reason -> *atomic.Uint64
}

func (c *channelCounters) drop(why messages.Reason) { c.drops(why, 1) }

func (c *channelCounters) drops(why messages.Reason, n uint64) {
	v, ok := c.dropped.Load(why)
	if !ok {
		v, _ = c.dropped.LoadOrStore(why, new(atomic.Uint64))
	}
	v.(*atomic.Uint64).Add(n)
}

// waited takes a sample of the time in the queue.
func (c *channelCounters) waited(d time.Duration) {
	mean := c.wait.Load()
	c.wait.Store(mean + (int64(d)-mean)/8)
	for most := c.maxWait.Load(); int64(d) > most && !c.maxWait.CompareAndSwap(most, int64(d)); {
		most = c.maxWait.Load()
	}
}

// channelCounters returns the counters of a channel, which live as long as the
// registry. Names come from peers too: beyond a bound they are counted together.
func (r *Registry) channelCounters(name string) *channelCounters {
	if c, ok := r.byChannel.Load(name); ok {
		return c.(*channelCounters)
	}
	if r.channelsSeen.Add(1) > 4*MaxChannels {
		name = "(others)"
	}
	c, _ := r.byChannel.LoadOrStore(name, new(channelCounters))
	return c.(*channelCounters)
}

// sampleEvery is how many messages of a lane pass between two of which the time
// in the queue is taken: a look at the clock costs as much as a small message.
const sampleEvery = 64

// sample is the message of a lane whose time in the queue is being taken. With
// pipe.mu.
type sample struct {
	puts  uint64        // messages that entered the queue
	at    uint64        // the one that is watched; 0 none
	since time.Duration // it entered
}

// enter counts a message that enters the queue.
func (s *sample) enter(r *Registry) {
	if s.puts++; s.puts%sampleEvery == 1 && s.at == 0 {
		s.at, s.since = s.puts, r.now()
	}
}

// leave looks whether the message that is watched has left the queue.
func (s *sample) leave(ln *lane) {
	if s.puts-uint64(ln.queued) >= s.at {
		ln.stats.waited(ln.pipe.s.r.now() - s.since)
		s.at = 0
	}
}

// ChannelStats returns the counters of all channels that were used or are
// configured, sorted by name.
func (r *Registry) ChannelStats() []ChannelStats {
	r.tally.Lock()
	defer r.tally.Unlock()
	byName := make(map[string]*ChannelStats)
	get := func(name string) *ChannelStats {
		if byName[name] == nil {
			byName[name] = &ChannelStats{Channel: name, Dropped: make(map[messages.Reason]uint64)}
		}
		return byName[name]
	}
	for name := range r.plan.Load().specs {
		get(name)
	}
	r.byChannel.Range(func(k, v any) bool {
		st, c := get(k.(string)), v.(*channelCounters)
		st.Unpacked, st.Packed, st.Retransmitted = c.unpacked.Load(), c.packed.Load(), c.retransmitted.Load()
		st.Sent, st.SentBytes = c.sent.Load(), c.sentBytes.Load()
		st.Received, st.ReceivedBytes, st.Duplicates = c.received.Load(), c.receivedBytes.Load(), c.doubles.Load()
		st.Wait, st.MaxWait = time.Duration(c.wait.Load()), time.Duration(c.maxWait.Load())
		c.dropped.Range(func(k, v any) bool {
			st.Dropped[k.(messages.Reason)] = v.(*atomic.Uint64).Load()
			return true
		})
		return true
	})
	r.mu.Lock()
	sessions := slices.AppendSeq(slices.Collect(maps.Values(r.lives)), maps.Keys(r.ending))
	r.mu.Unlock()
	for _, s := range sessions {
		if !s.settled {
			s.addStats(get)
		}
	}
	return slices.SortedFunc(func(yield func(ChannelStats) bool) {
		for _, st := range byName {
			if !yield(*st) {
				return
			}
		}
	}, func(a, b ChannelStats) int { return cmp.Compare(a.Channel, b.Channel) })
}

// addStats adds what is counted in the session's lanes and flows.
func (s *Session) addStats(get func(name string) *ChannelStats) {
	for _, p := range s.allPipes() {
		p.mu.Lock()
		for _, ln := range p.lanes {
			if ln.stats == nil { // what is relayed for others
				continue
			}
			st := get(ln.spec.Name)
			count, bytes := ln.held()
			st.Queued, st.QueuedBytes = st.Queued+count, st.QueuedBytes+bytes
			st.Sent, st.SentBytes = st.Sent+ln.sent, st.SentBytes+ln.sentBytes
			if p.link != nil {
				st.Lanes++
			}
		}
		p.mu.Unlock()
	}
	for _, c := range s.inbounds() {
		st := get(c.base)
		c.used(func(_ uint8, f *inFlow) {
			f.mu.Lock()
			st.Received, st.ReceivedBytes, st.Duplicates = st.Received+f.got, st.ReceivedBytes+f.gotBytes, st.Duplicates+f.doubles
			f.mu.Unlock()
		})
	}
}

// settle adds what was counted in a session's lanes and flows to the channels'
// counters: the session has ended.
func (s *Session) settle() {
	r := s.r
	r.tally.Lock()
	defer r.tally.Unlock()
	s.settled = true
	r.mu.Lock()
	delete(r.ending, s)
	r.mu.Unlock()
	for _, p := range s.allPipes() {
		p.mu.Lock()
		for _, ln := range p.lanes {
			if ln.stats != nil {
				ln.stats.sent.Add(ln.sent)
				ln.stats.sentBytes.Add(ln.sentBytes)
			}
		}
		p.mu.Unlock()
	}
	r.settleFlows(s.inbounds())
}

// settleFlows adds what was counted in flows to the channels' counters. Those of a
// session that has ended may go on, in another or for what its links still bring:
// they count anew. r.tally is held.
func (r *Registry) settleFlows(list []*inbound) {
	for _, c := range list {
		st := r.channelCounters(c.base)
		c.used(func(_ uint8, f *inFlow) {
			f.mu.Lock()
			f.settle(st)
			f.mu.Unlock()
		})
	}
}

// settle adds what was counted in the flow. f.mu is held.
func (f *inFlow) settle(st *channelCounters) {
	st.received.Add(f.got)
	st.receivedBytes.Add(f.gotBytes)
	st.doubles.Add(f.doubles)
	f.got, f.gotBytes, f.doubles = 0, 0, 0
}
