package frame

import (
	"encoding/binary"

	"github.com/maquis-go/maquis/overlay"
)

// NoRoute is a flag of a relayed segment, beside those of package circuit: a
// relay knew no way on. It travels back to the origin.
const NoRoute uint8 = 8

// relayFlags are all flags of a segment: open, fin, reset, no route.
const relayFlags uint8 = 15

// relayHead is the size of the fixed part of a relay frame.
const relayHead = 64

// MaxNodeName is the longest name of a node, in bytes.
const MaxNodeName = 255

// Relay is a segment of a circuit on its way over relays.
//
//	0  length     u32
//	4  kind       u8   14
//	5  flags      u8   0
//	6  class      u8   0 bulk, 1 control
//	7  hops       u8   links crossed, this one included
//	8  circuit    u64  chosen by its dialer
//	16 segment    u8   1 open, 2 fin, 4 reset, 8 no route
//	17 zero       3 bytes
//	20 window     u32
//	24 number     u64
//	32 ack        u64
//	40 more       u64
//	48 origin     u64  incarnation
//	56 target     u64  incarnation
//	64 origin's name, target's name: text; then the body
type Relay struct {
	Control           bool
	Hops              uint8
	Circuit           uint64
	Flags             uint8
	Window            uint32
	Number, Ack, More uint64
	From, To          overlay.Peer // name and incarnation
	Body              []byte       // parsed: a view of the frame
}

// AppendRelay appends a whole frame.
func AppendRelay(dst []byte, r Relay) []byte {
	dst = begin(dst, relayHead-6+4+len(r.From.Name)+len(r.To.Name)+len(r.Body), KindRelay, 0)
	class := uint8(0)
	if r.Control {
		class = 1
	}
	dst = append(dst, class, r.Hops)
	dst = binary.BigEndian.AppendUint64(dst, r.Circuit)
	dst = append(dst, r.Flags, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, r.Window)
	for _, n := range [...]uint64{r.Number, r.Ack, r.More, uint64(r.From.Incarnation), uint64(r.To.Incarnation)} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	dst = appendText(dst, r.From.Name)
	dst = appendText(dst, r.To.Name)
	return append(dst, r.Body...)
}

// SetHops writes the hops of an encoded relay frame.
func SetHops(raw []byte, hops uint8) { raw[7] = hops }

// ParseRelay reads a relay frame. Its body is a view of raw.
func ParseRelay(raw []byte) (Relay, error) {
	if len(raw) < relayHead || raw[5] != 0 || raw[6] > 1 || raw[16]&^relayFlags != 0 || raw[17]|raw[18]|raw[19] != 0 {
		return Relay{}, bad("a malformed relay frame of %d bytes", len(raw))
	}
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(raw[at:]) }
	r := Relay{
		Control: raw[6] == 1, Hops: raw[7], Circuit: u64(8), Flags: raw[16], Window: binary.BigEndian.Uint32(raw[20:]),
		Number: u64(24), Ack: u64(32), More: u64(40),
	}
	c := cursor{b: raw[relayHead:]}
	r.From = overlay.Peer{Name: c.text(MaxNodeName), Incarnation: overlay.Incarnation(u64(48))}
	r.To = overlay.Peer{Name: c.text(MaxNodeName), Incarnation: overlay.Incarnation(u64(56))}
	r.Body = c.b
	if c.bad || r.From.Name == "" || r.To.Name == "" || r.From.Incarnation == 0 || r.To.Incarnation == 0 || r.Hops == 0 || r.Circuit == 0 ||
		r.Number >= MaxNumber || r.Ack >= MaxNumber {
		return Relay{}, bad("a relay frame with senseless fields")
	}
	return r, nil
}
