package frame

import (
	"encoding/binary"

	"github.com/maquis-go/maquis/messages"
)

// Piece continues a split message.
type Piece struct {
	Slot, Channel uint8
	Seq           uint64
	Body          []byte // parsed only
}

// PieceHead is the size of a piece's frame without its body.
const PieceHead = 16

// AppendPiece appends the frame up to its body; the caller patches the length.
func AppendPiece(dst []byte, channel, slot uint8, seq uint64) []byte {
	dst = append(dst, 0, 0, 0, 0, byte(KindPiece), 0, slot, channel)
	return binary.BigEndian.AppendUint64(dst, seq)
}

// ParsePiece reads a piece. Its body is a view of raw.
func ParsePiece(raw []byte) (Piece, error) {
	if len(raw) <= PieceHead || raw[5] != 0 || raw[6] > 63 {
		return Piece{}, bad("a malformed piece of %d bytes", len(raw))
	}
	p := Piece{Slot: raw[6], Channel: raw[7], Seq: binary.BigEndian.Uint64(raw[8:]), Body: raw[PieceHead:]}
	if p.Seq == 0 || p.Seq >= MaxNumber {
		return Piece{}, bad("a piece of message number %d", p.Seq)
	}
	return p, nil
}

// Define adds a string to one of the receiver's tables.
type Define struct {
	Table uint8
	ID    uint32
	Text  string
}

// AppendDefine appends a whole frame.
func AppendDefine(dst []byte, table uint8, id uint32, text string) []byte {
	dst = begin(dst, 1+4+2+len(text), KindDefine, 0)
	dst = append(dst, table)
	dst = binary.BigEndian.AppendUint32(dst, id)
	return appendText(dst, text)
}

// ParseDefine reads a Define.
func ParseDefine(raw []byte) (Define, error) {
	c := body(raw)
	d := Define{Table: c.u8(), ID: c.u32()}
	switch d.Table {
	case TableType:
		d.Text = c.text(MaxName)
	case TableTarget, TableSender:
		d.Text = c.text(MaxID)
	case TableChannel:
		d.Text = c.text(MaxName)
		c.bad = c.bad || d.ID > 255
	default:
		return Define{}, bad("a definition for table %d", d.Table)
	}
	if d.ID == 0 {
		c.bad = true
	}
	return d, c.done(KindDefine)
}

// FlowUpdate reports on a flow to its sender: what has arrived, what may be
// sent, what was lost, and how many of what arrived could not be delivered.
type FlowUpdate struct {
	Channel, Slot      uint8
	Next, Credit, Lost uint64
	Rejected           uint64
	Arrived            uint64 // as Next, for messages that have arrived and may wait to be delivered
	Epoch              uint64 // of the sender's session that the flow is of; see Session
}

// AppendFlowUpdate appends a whole frame.
func AppendFlowUpdate(dst []byte, u FlowUpdate) []byte {
	dst = begin(dst, 2+48, KindFlowUpdate, 0)
	dst = append(dst, u.Channel, u.Slot)
	dst = binary.BigEndian.AppendUint64(dst, u.Next)
	dst = binary.BigEndian.AppendUint64(dst, u.Credit)
	dst = binary.BigEndian.AppendUint64(dst, u.Lost)
	dst = binary.BigEndian.AppendUint64(dst, u.Rejected)
	dst = binary.BigEndian.AppendUint64(dst, u.Arrived)
	return binary.BigEndian.AppendUint64(dst, u.Epoch)
}

// ParseFlowUpdate reads a FlowUpdate.
func ParseFlowUpdate(raw []byte) (FlowUpdate, error) {
	c := body(raw)
	u := FlowUpdate{Channel: c.u8(), Slot: c.u8(), Next: c.u64(), Credit: c.u64(), Lost: c.u64(), Rejected: c.u64(), Arrived: c.u64(), Epoch: c.u64()}
	if u.Slot > 63 {
		c.bad = true
	}
	return u, c.done(KindFlowUpdate)
}

