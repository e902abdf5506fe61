package channelmgr

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/maquis-go/maquis/channelmgr/frame"
	"github.com/maquis-go/maquis/messages"
)

const (
	idleBuffer = 1 << 10  // what an idle link holds
	busyBuffer = 64 << 10 // pooled; held while reads fill it
)

var (
	busyBuffers = sync.Pool{New: func() any { return new([busyBuffer]byte) }}
	bigBuffers  = sync.Pool{New: func() any { return new([frame.MaxData + busyBuffer]byte) }}
)

// readBuffer is a link's receive buffer. It is small while the link idles,
// a pooled block while it is busy, and larger while a frame needs it.
type readBuffer struct {
	idle [idleBuffer]byte
	busy *[busyBuffer]byte
	big  *[frame.MaxData + busyBuffer]byte
	b    []byte // the one in use
	r, w int    // unread bytes are b[r:w]
}

// use moves the unread bytes to another buffer.
func (rb *readBuffer) use(b []byte) {
	rb.w = copy(b, rb.b[rb.r:rb.w])
	rb.r = 0
	rb.b = b
}

// need makes room for a frame of n bytes from the read position on.
func (rb *readBuffer) need(n int) {
	switch {
	case n <= len(rb.b)-rb.r:
	case n <= len(rb.b):
		rb.use(rb.b)
	case n <= busyBuffer:
		rb.grow()
	default:
		if rb.big == nil {
			rb.big = bigBuffers.Get().(*[frame.MaxData + busyBuffer]byte)
		}
		rb.use(rb.big[:])
	}
}

func (rb *readBuffer) grow() {
	if rb.busy == nil {
		rb.busy = busyBuffers.Get().(*[busyBuffer]byte)
	}
	rb.use(rb.busy[:])
}

// settle picks the buffer for the next read: a read that filled the buffer
// calls for a larger one; after a small one that left nothing it is let go.
func (rb *readBuffer) settle(last int) {
	switch {
	case last == len(rb.b) && rb.busy == nil && rb.big == nil:
		rb.grow()
	case rb.r == rb.w && last < idleBuffer && (rb.busy != nil || rb.big != nil):
		rb.free()
	case rb.r == rb.w:
		rb.r, rb.w = 0, 0
	}
}

// free gives the pooled buffers back; unread bytes are lost.
func (rb *readBuffer) free() {
	if rb.busy != nil {
		busyBuffers.Put(rb.busy)
		rb.busy = nil
	}
	if rb.big != nil {
		bigBuffers.Put(rb.big)
		rb.big = nil
	}
	rb.b, rb.r, rb.w = rb.idle[:], 0, 0
}

// errRests ends read on a control link on which nothing but heartbeats came
// since other frames did.
var errRests = errors.New("channelmgr: the link rests")

// read parses frames until the link ends, rests or the peer violates the
// protocol. Parsing happens in place; what is kept is copied.
func (l *link) read(rb *readBuffer) error {
	limit := frame.MaxData
	if l.control {
		limit = frame.MaxControl
	}
	shy := l.shy.Load()
	for {
		if rb.w == len(rb.b) {
			rb.use(rb.b)
		}
		n, err := l.stream.Read(rb.b[rb.w:])
		if n > 0 {
			if shy {
				shy = false
				l.shy.Store(false)
				l.s.carry(l)
			}
			l.lastRead.Store(int64(l.s.r.now()))
			last := n
			if rb.w+n == len(rb.b) {
				last = len(rb.b)
			}
			rb.w += n
			busy := false
			for {
				raw, size, err := frame.Next(rb.b[rb.r:rb.w], limit)
				if err != nil {
					return asFrameError(err)
				}
				if size == 0 {
					break
				}
				l.in.ahead = rb.w - rb.r - size
				if kind := frame.Kind(raw[4]); kind != frame.KindPing && kind != frame.KindPong {
					busy = true
				}
				if err := l.frame(raw); err != nil {
					return err
				}
				rb.r += size
			}
			if len(l.in.owed) > 0 {
				l.payReports()
			}
			if l.s.parked.Load() > parkedBytes {
				l.holdUp()
			}
			rb.settle(last)
			if l.control && rb.r == rb.w && err == nil {
				rests := l.in.busy && !busy
				l.in.busy = busy
				if rests {
					return errRests
				}
			}
			if rb.w-rb.r >= 4 {
				rb.need(4 + int(binary.BigEndian.Uint32(rb.b[rb.r:])))
			}
		}
		if err != nil {
			return err
		}
	}
}

func asFrameError(err error) error {
	if fe, ok := err.(*frame.Error); ok {
		return &frameError{reason: fe.Reason, err: err}
	}
	return err
}

// frame handles one frame. An error ends the link.
func (l *link) frame(raw []byte) error {
	kind := frame.Kind(raw[4])
	if l.control {
		switch kind {
		case frame.KindData, frame.KindPiece, frame.KindBegin, frame.KindEnd, frame.KindSession, frame.KindPacked:
			return badFrame(messages.ReasonBadFrame, kind.String()+" on a control link")
		}
	} else {
		switch kind {
		case frame.KindOverlay, frame.KindControl, frame.KindPing, frame.KindPong, frame.KindFlowUpdate, frame.KindStable:
			return badFrame(messages.ReasonBadFrame, kind.String()+" on a data link")
		}
	}
	if l.gate != nil && l.gate.waits(raw) {
		return nil
	}
	return l.take(raw)
}

