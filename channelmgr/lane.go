package channelmgr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/maquis-go/maquis/channelmgr/flow"
	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

// Slots is the number of flows of a channel between two nodes. It is fixed by
// the protocol: every node maps a partition key to the same slot.
const Slots = 64

// SlotOf returns the slot of a partition key: xxhash64 of the key modulo
// Slots.
func SlotOf(key string) uint8 { return uint8(xxhash.Sum64String(key) % Slots) }

// lane is a channel's ordered queue towards one peer.
type lane struct {
	c       *outbound // nil for what is no channel
	index   int       // among its lanes
	pipe    *pipe
	channel string // its name on the wire
	spec    ChannelSpec
	slots   []uint8 // those whose flows travel here; nil for the control lane
	flows   *[Slots]flow.Sender
	rejects *[Slots]uint64 // messages that the peer said it could not deliver; with pipe.mu
	q       segments       // with pipe.mu
	queued  int            // messages in q; with pipe.mu

	stats           *channelCounters // the channel's; nil for what is no channel
	sent, sentBytes uint64           // with pipe.mu
	sample          sample           // with pipe.mu

	asks bool // the next message is to ask for a report; with pipe.mu

	late   bool    // messages are numbered when they are taken for writing
	last   uint64  // the number given last; with pipe.mu, if late
	latest *latest // of a Monotonic channel
	kept   *kept   // of a channel with delivery AtLeastOnce
	causal bool    // of a channel with ordering Causal

	orders *[Slots]*outOrder // those in use, if causal; with pipe.mu
	order  *outOrder         // of the message that is being queued, if causal; with pipe.mu
	after  uint64            // what that message waits for
	shed   []shed            // dropped and not told yet; with pipe.mu
}

// newLane makes a lane of a channel.
func newLane(c *outbound, i int) *lane {
	ln := &lane{c: c, index: i, channel: c.name, spec: c.spec, flows: &c.flows, rejects: &c.rejects, late: c.spec.Overflow == DropOldest}
	for slot := range uint8(Slots) {
		if c.at[slot].Load() == uint32(i) {
			ln.slots = append(ln.slots, slot)
		}
	}
	ln.causal = c.spec.Ordering == Causal
	switch {
	case c.spec.Ordering == Monotonic:
		ln.latest = newLatest()
	case c.spec.Delivery == AtLeastOnce:
		ln.kept = new(kept)
	}
	return ln
}

// outbound is a channel towards one peer: its lanes and its flows. The flows
// of a lane are guarded by the lock of the lane's pipe.
type outbound struct {
	name    string // on the wire; spec has that of the channel
	spec    ChannelSpec
	fixed   bool                 // flows stay on the lanes that they have from the start
	count   atomic.Int32         // of lanes
	lanes   [MaxLanes]*lane      // those below count never change
	at      [Slots]atomic.Uint32 // the lane of each flow; changed with both pipes locked
	flows   [Slots]flow.Sender
	rejects [Slots]uint64
}

// newOutbound makes the sending side of a channel, without lanes.
func newOutbound(name string, spec ChannelSpec) *outbound {
	c := &outbound{name: name, spec: spec, fixed: spec.fixed()}
	if c.fixed {
		for slot := range c.at {
			c.at[slot].Store(uint32(slot % spec.Lanes))
		}
	}
	return c
}

// bodies of up to inPlace bytes are marshaled into the lane's block under its
// lock, larger ones before it is taken.
const inPlace = 16 << 10