// Stable says that of all that its sender has sent in a causal order, to anyone,
// the messages up to Count have arrived.
type Stable struct {
	Channel, Slot uint8
	Count         uint64
}

// AppendStable appends a whole frame.
func AppendStable(dst []byte, s Stable) []byte {
	dst = begin(dst, 2+8, KindStable, 0)
	dst = append(dst, s.Channel, s.Slot)
	return binary.BigEndian.AppendUint64(dst, s.Count)
}

// ParseStable reads a Stable.
func ParseStable(raw []byte) (Stable, error) {
	c := body(raw)
	s := Stable{Channel: c.u8(), Slot: c.u8(), Count: c.u64()}
	if s.Slot > 63 {
		c.bad = true
	}
	return s, c.done(KindStable)
}

// Begin says that a flow travels on this link from now on. Numbers from the
// last confirmed one up to Base, Abandoned in all, were written to a link that
// died; the sender does not keep them.
type Begin struct {
	Channel, Slot   uint8
	Base, Abandoned uint64
}

// AppendBegin appends a whole frame.
func AppendBegin(dst []byte, b Begin) []byte {
	dst = begin(dst, 2+16, KindBegin, 0)
	dst = append(dst, b.Channel, b.Slot)
	dst = binary.BigEndian.AppendUint64(dst, b.Base)
	return binary.BigEndian.AppendUint64(dst, b.Abandoned)
}

// ParseBegin reads a Begin.
func ParseBegin(raw []byte) (Begin, error) {
	c := body(raw)
	b := Begin{Channel: c.u8(), Slot: c.u8(), Base: c.u64(), Abandoned: c.u64()}
	if b.Slot > 63 || b.Base == 0 || b.Base >= MaxNumber || b.Abandoned >= b.Base {
		c.bad = true
	}
	return b, c.done(KindBegin)
}

// End says that a flow leaves this link after the number Seq.
type End struct {
	Channel, Slot uint8
	Seq           uint64
}

// AppendEnd appends a whole frame.
func AppendEnd(dst []byte, e End) []byte {
	dst = begin(dst, 2+8, KindEnd, 0)
	dst = append(dst, e.Channel, e.Slot)
	return binary.BigEndian.AppendUint64(dst, e.Seq)
}

// ParseEnd reads an End.
func ParseEnd(raw []byte) (End, error) {
	c := body(raw)
	e := End{Channel: c.u8(), Slot: c.u8(), Seq: c.u64()}
	if e.Slot > 63 || e.Seq >= MaxNumber {
		c.bad = true
	}
	return e, c.done(KindEnd)
}

// Ping asks for a Pong that repeats it. Sent is the sender's clock and means
// nothing to others.
type Ping struct{ Nonce, Sent uint64 }

// AppendPing appends a whole frame.
func AppendPing(dst []byte, p Ping) []byte { return appendPing(dst, KindPing, p) }

// AppendPong appends a whole frame.
func AppendPong(dst []byte, p Ping) []byte { return appendPing(dst, KindPong, p) }

func appendPing(dst []byte, k Kind, p Ping) []byte {
	dst = begin(dst, 16, k, 0)
	dst = binary.BigEndian.AppendUint64(dst, p.Nonce)
	return binary.BigEndian.AppendUint64(dst, p.Sent)
}

// ParsePing reads a Ping or a Pong.
func ParsePing(raw []byte) (Ping, error) {
	c := body(raw)
	p := Ping{Nonce: c.u64(), Sent: c.u64()}
	return p, c.done(Kind(raw[4]))
}

// Overlay is a message of an overlay instance, a protobuf message by its full
// name.
type Overlay struct {
	Instance, Type string
	Body           []byte
}

// AppendOverlay appends a whole frame.
func AppendOverlay(dst []byte, o Overlay) []byte {
	dst = begin(dst, 4+len(o.Instance)+len(o.Type)+len(o.Body), KindOverlay, 0)
	dst = appendText(dst, o.Instance)
	dst = appendText(dst, o.Type)
	return append(dst, o.Body...)
}

