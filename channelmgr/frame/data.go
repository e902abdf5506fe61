package frame

import (
	"encoding/binary"
	"slices"

	"github.com/maquis-go/maquis/messages"
)

// Flags of a data frame.
const (
	flagSender    uint8 = 1 << 0
	flagHeader    uint8 = 1 << 1
	flagSystem    uint8 = 1 << 2
	flagExtension uint8 = 1 << 3
	flagFragment  uint8 = 1 << 4
	flagTargetReq uint8 = 1 << 5
	flagExpires   uint8 = 1 << 6
	flagReport    uint8 = 1 << 7
)

// Forms of a sender.
const (
	SenderNone    uint8 = 0
	SenderLocal   uint8 = 1 // an actor of the origin node, interned
	SenderInline  uint8 = 2 // an actor of the origin node, its id written out
	SenderForeign uint8 = 3 // an actor of another node: address and id written out

	senderRequest uint8 = 0x80 // a request id follows
)

// Extension ids. The high bit marks one that a receiver must understand. Those
// but for the causal one are reserved.
const (
	ExtRelay       uint8 = 0x81 // origin, destination, incarnation, hop limit
	ExtOverlay     uint8 = 0x82 // overlay instance
	ExtTrace       uint8 = 0x03
	ExtCausalLabel uint8 = 0x84 // u64: Data.After
)

// dataHead is the size of the fixed part of a data frame.
const dataHead = 24

// Data is a message for an actor, or its first piece.
//
//	0  length     u32
//	4  kind       u8   1
//	5  flags      u8
//	6  slot       u8
//	7  channel    u8   id on this link: 0 control, 1 data, others by Define
//	8  sequence   u64  of the flow (origin, destination, channel, slot)
//	16 type       u32  id on this link; 0: the name is written out
//	20 target     u32  id on this link; 0: the actor's id is written out
//	24 type name, target id, sender, target's request id, header, time limit,
//	   extensions, total length of a split message: each if its flag or zero
//	   says so, in this order; then the body
type Data struct {
	Slot, Channel uint8
	Seq           uint64
	TypeRef       uint32
	Type          string // when TypeRef is 0
	TargetRef     uint32
	Target        string // when TargetRef is 0
	TargetRequest uint32
	System        bool
	SenderForm    uint8
	SenderRef     uint32 // SenderLocal
	SenderID      string // SenderInline, SenderForeign
	SenderAddr    string // SenderForeign
	SenderRequest uint32
	Header        map[string]string
	ExpiresMS     uint32 // remaining time limit; 0 none
	Report        bool   // the sender wants to hear soon that it has arrived
	Causal        bool   // in a causal order
	After         uint64 // in which it waits until all that its sender sent up to that count have arrived; 0: nothing
	Fragment      bool   // Body is the first piece
	Total         uint32 // of a split message's body
	Body          []byte // parsed only: a view of the frame
	Skipped       int    // parsed only: optional extensions that are not known here
}

// AppendData appends the frame up to its body. The caller appends the body
// and calls Finish.
func AppendData(dst []byte, d *Data) []byte {
	var flags uint8
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(KindData), 0, d.Slot, d.Channel)
	dst = binary.BigEndian.AppendUint64(dst, d.Seq)
	dst = binary.BigEndian.AppendUint32(dst, d.TypeRef)
	dst = binary.BigEndian.AppendUint32(dst, d.TargetRef)
	if d.TypeRef == 0 {
		dst = appendText(dst, d.Type)
	}
	if d.TargetRef == 0 {
		dst = appendText(dst, d.Target)
	}
	if d.SenderForm != SenderNone {
		flags |= flagSender
		form := d.SenderForm
		if d.SenderRequest != 0 {
			form |= senderRequest
		}
		dst = append(dst, form)
		switch d.SenderForm {
		case SenderLocal:
			dst = binary.BigEndian.AppendUint32(dst, d.SenderRef)
		case SenderForeign:
			dst = appendText(dst, d.SenderAddr)
			fallthrough
		default:
			dst = appendText(dst, d.SenderID)
		}
		if d.SenderRequest != 0 {
			dst = binary.BigEndian.AppendUint32(dst, d.SenderRequest)
		}
	}
	if d.TargetRequest != 0 {
		flags |= flagTargetReq
		dst = binary.BigEndian.AppendUint32(dst, d.TargetRequest)
	}
	if len(d.Header) > 0 {
		flags |= flagHeader
		dst = appendHeader(dst, d.Header)
	}
	if d.ExpiresMS != 0 {
		flags |= flagExpires
		dst = binary.BigEndian.AppendUint32(dst, d.ExpiresMS)
	}
	if d.Causal {
		flags |= flagExtension
		dst = append(dst, 0, 11, ExtCausalLabel, 0, 8)
		dst = binary.BigEndian.AppendUint64(dst, d.After)
	}
	if d.Fragment {
		flags |= flagFragment
		dst = binary.BigEndian.AppendUint32(dst, d.Total)
	}
	if d.System {
		flags |= flagSystem
	}
	if d.Report {
		flags |= flagReport
	}
	dst[start+5] = flags
	return dst
}

