package channelmgr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
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
	pipe    *pipe
	channel string
	spec    ChannelSpec
	slots   []uint8 // those whose flows travel here; nil for the control lane
	flows   *[Slots]flow.Sender
	q       segments // with pipe.mu
	queued  int      // messages in q; with pipe.mu
}

// outbound is a channel towards one peer: its lanes and its flows. The flows
// of a lane are guarded by the lock of the lane's pipe.
type outbound struct {
	spec  ChannelSpec
	lanes []*lane
	flows [Slots]flow.Sender
}

func (c *outbound) lane(slot uint8) *lane { return c.lanes[int(slot)%len(c.lanes)] }

// bodies of up to inPlace bytes are marshaled into the lane's block under its
// lock, larger ones before it is taken.
const inPlace = 16 << 10

// send queues one message, waiting for room if it may.
func (ln *lane) send(slot uint8, typ *messages.Type, o *Outgoing) error {
	p, limits := ln.pipe, &ln.pipe.s.r.cfg.Limits
	size := typ.Size(o.Msg)
	var large *body
	if size < 0 || size > inPlace {
		if size > limits.MaxMessage {
			return ln.refuse(messages.ReasonTooLarge, fmt.Errorf("%d bytes, the limit is %d (limits.max_message)", size, limits.MaxMessage))
		}
		large = newBody(max(size, inPlace))
		b, err := appendBody(large.b, typ, o.Msg)
		if err != nil {
			return ln.refuse(messages.ReasonNoCodec, err)
		}
		large.b, size = b, len(b)
		if size > limits.MaxMessage {
			large.release()
			return ln.refuse(messages.ReasonTooLarge, fmt.Errorf("%d bytes, the limit is %d (limits.max_message)", size, limits.MaxMessage))
		}
	}
	p.mu.Lock()
	if err := ln.admit(slot, size, o); err != nil {
		p.mu.Unlock()
		if large != nil {
			large.release()
		}
		return err
	}
	var err error
	if large != nil {
		err = ln.putLarge(slot, typ, o, large)
	} else {
		err = ln.put(slot, typ, o, size)
	}
	if err != nil {
		p.mu.Unlock()
		return err
	}
	p.kick(!o.NoBlock && large == nil && ln.q.bytes <= inlineBytes)
	return nil
}

// admit waits until the message fits, or says why it never will. mu is held,
// though not while waiting.
func (ln *lane) admit(slot uint8, size int, o *Outgoing) error {
	p := ln.pipe
	limit := ln.spec.MaxQueueLen
	if o.NoBlock {
		limit += p.s.r.cfg.Limits.ReservedQueueLen
	}
	var timer *time.Timer
	for {
		if p.ended != "" {
			return ln.refuse(p.ended, nil)
		}
		room := ln.queued < limit && (ln.queued == 0 || o.NoBlock || ln.q.bytes+size <= ln.spec.MaxQueueBytes)
		if room && (o.NoBlock || ln.flows[slot].Open()) {
			if timer != nil {
				timer.Stop()
			}
			return nil
		}
		if o.NoBlock || ln.spec.Overflow != Block {
			return ln.refuse(messages.ReasonOverflow, fmt.Errorf("%d messages, %d bytes wait", ln.queued, ln.q.bytes))
		}
		if timer == nil {
			wait := ln.spec.BlockTimeout
			if o.Wait > 0 {
				wait = o.Wait
			}
			timer = time.NewTimer(wait)
			p.s.r.count("sends_blocked")
		}
		roomy := p.wait()
		p.mu.Unlock()
		select {
		case <-roomy:
			p.mu.Lock()
		case <-timer.C:
			p.mu.Lock()
			why := messages.ReasonOverflow
			if p.link == nil {
				why = messages.ReasonUnreachable
			}
			return ln.refuse(why, fmt.Errorf("no room within the block timeout: %d messages, %d bytes wait", ln.queued, ln.q.bytes))
		}
	}
}

func (ln *lane) refuse(why messages.Reason, err error) error {
	ln.pipe.s.r.counters.refused(why)
	return &SendError{Node: ln.pipe.s.peer.Name, Channel: ln.channel, Reason: why, Err: err}
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
	d.Header = o.Header
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
	if err == nil && len(b)-start > frame.MaxData {
		err = fmt.Errorf("the headers make the frame %d bytes long, the limit is %d", len(b)-start, frame.MaxData)
	}
	if err != nil {
		if len(seg.b) == 0 && len(ln.q.list) > 0 { // a block taken just for this message
			ln.q.list[len(ln.q.list)-1].release()
			ln.q.list = ln.q.list[:len(ln.q.list)-1]
		}
		return ln.refuse(messages.ReasonNoCodec, err)
	}
	frame.Finish(b, start)
	frame.SetSeq(b[start:], ln.flows[slot].Take())
	ln.q.set(seg, b)
	seg.frames++
	ln.queued++
	return nil
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
	seq := ln.flows[slot].Take()
	d.Seq = seq
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