// send queues one message, waiting for room if it may.
func (c *outbound) send(slot uint8, typ *messages.Type, o *Outgoing) error {
	ln := c.lanes[0]
	limits := ln.pipe.s.r.limits()
	size := typ.Size(o.Msg)
	var large *body
	if size > limits.MaxMessage {
		return ln.refuse(messages.ReasonTooLarge, fmt.Errorf("%d bytes, the limit is %d (limits.max_message)", size, limits.MaxMessage))
	}
	if size < 0 || size > inPlace {
		if raw, ok := typ.Raw(o.Msg); ok {
			large = &body{b: raw, foreign: true}
		} else {
			large = newBody(max(size, inPlace))
			b, err := appendBody(large.b, typ, o.Msg)
			if err != nil {
				return ln.refuse(messages.ReasonNoCodec, err)
			}
			large.b, size = b, len(b)
		}
		if size > limits.MaxMessage {
			large.release()
			return ln.refuse(messages.ReasonTooLarge, fmt.Errorf("%d bytes, the limit is %d (limits.max_message)", size, limits.MaxMessage))
		}
	}
	ln = c.lockBest(slot)
	err := ln.admit(slot, size, o)
	for err == nil && !ln.carries(slot) { // it moved while this one waited
		ln.pipe.mu.Unlock()
		ln = c.lock(slot)
		err = ln.admit(slot, size, o)
	}
	p := ln.pipe
	switch {
	case err != nil:
		if large != nil {
			large.release()
		}
	case ln.latest != nil:
		err = ln.putLatest(slot, typ, o, size, large)
	case ln.causal:
		err = ln.putInOrder(slot, typ, o, size, large)
	case large != nil:
		err = ln.putLarge(slot, typ, o, large)
	default:
		err = ln.put(slot, typ, o, size)
	}
	dropped := ln.shed
	ln.shed = nil
	if err != nil {
		p.mu.Unlock()
	} else {
		ln.sent++
		ln.sentBytes += uint64(size)
		ln.sample.enter(p.s.r)
		p.kick(!o.NoBlock && large == nil && ln.q.bytes <= inlineBytes)
	}
	if dropped != nil {
		ln.tellShed(dropped)
	}
	if err == errShed {
		ln.shedNewest(typ, o)
		return nil
	}
	return err
}

// stalledAfter is how long a sender waits for room until that is told. Our
// choice.
const stalledAfter = time.Second

// admit waits until the message fits, or says why it never will. mu is held,
// though not while waiting.
func (ln *lane) admit(slot uint8, size int, o *Outgoing) error {
	p := ln.pipe
	limit := ln.spec.MaxQueueLen
	if o.NoBlock {
		limit += p.s.r.limits().ReservedQueueLen
	}
	var timer *time.Timer
	var wait, stalled time.Duration
	for {
		if p.ended != "" {
			return ln.refuse(p.ended, nil)
		}
		if ln.latest != nil && ln.latest.has(o) {
			return nil // in another's place
		}
		count, bytes := ln.held()
		room := count < limit && (count == 0 || o.NoBlock || bytes+size <= ln.spec.MaxQueueBytes)
		if room && (o.NoBlock || ln.latest != nil || ln.flows[slot].Open()) {
			if timer != nil {
				timer.Stop()
			}
			return nil
		}
		switch {
		case o.NoBlock || ln.spec.Overflow == Reject:
			return ln.refuse(messages.ReasonOverflow, fmt.Errorf("%d messages, %d bytes wait", count, bytes))
		case ln.spec.Overflow == DropOldest && !room && ln.shedOldest():
			continue
		case ln.spec.Overflow != Block:
			return errShed
		}
		if timer == nil {
			wait = ln.spec.BlockTimeout
			if o.Wait > 0 {
				wait = o.Wait
			}
			stalled = min(wait, stalledAfter)
			timer = time.NewTimer(stalled)
			p.s.r.count("sends_blocked")
		}
		roomy := p.wait()
		p.mu.Unlock()
		select {
		case <-roomy:
			p.mu.Lock()
		case <-o.Cancel:
			p.mu.Lock()
			timer.Stop()
			return ln.refuse(messages.ReasonTimeout, fmt.Errorf("given up: %d messages, %d bytes wait", count, bytes))
		case <-timer.C:
			if stalled < wait {
				p.s.r.stalled(ln, stalled)
				wait, stalled = wait-stalled, wait-stalled
				timer.Reset(wait)
				p.mu.Lock()
				continue
			}
			p.mu.Lock()
			why := messages.ReasonOverflow
			if p.link == nil && (!room || !p.s.Linked()) {
				why = messages.ReasonUnreachable
			}
			return ln.refuse(why, fmt.Errorf("no room within the block timeout: %d messages, %d bytes wait", count, bytes))
		}
	}
}