// SetSeq writes the sequence number into an encoded data frame.
func SetSeq(raw []byte, seq uint64) { binary.BigEndian.PutUint64(raw[8:], seq) }

// SeqOf reads the sequence number of an encoded data or piece frame.
func SeqOf(raw []byte) uint64 { return binary.BigEndian.Uint64(raw[8:]) }

// SetReport asks for a report in an encoded data frame.
func SetReport(raw []byte) { raw[5] |= flagReport }

// SlotSeq reads slot and sequence number of an encoded data or piece frame.
func SlotSeq(raw []byte) (slot uint8, seq uint64) {
	return raw[6] & 63, binary.BigEndian.Uint64(raw[8:])
}

// appendHeader writes a message's header in the order of its keys, so that
// equal messages are equal frames.
func appendHeader(dst []byte, h map[string]string) []byte {
	keys := make([]string, 0, len(h))
	for k := range h {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(keys)))
	for _, k := range keys {
		dst = appendText(dst, k)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(h[k])))
		dst = append(dst, h[k]...)
	}
	return dst
}

// ParseData fills d from a frame that Next cut. d.Body is a view of raw.
func ParseData(raw []byte, d *Data) error {
	if len(raw) < dataHead {
		return bad("a data frame of %d bytes", len(raw))
	}
	flags := raw[5]
	*d = Data{
		Slot:      raw[6],
		Channel:   raw[7],
		Seq:       binary.BigEndian.Uint64(raw[8:]),
		TypeRef:   binary.BigEndian.Uint32(raw[16:]),
		TargetRef: binary.BigEndian.Uint32(raw[20:]),
		System:    flags&flagSystem != 0,
		Report:    flags&flagReport != 0,
	}
	if d.Slot > 63 || d.Seq == 0 || d.Seq >= MaxNumber {
		return bad("slot %d, sequence number %d", d.Slot, d.Seq)
	}
	c := cursor{b: raw[dataHead:]}
	if d.TypeRef == 0 {
		d.Type = c.text(MaxName)
	}
	if d.TargetRef == 0 {
		d.Target = c.text(MaxID)
	}
	if flags&flagSender != 0 {
		if err := parseSender(&c, d); err != nil {
			return err
		}
	}
	if flags&flagTargetReq != 0 {
		d.TargetRequest = c.u32()
	}
	if flags&flagHeader != 0 {
		if err := parseHeader(&c, d); err != nil {
			return err
		}
	}
	if flags&flagExpires != 0 {
		d.ExpiresMS = c.u32()
	}
	if flags&flagExtension != 0 {
		if err := parseExtensions(&c, d); err != nil {
			return err
		}
	}
	if flags&flagFragment != 0 {
		d.Fragment, d.Total = true, c.u32()
	}
	if c.bad {
		return bad("a truncated or oversize field in a data frame")
	}
	d.Body = c.b
	if d.Fragment && int64(d.Total) <= int64(len(d.Body)) {
		return bad("a first piece of %d bytes of a message of %d", len(d.Body), d.Total)
	}
	return nil
}

func parseSender(c *cursor, d *Data) error {
	form := c.u8()
	d.SenderForm = form &^ senderRequest
	switch d.SenderForm {
	case SenderLocal:
		d.SenderRef = c.u32()
	case SenderForeign:
		d.SenderAddr = c.text(MaxID)
		d.SenderID = c.text(MaxID)
	case SenderInline:
		d.SenderID = c.text(MaxID)
	default:
		return bad("a sender of form %d", d.SenderForm)
	}
	if form&senderRequest != 0 {
		d.SenderRequest = c.u32()
	}
	return nil
}

func parseHeader(c *cursor, d *Data) error {
	n := int(c.u16())
	if n > MaxHeaders || n*6 > len(c.b) {
		return &Error{messages.ReasonOversize, "a header with too many entries"}
	}
	d.Header = make(map[string]string, n)
	size := 0
	for range n {
		k := c.text(MaxName)
		v := c.take(int(min(c.u32(), MaxHeader+1)))
		if size += len(k) + len(v); size > MaxHeader {
			return &Error{messages.ReasonOversize, "a header with too many bytes"}
		}
		d.Header[k] = string(v)
	}
	return nil
}

// parseExtensions reads what is known here, and passes over extensions that may
// be ignored and counts them. Those that this version would have to understand
// end the link.
func parseExtensions(c *cursor, d *Data) error {
	ext := cursor{b: c.take(int(c.u16()))}
	for !ext.bad && len(ext.b) > 0 {
		id := ext.u8()
		body := cursor{b: ext.take(int(ext.u16()))}
		switch {
		case id == ExtCausalLabel:
			d.Causal, d.After = true, body.u64()
			if body.bad || len(body.b) > 0 {
				return bad("a malformed extension %#x", id)
			}
		case id&0x80 != 0:
			return bad("a critical extension %#x that is not known here", id)
		default:
			d.Skipped++
		}
	}
	if ext.bad {
		return bad("a truncated extension")
	}
	return nil
}
