package frame

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/maquis-go/maquis/messages"
)

// Kind says what a frame is.
type Kind uint8

// Kinds. A kind with the high bit set is optional: a receiver that does not
// know it skips it.
const (
	KindData        Kind = 1
	KindPiece       Kind = 2
	KindDefine      Kind = 3
	KindFlowUpdate  Kind = 4
	KindBegin       Kind = 5
	KindEnd         Kind = 6
	KindPing        Kind = 7
	KindPong        Kind = 8
	KindOverlay     Kind = 9
	KindControl     Kind = 10
	KindUndelivered Kind = 11
	KindClose       Kind = 12
	KindSession     Kind = 13
	KindRelay       Kind = 14
	KindPacked      Kind = 15
	KindStable      Kind = 16
)

var kindNames = [...]string{"kind 0", "data", "piece", "define", "flow-update", "begin", "end", "ping", "pong", "overlay", "control", "undelivered", "close", "session", "relay", "packed", "stable"}

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Optional reports whether a receiver that does not know the kind may skip it.
func (k Kind) Optional() bool { return k&0x80 != 0 }

// Tables of interned strings.
const (
	TableType    uint8 = 1
	TableTarget  uint8 = 2
	TableSender  uint8 = 3
	TableChannel uint8 = 4
)

// Error is a violation of the format.
type Error struct {
	Reason messages.Reason
	Detail string
}

// Error implements error.
func (e *Error) Error() string { return "frame: " + string(e.Reason) + ": " + e.Detail }

func bad(format string, args ...any) error {
	return &Error{messages.ReasonBadFrame, fmt.Sprintf(format, args...)}
}

// Next cuts the first frame off buf. It returns n = 0 when buf holds less
// than a frame, and an error as soon as the length says more than limit or
// less than the two bytes that every frame has.
func Next(buf []byte, limit int) (raw []byte, n int, err error) {
	if len(buf) < 4 {
		return nil, 0, nil
	}
	size := binary.BigEndian.Uint32(buf)
	if size < 2 {
		return nil, 0, bad("a frame of %d bytes", size)
	}
	if uint64(size)+4 > uint64(limit) {
		return nil, 0, &Error{messages.ReasonOversize, fmt.Sprintf("a frame of %d bytes, the limit is %d", uint64(size)+4, limit)}
	}
	n = int(size) + 4
	if len(buf) < n {
		return nil, 0, nil
	}
	return buf[:n:n], n, nil
}

// Len returns the length of the frame that b begins with, head included.
func Len(b []byte) int { return int(binary.BigEndian.Uint32(b)) + 4 }

// Finish patches the length of the frame that begins at start and ends with
// buf.
func Finish(buf []byte, start int) {
	binary.BigEndian.PutUint32(buf[start:], uint32(len(buf)-start-4))
}

// begin appends the head of a frame with fixed content of known size.
func begin(dst []byte, size int, k Kind, flags uint8) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(size+2))
	return append(dst, byte(k), flags)
}

// cursor reads fields and remembers the first that did not fit.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad = true
		c.b = nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u8() uint8 {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if v := c.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if v := c.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// text reads a string with a 16-bit length of at most limit bytes.
func (c *cursor) text(limit int) string {
	n := int(c.u16())
	if n > limit {
		c.bad = true
		return ""
	}
	return string(c.take(n))
}

// reason reads a reason of at most 64 bytes; one that is not known here is
// messages.ReasonOther.
func (c *cursor) reason() messages.Reason {
	n := int(c.u16())
	if n > 64 {
		c.bad = true
		return ""
	}
	return messages.ParseReason(c.take(n))
}

// done returns an error if a field was missing or bytes are left over.
func (c *cursor) done(k Kind) error {
	if c.bad {
		return bad("a truncated or oversize field in a %v frame", k)
	}
	if len(c.b) > 0 {
		return bad("%d bytes too many in a %v frame", len(c.b), k)
	}
	return nil
}

func appendText(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}