// held is what the lane's bounds are for. mu is held.
func (ln *lane) held() (count, bytes int) {
	switch {
	case ln.latest != nil:
		return ln.latest.count, ln.latest.bytes
	case ln.kept != nil:
		return ln.kept.open, ln.q.bytes + ln.kept.bytes
	}
	return ln.queued, ln.q.bytes
}

// pending reports whether something is to be written. mu is held.
func (ln *lane) pending() bool {
	return len(ln.q.list) > 0 || ln.latest != nil && ln.latest.ready(ln)
}

// unconfirmed reports whether messages were sent that are not confirmed. mu is
// held.
func (ln *lane) unconfirmed() bool {
	for _, slot := range ln.slots {
		if fl := &ln.flows[slot]; fl.Confirmed() != fl.Next() {
			return true
		}
	}
	return ln.latest != nil && ln.latest.count > 0
}

// keeps reports whether messages are kept that are not confirmed. mu is held.
func (ln *lane) keeps() bool {
	return ln.latest != nil && ln.latest.count > 0 || ln.kept != nil && ln.kept.open > 0
}

// take moves up to about limit bytes that are to be written to dst. mu is held.
func (ln *lane) take(dst []segment, limit int) []segment {
	if ln.latest != nil {
		ln.latest.fill(ln, limit)
	}
	if len(ln.q.list) == 0 {
		return dst
	}
	at := len(dst)
	dst = ln.q.take(dst, limit)
	if ln.kept != nil {
		ln.kept.lend(dst[at:])
	}
	for i := range dst[at:] {
		ln.queued -= dst[at+i].frames
		dst[at+i].frames = 0
	}
	if ln.late {
		ln.numberTaken(dst[at:])
	}
	if ln.sample.at != 0 {
		ln.sample.leave(ln)
	}
	return dst
}

func (ln *lane) refuse(why messages.Reason, err error) error {
	ln.pipe.s.r.counters.refused(why)
	if ln.stats != nil {
		ln.stats.drop(why)
	}
	return &SendError{Node: ln.pipe.s.peer.Name, Channel: ln.spec.Name, Reason: why, Err: err}
}

// header fills d from the message and returns it ready for AppendData. mu is
// held.
func (ln *lane) header(d *frame.Data, slot uint8, typ *messages.Type, o *Outgoing) bool {
	p := ln.pipe
	var ok bool
	d.Slot = slot
	if d.Channel, p.defs, ok = p.dict.channel(ln.channel, p.defs); !ok {
		return false
	}
	if d.TypeRef, p.defs = p.dict.typeRef(typ, p.defs); d.TypeRef == 0 {
		d.Type = typ.Name
	}
	d.Target = o.Target
	if !transient(o.Target) {
		d.TargetRef, p.defs = p.dict.target(o.hash, o.Target, p.defs)
	}
	d.TargetRequest = o.TargetRequest
	d.System = o.System
	if s := o.Sender; s != nil {
		d.SenderRequest = s.RequestId
		switch {
		case !p.s.r.isSelf(s.Address):
			d.SenderForm, d.SenderAddr, d.SenderID = frame.SenderForeign, s.Address, s.Id
		case transient(s.Id):
			d.SenderForm, d.SenderID = frame.SenderInline, s.Id
		default:
			if d.SenderRef, p.defs = p.dict.ref(frame.TableSender, s.Id, p.defs); d.SenderRef != 0 {
				d.SenderForm = frame.SenderLocal
			} else {
				d.SenderForm, d.SenderID = frame.SenderInline, s.Id
			}
		}
	}
	d.Report = ln.asks
	d.Header = o.Header
	d.Causal, d.After = ln.causal, ln.after
	if o.Timeout > 0 {
		d.ExpiresMS = uint32(min(max(o.Timeout/time.Millisecond, 1), 1<<31))
	}
	return true
}

// transient reports whether an id is used once, like a future's: interning it
// would only fill the tables.
func transient(id string) bool {
	return strings.HasPrefix(id, "future$") || strings.HasPrefix(id, "call$")
}

