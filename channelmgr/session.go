package channelmgr

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

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
	ctl  *pipe

	carrying sync.Mutex // while a link is given its pipe; taken before mu

	mu      sync.Mutex
	pipes   map[uint8]*pipe
	links   map[uint8]*link // data links by index
	control *link
	in      map[string]*inbound
	inEpoch uint64 // the peer's number for the flows in in
	ended   messages.Reason

	linked     atomic.Bool
	direct     atomic.Bool  // linked by a link of its own, not by a circuit
	rtt        atomic.Int64 // round trip as last measured by a heartbeat, in ns; 0: not known
	assembling atomic.Int64 // bytes of partly received large messages
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
	c := s.data.Load()
	if c == nil || (o.Channel != "" && o.Channel != DataChannel) {
		var err error
		if c, err = s.outbound(cmp.Or(o.Channel, DataChannel)); err != nil {
			return err
		}
	}
	typ, err := s.r.cfg.Types.Of(o.Msg)
	if err != nil {
		s.r.counters.refused(messages.ReasonNoCodec)
		return &SendError{Node: s.peer.Name, Channel: c.spec.Name, Reason: messages.ReasonNoCodec, Err: err}
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
	if o.Key != "" {
		slot = SlotOf(o.Key)
	}
	return c.lane(slot).send(slot, typ, o)
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
	spec, ok := s.r.channels[name]
	if !ok {
		s.r.counters.refused(messages.ReasonUnreachable)
		return nil, &SendError{Node: s.peer.Name, Channel: name, Reason: messages.ReasonUnreachable, Err: ErrUnknownChannel}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.out.Load()
	m := make(map[string]*outbound)
	if old != nil {
		if c := (*old)[name]; c != nil {
			return c, nil
		}
		maps.Copy(m, *old)
	}
	c := &outbound{spec: spec}
	for i := range spec.Lanes {
		ln := &lane{channel: name, spec: spec, flows: &c.flows}
		for slot := i; slot < Slots; slot += spec.Lanes {
			ln.slots = append(ln.slots, uint8(slot))
		}
		ln.pipe = s.pipe(linkIndex(name, i))
		p := ln.pipe
		p.mu.Lock()
		p.lanes = append(slices.Clone(p.lanes), ln)
		slices.SortStableFunc(p.lanes, func(a, b *lane) int { return cmp.Compare(rank(a.spec.Priority), rank(b.spec.Priority)) })
		p.mu.Unlock()
		c.lanes = append(c.lanes, ln)
	}
	m[name] = c
	s.out.Store(&m)
	if name == DataChannel {
		s.data.Store(c)
	}
	return c, nil
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
		if p.link = s.links[index]; p.link != nil {
			p.carried = true
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
	m := s.out.Load()
	if m == nil {
		return
	}
	c := (*m)[channel]
	if c == nil || slot >= Slots {
		return
	}
	p := c.lane(slot).pipe
	p.mu.Lock()
	from := c.flows[slot].Confirmed()
	_, lost := c.flows[slot].Update(flow.Update{Next: u.Next, Credit: u.Credit, Lost: u.Lost})
	p.wake()
	p.mu.Unlock()
	if lost > 0 {
		s.r.lost(Loss{Session: s, Channel: channel, Slot: slot, From: from, To: from + lost, Confirmed: true})
	}
}

// allPipes returns the data pipes.
func (s *Session) allPipes() []*pipe {
	s.mu.Lock()
	defer s.mu.Unlock()
	pipes := make([]*pipe, 0, len(s.pipes))
	for _, i := range slices.Sorted(maps.Keys(s.pipes)) {
		pipes = append(pipes, s.pipes[i])
	}
	return pipes
}

// allLinks returns the control link, if any, and the data links.
func (s *Session) allLinks() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	var links []*link
	if s.control != nil {
		links = append(links, s.control)
	}
	for _, i := range slices.Sorted(maps.Keys(s.links)) {
		links = append(links, s.links[i])
	}
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
	s.linked.Store(false)
	for _, l := range s.allLinks() {
		l.fail(linkWhy, nil)
	}
	s.ctl.end(why)
	for _, p := range s.allPipes() {
		p.end(why)
	}
}
