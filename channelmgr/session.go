package channelmgr

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
)

// Session is everything between this node and one life of a peer, in one
// generation of it. It exists from the moment the peer is known until it is
// down or has left, whether links stand or not. All methods are safe for
// concurrent use.
type Session struct {
	r          *Registry
	peer       overlay.Peer
	generation atomic.Uint64
	epoch      uint64 // tells our flows from those of a session before this one
	pidAddress string

	data atomic.Pointer[outbound]             // the channel that most messages travel on
	out  atomic.Pointer[map[string]*outbound] // all of them; replaced, never changed
	past map[string]*outbound                 // of channels that were removed; with mu
	ctl  *pipe

	carrying sync.Mutex // while a link is given its pipe; taken before mu

	telling sync.Mutex      // taken before mu
	told    map[string]bool // channels that were told to be up; with telling

	mu      sync.Mutex
	pipes   map[uint8]*pipe
	sorted  []*pipe         // those, by index; replaced, never changed
	links   map[uint8]*link // data links by index
	control *link
	behind  *link // a control link that is gone, if not all that came on it and before it has been taken
	in      map[string]*inbound
	inEpoch uint64 // the peer's number for the flows in in
	parted  bool   // in is the next session's, too: it is not changed any more
	ended   messages.Reason
	settled bool // it is counted with its channels; with r.tally

	over       atomic.Bool // ended
	governed   atomic.Bool // see govern
	linked     atomic.Bool
	direct     atomic.Bool   // linked by a link of its own, not by a circuit
	retell     atomic.Bool   // what is stable has to be told again
	parked     atomic.Int64  // bytes that wait to be posted
	inquired   time.Duration // when the manager last opened it for what waits here
	parking    sync.Mutex
	roomy      chan struct{} // closed when less is parked; nil when no reader waits
	reportAnew atomic.Bool   // reports may have been lost with a control link
	rtt        atomic.Int64  // round trip as last measured by a heartbeat, in ns; 0: not known
	assembling atomic.Int64  // bytes of partly received large messages
}

func newSession(r *Registry, p overlay.Peer, generation uint64) *Session {
	s := &Session{r: r, peer: p, epoch: r.nextLink.Add(1), pidAddress: PIDAddress(p), in: make(map[string]*inbound)}
	s.generation.Store(generation)
	s.ctl = &pipe{s: s, control: true}
	s.ctl.dict.limit = r.cfg.Limits.DictionarySize
	s.ctl.lanes = []*lane{{pipe: s.ctl, channel: ControlChannel}}
	return s
}

// Peer returns the peer's life and address.
func (s *Session) Peer() overlay.Peer { return s.peer }

// address is the address in PIDs of the peer's actors.
func (s *Session) address() string { return s.pidAddress }

// Generation returns the generation of the peer that this session is with.
func (s *Session) Generation() uint64 { return s.generation.Load() }

// Linked reports whether the control link is up, be it over a circuit.
func (s *Session) Linked() bool { return s.linked.Load() }

// Direct reports whether the control link is up and needs no relay.
func (s *Session) Direct() bool { return s.direct.Load() }

// Open has a link opened to the peer, if there is none.
func (s *Session) Open() {
	if !s.Linked() {
		s.r.tell(&messages.OpenLink{Peer: nodeRef(s.peer), Index: wanted})
	}
}

// Ended reports whether the session has ended: nothing is sent on it any more.
func (s *Session) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended != ""
}

// Send queues a message for an actor at the peer. Messages to one target (or
// partition key) on one channel keep their order, whoever sends them. With
// room in the queue it returns at once; otherwise the channel's overflow
// policy decides, see ChannelSpec. An error is a *SendError and means that
// the message did not leave.
func (s *Session) Send(o *Outgoing) error {
	typ, err := s.r.cfg.Types.Of(o.Msg)
	if err != nil {
		s.r.counters.refused(messages.ReasonNoCodec)
		return &SendError{Node: s.peer.Name, Channel: o.Channel, Reason: messages.ReasonNoCodec, Err: err}
	}
	name := o.Channel
	if name == "" {
		name = s.r.plan.Load().pick(typ, o)
	}
	c := s.data.Load()
	if c == nil || name != DataChannel {
		if c, err = s.outbound(name); err != nil {
			return err
		}
	}
	if o.Label != "" && c.spec.Ordering != Causal {
		if c, err = s.outbound(c.spec.Name + causalTwin); err != nil {
			return err
		}
	}
	if (o.Ack || o.Receipt != nil) && c.spec.Delivery != AtLeastOnce {
		if c, err = s.outbound(c.spec.Name + ackTwin); err != nil {
			return err
		}
	}
	if o.Target == "" {
		return &SendError{Node: s.peer.Name, Channel: c.spec.Name, Reason: messages.ReasonNoSuchActor, Err: errors.New("the id of the target is empty")}
	}
	if err := checkSizes(o); err != nil {
		s.r.counters.refused(messages.ReasonTooLarge)
		return &SendError{Node: s.peer.Name, Channel: c.spec.Name, Reason: messages.ReasonTooLarge, Err: err}
	}
	o.hash = xxhash.Sum64String(o.Target)
	slot := uint8(o.hash % Slots)
	if c.spec.Ordering == Causal {
		slot = SlotOf(o.Label) // a label is one order, whatever the targets and keys
	} else if o.Key != "" {
		slot = SlotOf(o.Key)
	}
	return c.send(slot, typ, o)
}