// put marshals a small message straight into the lane's block. mu is held.
func (ln *lane) put(slot uint8, typ *messages.Type, o *Outgoing, size int) error {
	d := &ln.pipe.head
	*d = frame.Data{}
	if !ln.header(d, slot, typ, o) {
		return ln.refuse(messages.ReasonLimit, errors.New("more channels than the protocol carries"))
	}
	seg := ln.q.room(size + 256)
	start := len(seg.b)
	b := frame.AppendData(seg.b, d)
	b, err := appendBody(b, typ, o.Msg)
	if err == nil {
		err = fits(len(b) - start)
	}
	if err != nil {
		if len(seg.b) == 0 && len(ln.q.list) > 0 { // a block taken just for this message
			ln.q.list[len(ln.q.list)-1].release()
			ln.q.list = ln.q.list[:len(ln.q.list)-1]
		}
		return ln.refuse(messages.ReasonNoCodec, err)
	}
	frame.Finish(b, start)
	seq, ask := ln.enter(slot, o)
	frame.SetSeq(b[start:], seq)
	if ask {
		frame.SetReport(b[start:])
	}
	ln.q.set(seg, b)
	seg.frames++
	ln.queued++
	return nil
}

// fits checks the size of a frame that carries a whole message.
func fits(size int) error {
	if size > frame.MaxData {
		return fmt.Errorf("the headers make the frame %d bytes long, the limit is %d", size, frame.MaxData)
	}
	return nil
}

// enter returns the number of a message that is being queued, and whether it
// asks for a report. mu is held.
func (ln *lane) enter(slot uint8, o *Outgoing) (seq uint64, ask bool) {
	fl := &ln.flows[slot]
	switch {
	case ln.kept != nil:
		seq = fl.Take()
		ask = ln.kept.enter(slot, seq, fl, o)
		if ln.causal {
			ln.order.tx.Sent(ln.pipe.s, seq, ln.after)
			return seq, true // others wait to hear that it has arrived
		}
		return seq, ask
	case ln.late && (o.System || o.NoBlock):
		return mustStay, false
	case ln.late:
		return mayDrop, false
	}
	return fl.Take(), false
}

// putLarge queues a message whose body is encoded already: in one frame, or
// split into pieces that follow one another on the lane. mu is held.
func (ln *lane) putLarge(slot uint8, typ *messages.Type, o *Outgoing, large *body) error {
	d := &ln.pipe.head
	*d = frame.Data{}
	if !ln.header(d, slot, typ, o) {
		large.release()
		return ln.refuse(messages.ReasonLimit, errors.New("more channels than the protocol carries"))
	}
	seq, ask := ln.enter(slot, o)
	d.Seq, d.Report = seq, ask
	rest := large.b
	first := rest
	if len(rest) > frame.MaxPiece {
		d.Fragment, d.Total = true, uint32(len(rest))
		first = rest[:frame.MaxPiece]
	}
	rest = rest[len(first):]
	ln.piece(func(b []byte) []byte { return frame.AppendData(b, d) }, first, lastOf(rest, large), 1)
	for len(rest) > 0 {
		next := rest[:min(len(rest), frame.MaxPiece)]
		rest = rest[len(next):]
		ln.piece(func(b []byte) []byte { return frame.AppendPiece(b, d.Channel, slot, seq) }, next, lastOf(rest, large), 0)
	}
	ln.queued++
	return nil
}

func lastOf(rest []byte, large *body) *body {
	if len(rest) == 0 {
		return large
	}
	return nil
}

// piece queues a frame whose body stays where it is.
func (ln *lane) piece(enc func([]byte) []byte, b []byte, last *body, frames int) {
	head := enc(make([]byte, 0, 96))
	binary.BigEndian.PutUint32(head, uint32(len(head)-4+len(b)))
	ln.q.list = append(ln.q.list, segment{b: head, frames: frames})
	ln.q.bytes += len(head)
	ln.q.refer(b, last)
}

// appendBody encodes a message. User code runs here: its panic is an error.
func appendBody(dst []byte, typ *messages.Type, msg any) (b []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("encoding %s panicked: %v", typ.Name, r)
		}
	}()
	return typ.AppendSized(dst, msg)
}