// ParseOverlay reads an Overlay. Its body is a view of raw.
func ParseOverlay(raw []byte) (Overlay, error) {
	c := body(raw)
	o := Overlay{Instance: c.text(64), Type: c.text(MaxName)}
	o.Body, c.b = c.b, nil
	return o, c.done(KindOverlay)
}

// Control is a message between two runtimes.
type Control struct {
	Type string
	Body []byte
}

// AppendControl appends a whole frame.
func AppendControl(dst []byte, m Control) []byte {
	dst = begin(dst, 2+len(m.Type)+len(m.Body), KindControl, 0)
	dst = appendText(dst, m.Type)
	return append(dst, m.Body...)
}

// ParseControl reads a Control. Its body is a view of raw.
func ParseControl(raw []byte) (Control, error) {
	c := body(raw)
	m := Control{Type: c.text(MaxName)}
	m.Body, c.b = c.b, nil
	return m, c.done(KindControl)
}

// Undelivered tells the origin that a message could not be delivered. Sender
// is the id of the origin's actor that sent it, if that is known.
type Undelivered struct {
	Channel, Slot uint8
	Seq           uint64
	Reason        messages.Reason
	Target        string
	Sender        string
	Type          string
	Epoch         uint64 // as in a FlowUpdate
}

// AppendUndelivered appends a whole frame.
func AppendUndelivered(dst []byte, u Undelivered) []byte {
	dst = begin(dst, 2+8+8+8+len(u.Reason)+len(u.Target)+len(u.Sender)+len(u.Type), KindUndelivered, 0)
	dst = append(dst, u.Channel, u.Slot)
	dst = binary.BigEndian.AppendUint64(dst, u.Seq)
	dst = appendText(dst, string(u.Reason))
	dst = appendText(dst, u.Target)
	dst = appendText(dst, u.Sender)
	dst = appendText(dst, u.Type)
	return binary.BigEndian.AppendUint64(dst, u.Epoch)
}

// ParseUndelivered reads an Undelivered.
func ParseUndelivered(raw []byte) (Undelivered, error) {
	c := body(raw)
	u := Undelivered{Channel: c.u8(), Slot: c.u8(), Seq: c.u64(), Reason: c.reason(),
		Target: c.text(MaxID), Sender: c.text(MaxID), Type: c.text(MaxName), Epoch: c.u64()}
	return u, c.done(KindUndelivered)
}

// Close announces the end of a link and why.
type Close struct{ Reason messages.Reason }

// AppendClose appends a whole frame.
func AppendClose(dst []byte, m Close) []byte {
	dst = begin(dst, 2+len(m.Reason), KindClose, 0)
	return appendText(dst, string(m.Reason))
}

// ParseClose reads a Close.
func ParseClose(raw []byte) (Close, error) {
	c := body(raw)
	m := Close{Reason: c.reason()}
	return m, c.done(KindClose)
}

// Session is the first frame of a data link in each direction: the number of
// the sender's session. When it is not the one before, the sender has begun
// its flows anew.
type Session struct{ Epoch uint64 }

// AppendSession appends a whole frame.
func AppendSession(dst []byte, s Session) []byte {
	dst = begin(dst, 8, KindSession, 0)
	return binary.BigEndian.AppendUint64(dst, s.Epoch)
}

// ParseSession reads a Session.
func ParseSession(raw []byte) (Session, error) {
	c := body(raw)
	s := Session{Epoch: c.u64()}
	if s.Epoch == 0 {
		c.bad = true
	}
	return s, c.done(KindSession)
}

// body returns a cursor behind a frame's kind and flags. No frame but data has
// flags: a set one is of a version that this one cannot read.
func body(raw []byte) *cursor {
	if len(raw) < 6 || raw[5] != 0 {
		return &cursor{bad: true}
	}
	return &cursor{b: raw[6:]}
}