// checkSizes refuses what the peer would end the link for.
func checkSizes(o *Outgoing) error {
	if len(o.Header) > 0 {
		if err := frame.CheckHeader(o.Header); err != nil {
			return err
		}
	}
	if len(o.Target) > frame.MaxID {
		return frame.CheckIDs(o.Target)
	}
	if p := o.Sender; p != nil && len(p.Id)+len(p.Address) > frame.MaxID {
		return frame.CheckIDs(p.Id, p.Address)
	}
	return nil
}

// SendControl sends a message to the peer's runtime. It never blocks: without
// a control link, or with too much waiting, it is refused with a *SendError.
func (s *Session) SendControl(m proto.Message) error {
	return s.sendRuntime("", m)
}

// sendRuntime sends a control message, or with an instance an overlay's.
func (s *Session) sendRuntime(instance string, m proto.Message) error {
	b, err := proto.Marshal(m)
	if err == nil && len(b) > frame.MaxControl-1024 {
		err = errors.New("the message is too large for a control frame")
	}
	if err != nil {
		return &SendError{Node: s.peer.Name, Channel: ControlChannel, Reason: messages.ReasonTooLarge, Err: err}
	}
	name := string(m.ProtoReflect().Descriptor().FullName())
	ok := (instance == "" || s.direct.Load()) && s.ctl.frames(func(dst []byte) []byte {
		if instance != "" {
			return frame.AppendOverlay(dst, frame.Overlay{Instance: instance, Type: name, Body: b})
		}
		return frame.AppendControl(dst, frame.Control{Type: name, Body: b})
	})
	if !ok {
		return &SendError{Node: s.peer.Name, Channel: ControlChannel, Reason: messages.ReasonUnreachable}
	}
	return nil
}