// take acts on a frame.
func (l *link) take(raw []byte) error {
	kind := frame.Kind(raw[4])
	switch kind {
	case frame.KindData:
		return l.onData(raw)
	case frame.KindPiece:
		return l.onPiece(raw)
	case frame.KindDefine:
		d, err := frame.ParseDefine(raw)
		if err != nil {
			return asFrameError(err)
		}
		return l.onDefine(d)
	case frame.KindFlowUpdate:
		u, err := frame.ParseFlowUpdate(raw)
		if err != nil {
			return asFrameError(err)
		}
		if c := l.in.channel(u.Channel); c != nil {
			l.s.update(c.name, u.Slot, u)
		} else if name := fixedChannel(u.Channel); name != "" {
			l.s.update(name, u.Slot, u)
		}
	case frame.KindStable:
		st, err := frame.ParseStable(raw)
		if err != nil {
			return asFrameError(err)
		}
		l.onStable(st)
	case frame.KindBegin:
		b, err := frame.ParseBegin(raw)
		if err != nil {
			return asFrameError(err)
		}
		return l.onBegin(b)
	case frame.KindEnd:
		e, err := frame.ParseEnd(raw)
		if err != nil {
			return asFrameError(err)
		}
		return l.onEnd(e)
	case frame.KindSession:
		m, err := frame.ParseSession(raw)
		if err != nil {
			return asFrameError(err)
		}
		return l.onSession(m)
	case frame.KindPing:
		p, err := frame.ParsePing(raw)
		if err != nil {
			return asFrameError(err)
		}
		l.s.ctl.frames(func(dst []byte) []byte { return frame.AppendPong(dst, p) })
	case frame.KindPong:
		p, err := frame.ParsePing(raw)
		if err != nil {
			return asFrameError(err)
		}
		if took := l.s.r.now() - time.Duration(p.Sent); p.Nonce == l.id && took > 0 {
			l.s.rtt.Store(int64(took))
		}
	case frame.KindRelay:
		return l.onRelay(raw)
	case frame.KindPacked:
		return l.onPacked(raw)
	case frame.KindOverlay:
		if l.relayed {
			return badFrame(messages.ReasonBadFrame, "an overlay's frame over a circuit")
		}
		o, err := frame.ParseOverlay(raw)
		if err != nil {
			return asFrameError(err)
		}
		l.s.r.overlayInbound(l.s, o)
	case frame.KindControl:
		c, err := frame.ParseControl(raw)
		if err != nil {
			return asFrameError(err)
		}
		l.s.r.controlInbound(l.s, c)
	case frame.KindUndelivered:
		u, err := frame.ParseUndelivered(raw)
		if err != nil {
			return asFrameError(err)
		}
		l.onUndelivered(u)
	case frame.KindClose:
		c, err := frame.ParseClose(raw)
		if err != nil {
			return asFrameError(err)
		}
		return l.onClose(c)
	default:
		if kind.Optional() {
			l.s.r.count("frames_skipped")
			return nil
		}
		return badFrame(messages.ReasonBadFrame, "unknown critical "+kind.String())
	}
	return nil
}

func fixedChannel(id uint8) string {
	switch id {
	case 0:
		return ControlChannel
	case 1:
		return DataChannel
	}
	return ""
}

// onDefine adds to the link's tables. Ids count up from one (channels: from
// two), so that a table is a slice and its size the only thing to bound.
func (l *link) onDefine(d frame.Define) error {
	limit := l.s.r.cfg.Limits.DictionarySize
	next := func(n int) error {
		if int(d.ID) != n+1 || n >= limit {
			return badFrame(messages.ReasonBadFrame, "a definition out of turn or beyond the table's limit")
		}
		return nil
	}
	switch d.Table {
	case frame.TableType:
		if err := next(len(l.in.types)); err != nil {
			return err
		}
		l.in.types = append(l.in.types, linkType{inType: l.s.r.inType(d.Text)})
	case frame.TableTarget:
		if err := next(len(l.in.targets)); err != nil {
			return err
		}
		l.in.targets = append(l.in.targets, &Target{ID: d.Text})
	case frame.TableSender:
		if err := next(len(l.in.senders)); err != nil {
			return err
		}
		l.in.senders = append(l.in.senders, d.Text)
		l.in.pids = append(l.in.pids, nil)
	case frame.TableChannel:
		if d.ID < 2 || d.ID > maxWireChannels+1 || l.in.channel(uint8(d.ID)) != nil {
			return badFrame(messages.ReasonBadFrame, "a channel's id that is taken or too large")
		}
		c, err := l.s.inbound(d.Text)
		if err != nil {
			return err
		}
		l.in.setChannel(uint8(d.ID), c)
	default:
		return badFrame(messages.ReasonBadFrame, "an unknown table")
	}
	return nil
}

// channel returns the inbound side of a channel id of this link.
func (l *link) channel(id uint8) (*inbound, error) {
	if c := l.in.channel(id); c != nil {
		return c, nil
	}
	if id == 1 {
		c, err := l.s.inbound(DataChannel)
		if err == nil {
			l.in.setChannel(1, c)
		}
		return c, err
	}
	return nil, badFrame(messages.ReasonBadFrame, "a channel that was not defined")
}