// outbound returns the sending side of a channel, made on first use.
func (s *Session) outbound(name string) (*outbound, error) {
	if m := s.out.Load(); m != nil {
		if c := (*m)[name]; c != nil {
			return c, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(err error) (*outbound, error) {
		s.r.counters.refused(messages.ReasonUnreachable)
		return nil, &SendError{Node: s.peer.Name, Channel: baseName(name), Reason: messages.ReasonUnreachable, Err: err}
	}
	spec, err := s.r.Channel(baseName(name))
	if err != nil {
		return refuse(err)
	}
	spec = spec.twin(name)
	m := make(map[string]*outbound)
	if old := s.out.Load(); old != nil {
		if c := (*old)[name]; c != nil {
			return c, nil
		}
		maps.Copy(m, *old)
	}
	switch c := s.past[name]; {
	case c == nil && len(m)+len(s.past) >= maxWireChannels:
		return refuse(fmt.Errorf("more than %d channels were opened to this node, removed ones and twins included", maxWireChannels))
	case c == nil:
	case c.spec.promise() != spec.promise():
		return refuse(errPromise)
	default: // it was removed and added again
		delete(s.past, name)
		s.apply(c, spec)
		m[name] = c
		s.out.Store(&m)
		return c, nil
	}
	c := newOutbound(name, spec)
	s.addLanes(c, spec.Lanes)
	m[name] = c
	s.out.Store(&m)
	if name == DataChannel {
		s.data.Store(c)
	}
	return c, nil
}

// addLanes gives a channel lanes up to a number. s.mu is held.
func (s *Session) addLanes(c *outbound, n int) {
	for i := int(c.count.Load()); i < n; i++ {
		ln := newLane(c, i)
		ln.stats = s.r.channelCounters(c.spec.Name)
		ln.pipe = s.pipe(linkIndex(c.spec.Name, i))
		p := ln.pipe
		p.mu.Lock()
		p.keeping = p.keeping || ln.kept != nil
		p.lanes = append(slices.Clone(p.lanes), ln)
		p.rank()
		p.mu.Unlock()
		c.lanes[i] = ln
		c.count.Store(int32(i + 1))
	}
}

func rank(p Priority) int {
	switch p {
	case High:
		return 0
	case Low:
		return 2
	}
	return 1
}

// pipe returns the pipe of a data link index. s.mu is held.
func (s *Session) pipe(index uint8) *pipe {
	p := s.pipes[index]
	if p == nil {
		p = &pipe{s: s, index: index, ended: s.ended}
		p.dict.limit = s.r.cfg.Limits.DictionarySize
		if s.pipes == nil {
			s.pipes = make(map[uint8]*pipe)
		}
		s.pipes[index] = p
		s.sorted = slices.SortedFunc(maps.Values(s.pipes), func(p, q *pipe) int { return cmp.Compare(p.index, q.index) })
		if l := s.links[index]; l != nil && !l.leaving.Load() && !l.shy.Load() {
			p.link, p.carried = l, true
			p.defs = p.greeting()
		}
	}
	return p
}

// linkIndex maps a channel's lane to the index of the data link that carries
// it. Both ends use the same map, so that an answer travels on the link that
// brought the question. Lanes whose indices coincide share a link.
func linkIndex(channel string, n int) uint8 {
	if channel == DataChannel {
		return uint8(n)
	}
	h := xxhash.Sum64String(channel)
	return uint8(MaxLanes + (h+uint64(n))%(relayIndex-MaxLanes))
}

// update takes a peer's report on a flow of ours.
func (s *Session) update(channel string, slot uint8, u frame.FlowUpdate) {
	c := s.opened(channel)
	if c == nil || slot >= Slots {
		return
	}
	if u.Epoch != s.epoch {
		s.r.count("past_reports")
		return
	}
	ln := c.lock(slot)
	p := ln.pipe
	fl := &c.flows[slot]
	from := fl.Confirmed()
	progress, lost := fl.Update(flow.Update{Next: u.Next, Credit: u.Credit, Lost: u.Lost})
	p.wake()
	unheard := u.Rejected > ln.rejects[slot] // rejects of which the report was lost with a control link
	ln.rejects[slot] = u.Rejected
	if ln.latest != nil {
		ln.latest.confirm(slot, fl.Confirmed())
		p.kickPending(ln) // the window may have opened; locks no more
		lost = 0          // superseded on its way
	} else {
		if ln.kept != nil {
			ln.kept.settle(ln, slot, progress, unheard || lost > 0)
		}
		p.mu.Unlock()
	}
	if ln.causal {
		s.r.arrivedThere(s, orderKey{c.name, slot}, u.Arrived)
	}
	if unheard {
		s.r.count("rejects_unheard")
	}
	if lost > 0 {
		s.r.lost(Loss{Session: s, Channel: c.spec.Name, Slot: slot, From: from, To: from + lost, Confirmed: true})
	}
}

// Kept returns how many messages are kept for the peer because they are not
// confirmed, on all channels that keep any.
func (s *Session) Kept() (n int) {
	for _, p := range s.allPipes() {
		p.mu.Lock()
		for _, ln := range p.lanes {
			if ln.keeps() {
				count, _ := ln.held()
				n += count
			}
		}
		p.mu.Unlock()
	}
	return n
}

// allPipes returns the data pipes, by index. The list must not be changed.
func (s *Session) allPipes() []*pipe {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sorted
}

// allLinks returns the control link, if any, and the data links.
func (s *Session) allLinks() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control == nil && len(s.links) == 0 {
		return nil
	}
	links := make([]*link, 0, 1+len(s.links))
	if s.control != nil {
		links = append(links, s.control)
	}
	data := len(links)
	for _, l := range s.links {
		links = append(links, l)
	}
	slices.SortFunc(links[data:], func(a, b *link) int { return cmp.Compare(a.index, b.index) })
	return links
}

// end closes the session for good: links go, queued messages come back as
// undelivered, and what was written but never confirmed is reported.
func (s *Session) end(why messages.Reason, linkWhy messages.Reason) {
	s.mu.Lock()
	if s.ended != "" {
		s.mu.Unlock()
		return
	}
	s.ended = why
	s.mu.Unlock()
	s.over.Store(true)
	s.linked.Store(false)
	for _, l := range s.allLinks() {
		l.fail(linkWhy, nil)
	}
	s.ctl.end(why)
	for _, p := range s.allPipes() {
		p.end(why)
	}
	s.r.partOrders(s) // nothing is sent any more
	s.settle()
	s.tellChannels(why)
}

// RTT returns the round trip to the peer as last measured by a heartbeat; 0: not
// known. It is safe for concurrent use.
func (s *Session) RTT() time.Duration { return time.Duration(s.rtt.Load()) }
